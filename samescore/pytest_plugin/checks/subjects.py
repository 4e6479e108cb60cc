"""Opens what the checks are about: bundles, the installed pipeline, the model.

A changed pipeline is refused by a server, by its digest. Here it is taken as it is installed, so
that a check can say *which* feature changed; that it did is an item of its own, `pipeline`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from consistency.bundle import Bundle, open_bundle
from consistency.bundle.reader import load_pipeline_object
from consistency.digest import digest_sources
from consistency.errors import BundleError, ConfigError, ReplayError
from consistency.execution import apply_execution
from consistency.pipeline import BoundPipeline, FeaturePipeline
from consistency.protocols import Scorer
from consistency.replay import ReplayTarget
from consistency.schema import FeatureSchema
from consistency.snapshots import SNAPSHOT_FOLDER, SnapshotStore
from consistency.state import FittedState
from samescore.pytest_plugin.configuring.settings import BundleSettings, PipelineSettings
from samescore.pytest_plugin.telling.findings import shown_path
from samescore.replays.targets import BundleTargets
from serving.loaders import load_scorer
from serving.loaders.trust.grants import ModelTrust


@dataclass(frozen=True, slots=True)
class Installed:
    """The feature pipeline that is installed here, whatever a bundle was made with.

    Attributes:
        unbound: its code.
        bound: with its state and snapshots.
        package: its top-level package.
        changed: whether its sources differ from the bundle's; False without a bundle.
    """

    unbound: FeaturePipeline
    bound: BoundPipeline
    package: str
    changed: bool


def of_pipeline(settings: PipelineSettings, trusted: Collection[str]) -> Installed:
    """Bind a pipeline that no bundle holds.

    Raises:
        SamescoreError: its package is not trusted, or it cannot be imported or bound.
    """
    pipeline = _imported(settings.object, trusted)
    state = FittedState({})
    if settings.state is not None:
        try:
            state = FittedState.from_bytes(settings.state.read_bytes())
        except OSError as e:
            raise ConfigError(f"state {settings.state}: cannot be read ({e.strerror})") from e
    store = SnapshotStore(settings.laws.snapshots or Path(SNAPSHOT_FOLDER))
    named = {x.name: store.current(x.name) for x in pipeline.lookups}
    bound = _bind(pipeline, state, store, {k: v for k, v in named.items() if v})
    return Installed(pipeline, bound, _package(settings.object), changed=False)


def of_bundle(
    settings: BundleSettings, bundle: Bundle, trusted: Collection[str]
) -> Installed | None:
    """Bind the installed pipeline to a bundle's state and golden snapshots.

    Returns:
        None for a model that is sent feature rows.

    Raises:
        SamescoreError: its package is not trusted, or it cannot be imported or bound.
    """
    base = bundle.path.resolve().parent.parent
    store = SnapshotStore(settings.laws.snapshots or base / SNAPSHOT_FOLDER)
    return bind_installed(bundle, store, bundle.manifest.snapshots, trusted)


def bind_installed(
    bundle: Bundle, store: SnapshotStore, snapshots: Mapping[str, str], trusted: Collection[str]
) -> Installed | None:
    """Bind the installed pipeline to a bundle's state and to snapshots; see `of_bundle`."""
    ref = bundle.manifest.pipeline
    if ref is None:
        return None
    if _package(ref.object) != ref.package:
        raise BundleError(bundle.path, f"its pipeline {ref.object!r} is not in {ref.package!r}")
    pipeline = _imported(ref.object, trusted)
    bound = _bind(pipeline, bundle.state(), store, snapshots)
    return Installed(pipeline, bound, ref.package, digest_sources(ref.package) != ref.digest)


def opened(settings: BundleSettings) -> Bundle:
    """Open a bundle.

    Raises:
        BundleError: it is none; the message says which table names it.
    """
    if not settings.path.is_dir():
        raise BundleError(settings.path, f"no such folder; see [bundles.{settings.name}] path")
    return open_bundle(settings.path)


def load_model(bundle: Bundle, threads: int, device: str, trust: ModelTrust) -> Scorer:
    """Load a bundle's model, its execution mode included.

    Raises:
        SamescoreError: it cannot be loaded so.
    """
    manifest = bundle.manifest
    model = load_scorer(
        manifest.model_format, bundle.path, threads=threads, device=device, trust=trust
    )
    return apply_execution(manifest.execution, model)


@dataclass(slots=True)
class InstalledTargets(BundleTargets):
    """The offline side of a replay, with the pipeline as it is installed.

    Attributes:
        pipelines: what was bound, by bundle digest.
    """

    def __call__(
        self, model: tuple[str, int], bundle_digest: str, snapshots: Mapping[str, str]
    ) -> ReplayTarget:
        """Return the target; see `Resolve`."""
        target = BundleTargets.__call__(self, model, bundle_digest, snapshots)
        if target.calls is not None or not bundle_digest or not self.trusted:
            return target  # a model server has no feature stage, and its models are no bundles
        bundle = open_bundle(self.base / model[0] / str(model[1]))
        wanted = snapshots or bundle.manifest.snapshots
        installed = bind_installed(bundle, self.store, wanted, self.trusted)
        other = "" if installed is None else other_features(bundle, installed)
        if other:
            raise ReplayError(other)
        return target if installed is None else replace(target, pipeline=installed.bound)


def other_features(bundle: Bundle, installed: Installed) -> str:
    """Return how the features of the installed pipeline are other than the bundle's, or ''."""
    here, there = installed.bound.outputs, bundle.manifest.features
    if here == there:
        return ""
    only = {"only in the bundle": _missing(there, here), "only here": _missing(here, there)}
    what = "; ".join(f"{where}: {', '.join(names)}" for where, names in only.items() if names)
    return (
        f"the installed pipeline {installed.package} makes other features than the model of bundle "
        f"{shown_path(bundle.path)} takes: {what or 'the same ones in another order'}; bundle the "
        "model anew"
    )


def _missing(of: FeatureSchema, there: FeatureSchema) -> list[str]:
    held = set(zip(there.names, there.types, strict=True))
    pairs = zip(of.names, of.types, strict=True)
    return [f"{name} ({kind})" for name, kind in pairs if (name, kind) not in held]


def _imported(location: str, trusted: Collection[str]) -> FeaturePipeline:
    package = _package(location)
    if package not in trusted:
        raise ConfigError(
            f"the pipeline package {package!r} is not trusted, so it is not imported; if you trust "
            f'it, write trusted = ["{package}"] at the top of the configuration'
        )
    return load_pipeline_object(location)


def _bind(
    pipeline: FeaturePipeline, state: FittedState, store: SnapshotStore, named: Mapping[str, str]
) -> BoundPipeline:
    for lookup in pipeline.lookups:
        if lookup.name not in named:
            raise ConfigError(f"no snapshot is named for lookup {lookup.name!r}; publish one")
    tables = {x.name: store.get(named[x.name], x.keys) for x in pipeline.lookups}
    return pipeline.bind(state, tables)


def _package(location: str) -> str:
    return location.partition(":")[0].partition(".")[0]
