"""Replays a log folder against bundles on disk."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from consistency.bundle import Bundle, bind_pipeline, open_bundle, verify_files
from consistency.digest import package_root
from consistency.errors import ReplayError, SamescoreError
from consistency.execution import apply_execution
from consistency.features import FeatureBatch
from consistency.log import RequestLogReader
from consistency.pipeline import BoundPipeline, WrappedPipeline
from consistency.postprocess import PostProcess
from consistency.protocols import Scorer
from consistency.records import Record
from consistency.replay import ReplayReport, ReplaySettings, ReplayTarget, replay
from consistency.replay.target import Resolve
from consistency.schema import FeatureSchema
from consistency.snapshots import SnapshotStore
from consistency.tensor_calls import MODEL_SERVER_DIGEST
from serving.loaders import load_scorer
from serving.loaders.inference_service import load_inference_service
from serving.loaders.runtimes.devices import CPU
from serving.loaders.trust.grants import NO_TRUST, ModelTrust

MOST_TARGETS: Final = 64
"""Pipelines bound to a set of snapshots that are kept: a log of a year has read many snapshots."""


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


@dataclass(frozen=True, slots=True)
class _Told(WrappedPipeline):
    """A pipeline whose code may fail here as it did not where it served.

    Attributes:
        root: where its sources are.
    """

    root: Path

    def __call__(self, records: Sequence[Record]) -> FeatureBatch:
        """Return the feature rows.

        Raises:
            DataError: an unusable record.
            ReplayError: the pipeline raised anything else.
        """
        try:
            return self.inner(records)
        except SamescoreError:
            raise
        except Exception as e:
            frames = traceback.extract_tb(e.__traceback__)
            own = [f for f in frames if Path(f.filename).is_relative_to(self.root)]
            place = (own or frames)[-1]
            raise ReplayError(
                f"the feature pipeline raised {e!r} at {place.filename}:{place.lineno}; where it "
                f"served it did not: look for what is other here, variables, packages, files"
            ) from e


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
        device: of each model: `cpu`, `cuda` or `cuda:N`.
        trust: what model files may bring along.
        with_pipeline: false for a replay from logged features, which imports no pipeline.
        base_paths: by model, where the model server had it from; else `base/<name>`.
    """

    base: Path
    store: SnapshotStore
    trusted: Collection[str]
    services: Collection[OpaqueSpec] = ()
    threads: int = 1
    with_pipeline: bool = True
    device: str = CPU
    trust: ModelTrust = NO_TRUST
    base_paths: Mapping[str, Path] = field(default_factory=dict)
    _bundles: dict[tuple[str, int], Bundle] = field(default_factory=dict)
    _scorers: dict[tuple[str, int], Scorer] = field(default_factory=dict)
    _targets: dict[object, ReplayTarget] = field(default_factory=dict)

    def __call__(
        self, model: tuple[str, int], bundle_digest: str, snapshots: Mapping[str, str]
    ) -> ReplayTarget:
        """Return the target; see `Resolve`."""
        key = (model, bundle_digest, tuple(snapshots.items()))
        found = self._targets.get(key)
        if found is None:
            if len(self._targets) >= MOST_TARGETS:
                del self._targets[next(iter(self._targets))]
            found = self._targets[key] = self._make(bundle_digest)(model, bundle_digest, snapshots)
        return found

    def check(
        self, model: tuple[str, int], bundle_digest: str, snapshots: Mapping[str, str]
    ) -> None:
        """Fail as `__call__` would, without loading a model.

        Raises:
            SamescoreError: what served is not here, or not as it was.
        """
        if bundle_digest.startswith(MODEL_SERVER_DIGEST):
            from samescore.replays.model_server import served_folder

            served_folder(self._base_path(model), model, bundle_digest)
        elif bundle_digest:
            self._pipeline(self._bundle(model, bundle_digest), snapshots)
        else:
            self._service(model)

    def unloaded(self) -> BundleTargets:
        """Return the same settings with nothing loaded, as they go to another process."""
        return replace(self, _bundles={}, _scorers={}, _targets={})

    def _make(self, bundle_digest: str) -> Resolve:
        if bundle_digest.startswith(MODEL_SERVER_DIGEST):
            return self._from_model_server
        return self._from_bundle if bundle_digest else self._from_service

    def _from_model_server(
        self, model: tuple[str, int], bundle_digest: str, snapshots: Mapping[str, str]
    ) -> ReplayTarget:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported
        from samescore.replays.model_server import model_server_target
        from serving.model_server.models.bundle_platform import BundleOptions

        options = BundleOptions(self.threads, self.device, self.trust)
        return model_server_target(self._base_path(model), model, bundle_digest, options)

    def _base_path(self, model: tuple[str, int]) -> Path:
        return self.base_paths.get(model[0], self.base / model[0])

    def _from_bundle(
        self, model: tuple[str, int], bundle_digest: str, snapshots: Mapping[str, str]
    ) -> ReplayTarget:
        bundle = self._bundle(model, bundle_digest)
        pipeline = self._pipeline(bundle, snapshots)
        if model not in self._scorers:
            self._scorers[model] = self._load(bundle)
        manifest = bundle.manifest
        return ReplayTarget(manifest.features, pipeline, self._scorers[model], manifest.postprocess)

    def _bundle(self, model: tuple[str, int], bundle_digest: str) -> Bundle:
        """Return a bundle whose files are as they were written."""
        if model not in self._bundles:
            path = self.base / model[0] / str(model[1])
            if not path.is_dir():
                raise ReplayError(
                    f"{self.base} holds no {model[0]}/{model[1]}; name the folder that was served"
                )
            bundle = open_bundle(path)
            verify_files(bundle)
            self._bundles[model] = bundle
        found = self._bundles[model]
        if found.manifest.digest != bundle_digest:
            raise ReplayError(
                f"the log was served by bundle {bundle_digest} of {model[0]}/{model[1]}, "
                f"{found.path} is {found.manifest.digest}; replay with the one that served"
            )
        return found

    def _pipeline(self, bundle: Bundle, snapshots: Mapping[str, str]) -> BoundPipeline | None:
        if not self.with_pipeline:
            return None
        bound = bind_pipeline(
            bundle, trusted=self.trusted, store=self.store, snapshots=snapshots or None
        )
        ref = bundle.manifest.pipeline
        return None if bound is None or ref is None else _Told(bound, package_root(ref.package))

    def _load(self, bundle: Bundle) -> Scorer:
        scorer = load_scorer(
            bundle.manifest.model_format,
            bundle.path,
            threads=self.threads,
            device=self.device,
            trust=self.trust,
        )
        return apply_execution(bundle.manifest.execution, scorer)

    def _from_service(
        self, model: tuple[str, int], bundle_digest: str, snapshots: Mapping[str, str]
    ) -> ReplayTarget:
        spec = self._service(model)
        service = load_inference_service(spec.location, spec.model_path)
        return ReplayTarget(FeatureSchema((), ()), None, None, PostProcess(), service)

    def _service(self, model: tuple[str, int]) -> OpaqueSpec:
        for spec in self.services:
            if (spec.name, spec.version) == model:
                return spec
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
    """Replay a log folder in this process; `samescore.replays.run` does it on several cores.

    Args:
        log: the folder.
        targets: the offline side.
        settings: how, and which requests.
        on_request: called once for each request that is read, for a progress bar.
        models: only these, or all when empty.

    Raises:
        LogError: no such folder.
        ReplayError: no bundle fits the log.
    """
    settings = settings or ReplaySettings()
    if models:
        chosen = replace(settings.selection, models=frozenset(models))
        settings = replace(settings, selection=chosen)
    return replay(RequestLogReader(log), targets, settings, on_request)
