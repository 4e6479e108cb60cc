"""A loaded model version, and how a bundle becomes one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from consistency.bundle import Bundle, bind_pipeline, open_bundle, verify_files
from consistency.environment import cpu_digest
from consistency.errors import BundleError
from consistency.execution import apply_execution
from consistency.gate import GateReport, run_gate
from consistency.pipeline import BoundPipeline
from consistency.postprocess import PostProcess
from consistency.protocols import Scorer, ScorerInfo
from consistency.replay.target import OpaqueScorer
from consistency.schema import FeatureSchema
from consistency.scored import GateState, ServableInfo
from consistency.snapshots import SnapshotStore
from serving.backends.backend import Backend, InProcessBackend
from serving.core.state import ServableId
from serving.loaders import load_scorer
from serving.loaders.inference_service import load_inference_service
from serving.loaders.runtimes.devices import CPU
from serving.loaders.trust.grants import NO_TRUST, ModelTrust

logger = logging.getLogger(__name__)


class GateMode(StrEnum):
    """What a failing golden gate does.

    enforce: the version does not go live. report: it is served, marked unverified.
    """

    ENFORCE = "enforce"
    REPORT = "report"


@dataclass(slots=True)
class Servable:
    """One version of a model, loaded.

    Attributes:
        info: the facts that go into each of its log lines.
        schema: its features.
        pipeline: bound to the lookup snapshots in use now; None when rows come as features.
            Replaced as a whole when a snapshot is published, so that a request sees one state.
        backend: what scores; None for an opaque servable.
        postprocess: from raw outputs to scores.
        opaque: an InferenceService, which takes a body as a whole.
        gate_report: what the golden gate found.
        bundle: what it was loaded from; None for an opaque servable.
    """

    info: ServableInfo
    schema: FeatureSchema
    pipeline: BoundPipeline | None
    backend: Backend | None
    postprocess: PostProcess
    opaque: OpaqueScorer | None = None
    gate_report: GateReport | None = None
    bundle: Bundle | None = None


@dataclass(frozen=True, slots=True)
class LoadSettings:
    """How bundles are loaded.

    Attributes:
        trusted: packages whose pipelines may be imported.
        store: the lookup snapshots.
        gate: what a failing golden gate does.
        max_batch: the largest batch that serving forms.
        threads: of each model.
        device: of each model: `cpu`, `cuda` or `cuda:N`.
        trust: what model files may bring along.
        transport: what the features pass through on their way to the model (a feature store, a
            cache); the golden gate sees what comes out of it.
    """

    trusted: frozenset[str]
    store: SnapshotStore
    gate: GateMode = GateMode.ENFORCE
    max_batch: int = 64
    threads: int = 1
    device: str = CPU
    trust: ModelTrust = NO_TRUST
    transport: Callable[[BoundPipeline], BoundPipeline] | None = None

    def load_scorer(self, bundle: Bundle) -> Scorer:
        """Return a bundle's model, executed as its manifest says.

        Raises:
            BundleError: the model's files are damaged.
            ConfigError: it cannot be loaded here, or is not trusted.
        """
        model = load_scorer(
            bundle.manifest.model_format,
            bundle.path,
            threads=self.threads,
            device=self.device,
            trust=self.trust,
        )
        return apply_execution(bundle.manifest.execution, model)

    def bind(self, bundle: Bundle, snapshots: Mapping[str, str] | None) -> BoundPipeline | None:
        """Return a bundle's pipeline on the given snapshots, transport included."""
        bound = bind_pipeline(bundle, trusted=self.trusted, store=self.store, snapshots=snapshots)
        return bound if bound is None or self.transport is None else self.transport(bound)


