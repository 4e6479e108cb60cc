"""Builds a bundle from a trained model: golden rows, reference and digests included."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray

from consistency.bundle import BundleContent, GoldenSet, PipelineRef, write_bundle
from consistency.bundle.reader import distribution_of, load_pipeline_object
from consistency.digest import digest_sources
from consistency.errors import BundleError, ConfigError
from consistency.execution import Execution, ExecutionMode, apply_execution
from consistency.features import FeatureBatch
from consistency.pipeline import BoundPipeline, FeaturePipeline
from consistency.postprocess import PostProcess
from consistency.protocols import Scorer
from consistency.records import Record
from consistency.schema import FeatureSchema
from consistency.snapshots import SnapshotStore
from consistency.state import FittedState
from monitors.reference import ReferenceSet
from monitors.reference_blocks import BLOCK_SECONDS
from samescore.promotion.promote import promote_for_bundle
from serving.loaders import format_named, load_scorer
from serving.loaders.trust.grants import NO_TRUST, ModelTrust


@dataclass(frozen=True, slots=True)
class BundleRequest:
    """What to bundle.

    Attributes:
        name: the model's name: letters, digits, `.`, `_`, `-`.
        version: 0 or more, new.
        model_format: one of `serving.loaders.FORMATS`.
        model: its file, or its folder.
        golden: raw records, or, without a pipeline, feature rows (float64, shape (N, F)), that a
            version must reproduce before it goes live. A few hundred, typical and odd ones.
        pipeline: `package.module:attribute` of the installed feature pipeline, or None for a model
            that is sent feature rows.
        features: their names, without a pipeline; it tells them itself otherwise.
        state: the pipeline's fitted state.
        snapshots: lookup name to the snapshot id that the golden features are made with.
        store: where these snapshots are; needed when there are any.
        reference: a sample of the training records (or rows), frozen for the monitors.
        reference_times: when each of them happened, microseconds since the epoch, int64, shape
            (N,). With them drift jobs know how much a day varies; a few hundred rows a day say
            more than a few. None if it is not known.
        reference_block_s: seconds of the blocks that are told apart by them: a day; an hour for
            drift jobs whose windows are hours, which are then compared with their hour of the week.
        execution: `as_is`, `padded:N`, or `float64`: a model that does not answer in float64 yet is
            promoted, and verified on the golden rows.
        gate_decimals: decimals that the golden gate demands.
        postprocess: from raw outputs to the score.
        metrics: training metrics; loss_curve: the training loss. Kept in the manifest.
        trust: what the model's file may bring along; not kept, each operator decides anew.
    """

    name: str
    version: int
    model_format: str
    model: Path
    golden: Sequence[Record] | NDArray[np.float64]
    pipeline: str | None = None
    features: FeatureSchema | None = None
    state: FittedState = field(default_factory=lambda: FittedState({}))
    snapshots: Mapping[str, str] = field(default_factory=dict)
    store: SnapshotStore | None = None
    reference: Sequence[Record] | NDArray[np.float64] = ()
    reference_times: NDArray[np.int64] | None = None
    reference_block_s: int = BLOCK_SECONDS
    execution: str = "as_is"
    gate_decimals: int = 10
    postprocess: PostProcess = field(default_factory=PostProcess)
    metrics: Mapping[str, float] = field(default_factory=dict)
    loss_curve: Sequence[float] = ()
    trust: ModelTrust = NO_TRUST


def build_bundle(base: Path, request: BundleRequest) -> Path:
    """Score the golden rows offline and write `<base>/<name>/<version>/`.

    Raises:
        ConfigError: a setting is unusable, or the model cannot be loaded.
        DataError: a golden record is unusable.
        BundleError: the version exists.
    """
    if not len(request.golden):
        raise ConfigError("golden holds no row; a version must have something to reproduce")
    pipeline = None if request.pipeline is None else load_pipeline_object(request.pipeline)
    bound = None if pipeline is None else _bind(pipeline, request)
    schema = _schema(request, bound)
    execution = Execution.parse(request.execution)
    with tempfile.TemporaryDirectory(prefix="samescore-bundle-") as folder:
        rows = _features(request.golden, schema, bound)
        held, scorer = _load(request, execution, Path(folder), rows)
        content = BundleContent(
            name=request.name,
            version=request.version,
            model_format=request.model_format,
            model=held,
            model_file=format_named(request.model_format).file_for(request.model),
            features=schema,
            golden=_golden(request, rows, scorer),
            state=request.state,
            pipeline=None if request.pipeline is None else _reference_to(request.pipeline),
            inputs=None if pipeline is None else pipeline.inputs,
            execution=execution,
            gate_decimals=request.gate_decimals,
            postprocess=request.postprocess,
            snapshots={} if bound is None else bound.snapshots,
            reference=_reference(request, schema, bound, scorer),
            metrics=request.metrics,
            loss_curve=tuple(request.loss_curve),
        )
        return write_bundle(base, content)


def _bind(pipeline: FeaturePipeline, request: BundleRequest) -> BoundPipeline:
    if pipeline.lookups and request.store is None:
        names = ", ".join(x.name for x in pipeline.lookups)
        raise ConfigError(f"the pipeline joins with {names}; give the snapshot store as store=")
    tables = {}
    for lookup in pipeline.lookups:
        if lookup.name not in request.snapshots:
            raise ConfigError(
                f"no snapshot is named for lookup {lookup.name!r}; put one into the store and name "
                f"its id in snapshots= (--snapshots)"
            )
        assert request.store is not None
        tables[lookup.name] = request.store.get(request.snapshots[lookup.name], lookup.keys)
    return pipeline.bind(request.state, tables)


def _schema(request: BundleRequest, bound: BoundPipeline | None) -> FeatureSchema:
    if bound is not None:
        return bound.outputs
    if request.features is None:
        raise ConfigError("without a pipeline, features must name the model's features")
    return request.features


def _stage(request: BundleRequest, folder: Path) -> Path:
    """Lay the model out as the bundle will hold it, so that the golden scores are the bundle's."""
    known = format_named(request.model_format)
    if request.model.is_dir():
        return request.model
    if not known.file:
        raise ConfigError(f"model {request.model}: {request.model_format} is a folder")
    if not request.model.is_file():
        raise ConfigError(f"model {request.model}: no such file")
    shutil.copyfile(request.model, folder / known.file_for(request.model))
    return folder


