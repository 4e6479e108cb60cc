"""Writes a bundle: whole, durable, and only then under its name."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import orjson

from consistency.bundle.golden import GoldenSet
from consistency.bundle.manifest import (
    GOLDEN_FILE,
    INNER_FOLDER,
    MANIFEST_FILE,
    REFERENCE_FILE,
    STATE_FILE,
    Manifest,
    PipelineRef,
    check_model_name,
    check_version,
    digest_model,
)
from consistency.digest import digest_file
from consistency.environment import record_environment
from consistency.errors import BundleError
from consistency.execution import Execution
from consistency.log.segments import fsync_folder
from consistency.postprocess import PostProcess
from consistency.schema import FeatureSchema, RecordSchema
from consistency.state import FittedState


@dataclass(frozen=True, slots=True)
class BundleContent:
    """What goes into a bundle; the attributes are those of `Manifest` unless said here.

    Attributes:
        model: the model's file (kept under `model_file`) or folder (its content is kept).
        model_file: the file name that the loader looks for; empty for a folder.
        golden: the golden set, made with the offline scorer.
        reference: the frozen training distribution, as the monitors wrote it; empty for none.
    """

    name: str
    version: int
    model_format: str
    model: Path
    model_file: str
    features: FeatureSchema
    golden: GoldenSet
    state: FittedState = field(default_factory=lambda: FittedState({}))
    pipeline: PipelineRef | None = None
    inputs: RecordSchema | None = None
    execution: Execution = field(default_factory=lambda: Execution.parse("as_is"))
    gate_decimals: int = 10
    postprocess: PostProcess = field(default_factory=PostProcess)
    snapshots: Mapping[str, str] = field(default_factory=dict)
    reference: bytes = b""
    metrics: Mapping[str, float] = field(default_factory=dict)
    loss_curve: tuple[float, ...] = ()


def write_bundle(base: Path, content: BundleContent) -> Path:
    """Write `<base>/<name>/<version>/` and return it.

    Everything is written and forced to the disk under a temporary name first: a reader sees the
    whole version or none of it.

    Raises:
        BundleError: the version exists already, the model is not there, or the disk says no.
        ConfigError: the name or the version is unusable.
    """
    folder = base / check_model_name(content.name)
    target = folder / str(check_version(content.version))
    if target.exists():
        raise BundleError(target, "exists already; versions are never overwritten, use a new one")
    if not content.model.exists():
        raise BundleError(target, f"the model {content.model} does not exist")
    draft = folder / f".tmp-{content.version}-{secrets.token_hex(4)}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _fill(draft, content)
        draft.rename(target)
        fsync_folder(folder)
    except OSError as e:
        raise BundleError(target, f"cannot write it: {e.strerror or e}; mend that first") from e
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return target


def _fill(draft: Path, content: BundleContent) -> None:
    if content.model.is_dir():
        shutil.copytree(content.model, draft, ignore=shutil.ignore_patterns(INNER_FOLDER))
    else:
        draft.mkdir()
        shutil.copyfile(content.model, draft / content.model_file)
    (draft / INNER_FOLDER).mkdir()
    (draft / STATE_FILE).write_bytes(content.state.to_bytes())
    (draft / GOLDEN_FILE).write_bytes(content.golden.to_parquet())
    if content.reference:
        (draft / REFERENCE_FILE).write_bytes(content.reference)
    manifest = _manifest(content, _digests(draft))
    text = orjson.dumps(manifest.to_json(), option=orjson.OPT_INDENT_2)
    (draft / MANIFEST_FILE).write_bytes(text)
    for path in _walk(draft):
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
    for path in (draft, draft / INNER_FOLDER):
        fsync_folder(path)


def _manifest(content: BundleContent, files: Mapping[str, str]) -> Manifest:
    return Manifest(
        name=content.name,
        version=content.version,
        model_format=content.model_format,
        pipeline=content.pipeline,
        inputs=content.inputs,
        features=content.features,
        execution=content.execution,
        gate_decimals=content.gate_decimals,
        postprocess=content.postprocess,
        snapshots=content.snapshots,
        state_digest=content.state.digest,
        model_digest=digest_model(files),
        files=files,
        environment=record_environment().to_json(),
        metrics=content.metrics,
        loss_curve=content.loss_curve,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _digests(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): digest_file(p) for p in _walk(folder)}


def _walk(folder: Path) -> Iterator[Path]:
    return (p for p in sorted(folder.rglob("*")) if p.is_file())