@dataclass(slots=True)
class BundleLoader:
    """Loads one bundle as a servable. A `Loader` of the serving core."""

    id: ServableId
    path: Path
    settings: LoadSettings

    def load(self) -> Servable:
        """Open, check, load and gate a bundle.

        Raises:
            BundleError: it is not whole, or not what its manifest says, or it failed the gate.
            ConfigError: its pipeline is not trusted, or its format cannot be loaded here.
        """
        bundle = checked_bundle(self.id, self.path)
        manifest = bundle.manifest
        pipeline = self.settings.bind(bundle, None)
        scorer = self.settings.load_scorer(bundle)
        report = self._gate(bundle, pipeline, scorer)
        servable = Servable(
            info=servable_info(bundle, scorer.info, report),
            schema=manifest.features,
            pipeline=pipeline,
            backend=InProcessBackend(scorer),
            postprocess=manifest.postprocess,
            gate_report=report,
            bundle=bundle,
        )
        refresh_lookups(servable, self.settings)
        return servable

    def unload(self, servable: Servable) -> None:
        """Nothing to take back: the model's memory goes with the last reference to it."""

    def _gate(self, bundle: Bundle, pipeline: BoundPipeline | None, scorer: Scorer) -> GateReport:
        report = run_gate(
            bundle.golden(),
            pipeline,
            scorer,
            bundle.manifest.postprocess,
            decimals=bundle.manifest.gate_decimals,
            max_batch=self.settings.max_batch,
        )
        if report.passed:
            return report
        if self.settings.gate is GateMode.ENFORCE:
            raise BundleError(
                self.path,
                f"{report}\n  it does not go live; mend the cause, or serve it marked unverified "
                f"with --gate report",
            )
        logger.warning("%s/%d is served UNVERIFIED: %s", self.id.name, self.id.version, report)
        return report


def checked_bundle(servable_id: ServableId, path: Path) -> Bundle:
    """Open a bundle, and check that all its files are what its manifest says.

    Raises:
        BundleError: they are not, or it is another model or version.
    """
    bundle = open_bundle(path)
    manifest = bundle.manifest
    if (manifest.name, manifest.version) != (servable_id.name, servable_id.version):
        raise BundleError(
            path,
            f"its manifest says {manifest.name}/{manifest.version}; a bundle cannot be renamed: "
            f"bundle the model anew as {servable_id.name}/{servable_id.version}",
        )
    verify_files(bundle)
    return bundle


def refresh_lookups(servable: Servable, settings: LoadSettings) -> None:
    """Bind a servable's pipeline to the current snapshot of each lookup, if one was published.

    Raises:
        SnapshotError: the current snapshot cannot be read; the one in use stays.
    """
    if servable.pipeline is None or servable.bundle is None:
        return
    held = servable.pipeline.snapshots
    wanted = {name: settings.store.current(name) or snapshot for name, snapshot in held.items()}
    if wanted != dict(held):
        servable.pipeline = settings.bind(servable.bundle, wanted)


def opaque_servable(servable_id: ServableId, opaque: OpaqueScorer, backend: str) -> Servable:
    """Return the servable of an operator-named InferenceService."""
    info = ServableInfo(
        name=servable_id.name,
        version=servable_id.version,
        gate=GateState.NONE,
        bundle_digest="",
        pipeline_digest="",
        backend=backend,
        device="cpu",
        dtype="opaque",
        execution="as_is",
        threads=1,
        cpu_digest=cpu_digest(),
    )
    return Servable(info, FeatureSchema((), ()), None, None, PostProcess(), opaque=opaque)


def servable_info(bundle: Bundle, how: ScorerInfo, report: GateReport) -> ServableInfo:
    """Return the facts of a bundle's servable, computed as `how` says."""
    manifest = bundle.manifest
    return ServableInfo(
        name=manifest.name,
        version=manifest.version,
        gate=GateState.VERIFIED if report.passed else GateState.UNVERIFIED,
        bundle_digest=manifest.digest,
        pipeline_digest="" if manifest.pipeline is None else manifest.pipeline.digest,
        backend=how.backend,
        device=how.device,
        dtype=how.dtype,
        execution=str(manifest.execution),
        threads=how.threads,
        cpu_digest=cpu_digest(),
        gate_decimals=manifest.gate_decimals,
    )


@dataclass(frozen=True, slots=True)
class OpaqueLoader:
    """Loads an operator-named InferenceService. A `Loader` of the serving core.

    Attributes:
        id: the name and version that clients ask for.
        location: module or file of the class.
        model_path: given to its constructor.
    """

    id: ServableId
    location: str
    model_path: Path

    def load(self) -> Servable:
        """Import the operator's code and make the service.

        Raises:
            ConfigError: it cannot be imported or made.
        """
        service = load_inference_service(self.location, self.model_path)
        return opaque_servable(self.id, service, service.info.backend)

    def unload(self, servable: Servable) -> None:
        """Nothing to take back: it goes with the last reference to it."""