def _load(
    request: BundleRequest, execution: Execution, folder: Path, golden: FeatureBatch
) -> tuple[Path, Scorer]:
    """Return the model that the bundle will hold, promoted if it has to be, and its scorer."""
    staged = _stage(request, folder)
    kind, trust = request.model_format, request.trust
    try:
        model = load_scorer(kind, staged, threads=None, trust=trust)
    except (BundleError, ConfigError) as e:
        raise ConfigError(_as_given(str(e), request, staged)) from e
    if execution.mode is ExecutionMode.FLOAT64:
        promoted = promote_for_bundle(kind, staged, model, golden, folder / "promoted", trust)
        if promoted is not None:
            return promoted, load_scorer(kind, promoted, threads=None, trust=trust)
    return request.model, apply_execution(execution, model)


def _as_given(told: str, request: BundleRequest, staged: Path) -> str:
    """Return a message about the staged copy, which is gone by then, as one about the model."""
    file = staged / format_named(request.model_format).file_for(request.model)
    given = f"{request.model}"
    told = told.replace(f"bundle {staged}:", f"model {given}:")
    return told.replace(f"{file}", given).replace(f"{staged}", given)


def _features(
    rows: Sequence[Record] | NDArray[np.float64], schema: FeatureSchema, bound: BoundPipeline | None
) -> FeatureBatch:
    if bound is not None and not isinstance(rows, np.ndarray):
        return bound(rows)
    matrix = np.asfortranarray(rows, np.float64)
    if matrix.ndim != 2 or matrix.shape[1] != len(schema):
        raise ConfigError(f"feature rows have shape {matrix.shape}, expected (N, {len(schema)})")
    return FeatureBatch(schema, len(matrix), matrix)


def _golden(request: BundleRequest, features: FeatureBatch, scorer: Scorer) -> GoldenSet:
    scores = request.postprocess(scorer.score(features))
    records = None if isinstance(request.golden, np.ndarray) else request.golden
    for row, record in enumerate(records or ()):
        if orjson.loads(orjson.dumps(record)) != record:
            raise ConfigError(
                f"golden record {row} does not survive JSON: {record!r}; records are what a client "
                f"can send, with null for a missing value and no NaN"
            )
    return GoldenSet(records, features, scores)


def _reference(
    request: BundleRequest, schema: FeatureSchema, bound: BoundPipeline | None, scorer: Scorer
) -> bytes:
    if not len(request.reference):
        return b""
    features = _features(request.reference, schema, bound)
    scores = request.postprocess(scorer.score(features))
    frozen = ReferenceSet.build(features.columns(), scores)
    if request.reference_times is not None:
        times, block_s = request.reference_times, request.reference_block_s
        frozen = frozen.with_blocks(features.columns(), scores, times, block_s)
    return frozen.to_bytes()


def _reference_to(pipeline: str) -> PipelineRef:
    package = pipeline.partition(":")[0].partition(".")[0]
    return PipelineRef(pipeline, package, distribution_of(package), digest_sources(package))
