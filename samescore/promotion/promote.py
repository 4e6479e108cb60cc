"""Makes a float64 model from a float32 one, verified against the original.

One way for every format: load the original as it would be served, rewrite it, load the result the
same way, compare the two on the same rows, and only then give the result its name.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias, runtime_checkable

import numpy as np
import orjson

from consistency.bundle import open_bundle
from consistency.bundle.manifest import MANIFEST_FILE
from consistency.errors import BackendError, BundleError, ConfigError
from consistency.features import FeatureBatch, take_rows
from consistency.log.segments import fsync_folder
from consistency.protocols import Scorer
from samescore.promotion.report import FULL_BATCH, PromotionReport, verify
from samescore.promotion.samples import Rows, generate_rows, golden_rows, read_rows
from serving.loaders import FORMATS, load_scorer
from serving.loaders.named_inputs import Input
from serving.loaders.trust.grants import NO_TRUST, ModelTrust

PROMOTABLE: Final = ("saved_model", "frozen_graph", "torch", "onnx")
"""The formats of a bundle that can be promoted."""
_KERAS: Final = "keras"
_SUFFIXES: Final = {".pt2": "torch", ".onnx": "onnx", ".pb": "frozen_graph", ".keras": _KERAS}
_FILES: Final = frozenset({"torch", "onnx"})
"""Formats whose promoted model is one file, when the original is."""
Keras: TypeAlias = Any  # Any: Keras has no types


@runtime_checkable
class _Declares(Protocol):
    """A scorer that says what its model takes."""

    @property
    def inputs(self) -> Sequence[Input]: ...


@dataclass(frozen=True, slots=True)
class PromotionRequest:
    """What to promote.

    Attributes:
        source: a SavedModel's folder, a `.keras`, `.pt2`, `.onnx` or frozen `.pb` file, or a
            bundle (whose own golden rows verify it).
        destination: where the float64 model goes, new: a file for a `.pt2` or `.onnx` file, else a
            folder.
        golden: a bundle whose golden features verify it.
        samples: a file of rows that verify it; without both, rows are generated.
        trust: what the model's file may bring along.
    """

    source: Path
    destination: Path
    golden: Path | None = None
    samples: Path | None = None
    trust: ModelTrust = NO_TRUST


def promote(request: PromotionRequest) -> PromotionReport:
    """Promote a model; the destination is written, whole, only when the report says it passed.

    Raises:
        ConfigError: the format is unknown, an operation (named) cannot compute in float64, the
            destination exists, the rows do not fit.
        BundleError: the model cannot be read.
        BackendError: the original cannot score the rows.
    """
    kind = _format_of(request.source)
    if request.destination.exists():
        raise ConfigError(f"{request.destination} exists already; name a new place")
    parent = request.destination.absolute().parent
    if not parent.is_dir():
        raise ConfigError(f"{parent} is no folder; make it first")
    draft = parent / f".tmp-{request.destination.name}-{secrets.token_hex(4)}"
    try:
        draft.mkdir()
        report = _promote_in(request, kind, draft)
        if report.passed:
            _publish(request, kind, draft / "promoted")
    except OSError as error:
        raise ConfigError(f"{parent} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return report


def promote_for_bundle(
    model_format: str,
    folder: Path,
    scorer: Scorer,
    features: FeatureBatch,
    target: Path,
    trust: ModelTrust = NO_TRUST,
) -> Path | None:
    """Promote a model on its way into a bundle.

    Args:
        model_format: of the bundle.
        folder: the model as the bundle would hold it.
        scorer: it, loaded.
        features: golden rows.
        target: a folder to make.
        trust: what the model's file may bring along.

    Returns:
        The folder of the promoted model; None when there is nothing to do: it answers in float64
        already, or its format computes as it computes (tree libraries, PMML).

    Raises:
        ConfigError: it cannot be promoted, or the promoted model is not the same model.
    """
    if model_format not in PROMOTABLE or _is_float64(scorer, features):
        return None
    target.mkdir(parents=True)
    narrow = _rewrite(model_format, folder, target, trust)
    repeated = take_rows(features, np.arange(max(features.rows, 2)) % features.rows)
    rows = Rows(repeated, "the golden rows")
    report = _verify(scorer, model_format, target, rows, trust, narrow)
    if not report.passed:
        raise ConfigError(f"{report}\n  it is not bundled; bundle the model as 'padded:N'")
    return target


def _promote_in(request: PromotionRequest, kind: str, draft: Path) -> PromotionReport:
    target = draft / "promoted"
    if kind == _KERAS:
        return _promote_keras(request, draft, target)
    folder = _stage(request.source, kind, draft / "original")
    original = _load(kind, folder, request.trust)
    rows = _rows(request, original)
    _refuse_float64(request.source, original, rows)
    target.mkdir()
    narrow = _rewrite(kind, folder, target, request.trust)
    return _verify(original, kind, target, rows, request.trust, narrow)


def _verify(
    original: Scorer,
    kind: str,
    target: Path,
    rows: Rows,
    trust: ModelTrust,
    narrow: tuple[str, ...],
) -> PromotionReport:
    promoted = _load(kind, target, trust)
    try:
        promoted.score(take_rows(rows.features, slice(0, 1)))
    except BackendError as error:  # an operation that fails only when it runs
        raise ConfigError(f"promotion to float64: the promoted model fails: {error}") from error
    return verify(original, promoted, rows.features, origin=rows.origin, narrow=narrow)


def _format_of(source: Path) -> str:
    if source.is_file() and source.suffix in _SUFFIXES:
        return _SUFFIXES[source.suffix]
    if (source / MANIFEST_FILE).is_file():
        kind = open_bundle(source).manifest.model_format
    elif source.is_dir():
        known = {"saved_model.pb": "saved_model"} | {FORMATS[k].file: k for k in PROMOTABLE}
        kind = next((k for name, k in known.items() if name and (source / name).is_file()), "")
    else:
        kind = ""
    if kind not in PROMOTABLE:
        what = f"its format is {kind!r}" if kind else "no model of a known format is there"
        raise ConfigError(
            f"{source}: {what}; promote takes a SavedModel's folder, a .keras, .pt2, .onnx or"
            f" frozen .pb file, or a bundle of {', '.join(PROMOTABLE)}"
        )
    return kind


def _stage(source: Path, kind: str, folder: Path) -> Path:
    """Return a folder that holds the original as a bundle would."""
    if source.is_dir():
        return source
    folder.mkdir()
    shutil.copyfile(source, folder / FORMATS[kind].file)
    names = source.with_suffix(".json")
    if kind == "frozen_graph" and names.is_file():
        shutil.copyfile(names, folder / "model.json")
    return folder


def _load(kind: str, folder: Path, trust: ModelTrust) -> Scorer:
    return load_scorer(kind, folder, threads=None, trust=trust)


def _rows(request: PromotionRequest, scorer: Scorer) -> Rows:
    if request.golden is not None:
        return golden_rows(request.golden)
    assert isinstance(scorer, _Declares)
    if request.samples is not None:
        return read_rows(request.samples, scorer.inputs)
    if (request.source / MANIFEST_FILE).is_file():
        return golden_rows(request.source)
    return generate_rows(scorer.inputs)


def _is_float64(scorer: Scorer, features: FeatureBatch) -> bool:
    outputs = scorer.score(take_rows(features, slice(0, 1))).values()
    floats = [output.dtype for output in outputs if output.dtype.kind == "f"]
    return bool(floats) and all(dtype == np.float64 for dtype in floats)


def _refuse_float64(source: Path, scorer: Scorer, rows: Rows) -> None:
    features = rows.features
    try:
        is_float64 = _is_float64(scorer, features)
        for start in range(0, features.rows, FULL_BATCH):
            scorer.score(take_rows(features, slice(start, start + FULL_BATCH)))
    except BackendError as error:
        raise ConfigError(
            f"{source} cannot score {rows.origin}: {error}; give rows that it takes with --samples"
            " FILE or --golden BUNDLE"
        ) from error
    if is_float64:
        raise ConfigError(f"{source} answers in float64 already; there is nothing to promote")


def _rewrite(kind: str, folder: Path, target: Path, trust: ModelTrust) -> tuple[str, ...]:
    if kind == "saved_model":
        from serving.loaders.promotion.graphdef import promote_saved_model

        return promote_saved_model(folder, target)
    if kind == "frozen_graph":
        return _rewrite_frozen(folder, target)
    file = FORMATS[kind].file
    if kind == "torch":
        from serving.loaders.promotion.torch_program import promote_program

        promote_program(folder / file, target / file, trust)
    else:
        from serving.loaders.promotion.onnx_model import promote_onnx

        promote_onnx(folder / file, target / file)
    return ()


def _rewrite_frozen(folder: Path, target: Path) -> tuple[str, ...]:
    from serving.loaders import frozen_graph
    from serving.loaders.promotion.graphdef import promote_graph

    graph = frozen_graph.read_graph(folder)
    names = frozen_graph.read_names(folder, graph)
    placeholders = frozenset(tensor.partition(":")[0] for tensor in names.inputs.values())
    narrow = promote_graph(graph, placeholders)
    (target / frozen_graph.FILE).write_bytes(graph.SerializeToString(deterministic=True))
    # Written out: the casts would change which nodes look like the graph's ends.
    held = {"inputs": [*names.inputs.values()], "outputs": [*names.outputs.values()]}
    (target / frozen_graph.NAMES_FILE).write_bytes(orjson.dumps(held))
    return narrow


def _promote_keras(request: PromotionRequest, draft: Path, target: Path) -> PromotionReport:
    """Rebuild a Keras model from its own configuration, which a `.keras` file holds."""
    import keras

    from serving.loaders.promotion.keras_model import rebuild_in_float64

    try:
        # Safe mode never runs code that a configuration holds (a Lambda's).
        model = keras.saving.load_model(request.source, compile=False, safe_mode=True)
    except Exception as error:  # Keras and its layers raise errors of many kinds
        raise BundleError(
            request.source, f"Keras {keras.__version__} cannot read it: {error}"
        ) from error
    model.export(draft / "original", verbose=False)
    original = _load("saved_model", draft / "original", request.trust)
    rows = _rows(request, original)
    _refuse_float64(request.source, original, rows)
    rebuild_in_float64(model).export(target, verbose=False)
    return _verify(original, "saved_model", target, rows, request.trust, ())


def _publish(request: PromotionRequest, kind: str, made: Path) -> None:
    """Force the promoted model to the disk, then give it its name."""
    if kind in _FILES and request.source.is_file():
        made = made / FORMATS[kind].file
    for path in [made, *made.rglob("*")] if made.is_dir() else [made]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    made.rename(request.destination)
    fsync_folder(request.destination.absolute().parent)
