"""Replays a log folder against bundles on disk."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from consistency.bundle import Bundle, bind_pipeline, open_bundle, verify_files
from consistency.errors import ReplayError
from consistency.execution import apply_execution
from consistency.log import RequestLogReader
from consistency.postprocess import PostProcess
from consistency.protocols import Damage, LogItems, Scorer
from consistency.replay import ReplayReport, ReplaySettings, ReplayTarget, replay
from consistency.schema import FeatureSchema
from consistency.snapshots import SnapshotStore
from serving.loaders import load_scorer
from serving.loaders.inference_service import load_inference_service


@dataclass(frozen=True, slots=True)
class OpaqueSpec:
    """An InferenceService that the operator names.

    Attributes:
        name: the model's name; version: its version.
        location: module or file of the class, `:Class` if it is not called InferenceService.
        model_path: given to its constructor.
    """

    name: str
    version: int
    location: str
    model_path: Path


@dataclass(slots=True)
class BundleTargets:
    """Finds the offline side of logged requests among the bundles of a base folder.

    A model is loaded once; its pipeline is bound once for each set of snapshots.

    Attributes:
        base: the folder of `<name>/<version>` bundles.
        store: the lookup snapshots.
        trusted: packages whose pipelines may be imported.
        services: InferenceServices that the operator names.
        threads: of each model.
        with_pipeline: false for a replay from logged features, which imports no pipeline.
    """

    base: Path
    store: SnapshotStore
    trusted: Collection[str]
    services: Collection[OpaqueSpec] = ()
    threads: int = 1
    with_pipeline: bool = True
    _models: dict[tuple[str, int], tuple[Bundle, Scorer]] = field(default_factory=dict)
    _targets: dict[object, ReplayTarget] = field(default_factory=dict)

    def __call__(
        self, model: tuple[str, int], bundle_digest: str, snapshots: Mapping[str, str]
    ) -> ReplayTarget:
        """Return the target; see `Resolve`."""
        key = (model, bundle_digest, tuple(snapshots.items()))
        found = self._targets.get(key)
        if found is None:
            make = self._from_bundle if bundle_digest else self._from_service
            found = self._targets[key] = make(model, bundle_digest, snapshots)
        return found

    def _from_bundle(
        self, model: tuple[str, int], bundle_digest: str, snapshots: Mapping[str, str]
    ) -> ReplayTarget:
        if model not in self._models:
            self._models[model] = self._load(model)
        bundle, scorer = self._models[model]
        if bundle.manifest.digest != bundle_digest:
            raise ReplayError(
                f"the log was served by bundle {bundle_digest} of {model[0]}/{model[1]}, "
                f"{bundle.path} is {bundle.manifest.digest}; replay with the one that served"
            )
        pipeline = None
        if self.with_pipeline:
            pipeline = bind_pipeline(
                bundle, trusted=self.trusted, store=self.store, snapshots=snapshots or None
            )
        return ReplayTarget(bundle.manifest.features, pipeline, scorer, bundle.manifest.postprocess)

    def _load(self, model: tuple[str, int]) -> tuple[Bundle, Scorer]:
        path = self.base / model[0] / str(model[1])
        if not path.is_dir():
            raise ReplayError(
                f"{self.base} holds no {model[0]}/{model[1]}; name the folder that was served"
            )
        bundle = open_bundle(path)
        verify_files(bundle)
        scorer = load_scorer(bundle.manifest.model_format, path, threads=self.threads)
        return bundle, apply_execution(bundle.manifest.execution, scorer)

    def _from_service(
        self, model: tuple[str, int], bundle_digest: str, snapshots: Mapping[str, str]
    ) -> ReplayTarget:
        for spec in self.services:
            if (spec.name, spec.version) == model:
                service = load_inference_service(spec.location, spec.model_path)
                return ReplayTarget(FeatureSchema((), ()), None, None, PostProcess(), service)
        raise ReplayError(
            f"{model[0]}/{model[1]} was answered by an InferenceService; name it with "
            f"--inference-service to have its code imported"
        )


def replay_log(
    log: Path,
    targets: BundleTargets,
    settings: ReplaySettings | None = None,
    on_request: Callable[[], object] = lambda: None,
    models: Collection[str] = (),
) -> ReplayReport:
    """Replay every request of a log folder.

    Args:
        log: the folder.
        targets: the offline side.
        settings: how.
        on_request: called once for each request, for a progress bar.
        models: only these, or all when empty.

    Raises:
        LogError: no such folder.
        ReplayError: no bundle fits the log.
    """
    items: LogItems = RequestLogReader(log)
    if models:
        items = (i for i in items if isinstance(i, Damage) or i.model[0] in models)
    return replay(items, targets, settings, on_request)
