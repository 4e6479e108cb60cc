"""Opens a bundle and trusts nothing in it before its digest has been seen."""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson

from consistency.bundle.golden import GoldenSet
from consistency.bundle.manifest import (
    GOLDEN_FILE,
    MANIFEST_FILE,
    REFERENCE_FILE,
    STATE_FILE,
    Manifest,
    PipelineRef,
    digest_model,
)
from consistency.digest import digest_file, digest_sources
from consistency.errors import BundleError, ConfigError, DigestMismatchError
from consistency.pipeline import BoundPipeline, FeaturePipeline
from consistency.snapshots import SnapshotStore
from consistency.state import FittedState


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle on disk.

    Attributes:
        path: `<base>/<name>/<version>`.
        manifest: what it is.
    """

    path: Path
    manifest: Manifest

    def state(self) -> FittedState:
        """Return the fitted state.

        Raises:
            DigestMismatchError: it is not what the manifest says.
        """
        state = FittedState.from_bytes(_read(self.path, STATE_FILE))
        if state.digest != self.manifest.state_digest:
            raise DigestMismatchError(
                self.path,
                "fitted state",
                expected=self.manifest.state_digest,
                got=state.digest,
                remedy="the file was changed; copy the bundle anew",
            )
        return state

    def golden(self) -> GoldenSet:
        """Return the golden set."""
        data = _read(self.path, GOLDEN_FILE)
        return GoldenSet.from_parquet(data, self.manifest.features, self.path)

    def reference(self) -> bytes:
        """Return the frozen training distribution, empty if the bundle has none."""
        path = self.path / REFERENCE_FILE
        return path.read_bytes() if path.exists() else b""


def open_bundle(path: Path) -> Bundle:
    """Read a bundle's manifest.

    Args:
        path: `<base>/<name>/<version>`.

    Raises:
        BundleError: no bundle, or an unusable one.
    """
    try:
        value = orjson.loads(_read(path, MANIFEST_FILE))
    except orjson.JSONDecodeError as e:
        raise BundleError(path, f"{MANIFEST_FILE} is no JSON ({e}); copy the bundle anew") from e
    return Bundle(path, Manifest.from_json(value, path))


def verify_files(bundle: Bundle, *, beside: Collection[str] = ()) -> None:
    """Check every file of a bundle against the manifest, and the manifest against itself.

    Args:
        bundle: the bundle.
        beside: what a server's operator may have put directly into the folder, files or folders.

    Raises:
        BundleError: a file is missing, or there is one that the manifest does not name.
        DigestMismatchError: a file was changed.
    """
    held = {p.relative_to(bundle.path).as_posix() for p in bundle.path.rglob("*") if p.is_file()}
    unknown = sorted(
        name
        for name in held - bundle.manifest.files.keys() - {MANIFEST_FILE}
        if name.partition("/")[0] not in beside
    )
    if unknown:
        raise BundleError(
            bundle.path, f"file {unknown[0]} is not in the manifest; remove it or bundle anew"
        )
    for name, expected in bundle.manifest.files.items():
        path = bundle.path / name
        if not path.is_file():
            raise BundleError(bundle.path, f"file {name} is missing; copy the bundle anew")
        got = digest_file(path)
        if got != expected:
            raise DigestMismatchError(
                bundle.path, name, expected=expected, got=got, remedy="copy the bundle anew"
            )
    got = digest_model(bundle.manifest.files)
    if got != bundle.manifest.model_digest:
        raise DigestMismatchError(
            bundle.path,
            "the model's files",
            expected=bundle.manifest.model_digest,
            got=got,
            remedy="the manifest was changed; copy the bundle anew",
        )


def bind_pipeline(
    bundle: Bundle,
    *,
    trusted: Collection[str],
    store: SnapshotStore,
    snapshots: Mapping[str, str] | None = None,
) -> BoundPipeline | None:
    """Import a bundle's pipeline, if it is the very one, and bind it to its state and snapshots.

    Args:
        bundle: the bundle.
        trusted: the packages that the operator allows to be imported.
        store: where the lookup snapshots are.
        snapshots: lookup name to snapshot id; the manifest's unless given.

    Returns:
        The bound pipeline, or None when the bundle has none.

    Raises:
        ConfigError: the operator did not name the package.
        DigestMismatchError: the installed package has other sources.
        SnapshotError: a snapshot is not in the store.
    """
    if bundle.manifest.pipeline is None:
        return None
    pipeline = import_pipeline(bundle.path, bundle.manifest.pipeline, trusted)
    wanted = bundle.manifest.snapshots if snapshots is None else snapshots
    missing = [x.name for x in pipeline.lookups if x.name not in wanted]
    if missing:
        raise BundleError(bundle.path, f"no snapshot is named for lookup {missing[0]!r}")
    tables = {x.name: store.get(wanted[x.name], x.keys) for x in pipeline.lookups}
    return pipeline.bind(bundle.state(), tables)


def import_pipeline(where: Path, ref: PipelineRef, trusted: Collection[str]) -> FeaturePipeline:
    """Import a pipeline whose sources have the digest that its reference names.

    Raises:
        ConfigError: the operator did not name its package, or the object is no pipeline.
        BundleError: the reference names an object outside its package.
        DigestMismatchError: the installed package has other sources.
    """
    if ref.package not in trusted:
        raise ConfigError(
            f"bundle {where} wants the pipeline package {ref.package!r} imported, which is not "
            f"trusted; if you trust it, name it with --pipeline {ref.package}"
        )
    if ref.object.partition(":")[0].partition(".")[0] != ref.package:
        raise BundleError(where, f"its pipeline {ref.object!r} is not in package {ref.package!r}")
    got = digest_sources(ref.package)
    if got != ref.digest:
        raise DigestMismatchError(
            where,
            f"pipeline {ref.package} (the bundle has {ref.distribution}, "
            f"here is {distribution_of(ref.package)})",
            expected=ref.digest,
            got=got,
            remedy="install the version that the bundle was made with, or bundle the model anew",
        )
    return load_pipeline_object(ref.object)


def load_pipeline_object(location: str) -> FeaturePipeline:
    """Import ``"package.module:attribute"``.

    Raises:
        ConfigError: no such module or attribute, or it is no pipeline.
    """
    module, colon, attribute = location.partition(":")
    if not (colon and module and attribute):
        raise ConfigError(f"pipeline {location!r}: write it as package.module:attribute")
    try:
        imported = importlib.import_module(module)
    except ImportError as e:
        raise ConfigError(f"pipeline {location!r}: {e}; install its distribution") from e
    if not hasattr(imported, attribute):
        there = [f"{module}:{n}" for n, v in vars(imported).items() if _is_pipeline(v)]
        raise ConfigError(
            f"pipeline {location!r}: module {module!r} has no attribute {attribute!r}; its "
            f"pipelines are: {', '.join(there) or 'none'}"
        )
    found = getattr(imported, attribute)
    if not isinstance(found, FeaturePipeline):
        raise ConfigError(
            f"pipeline {location!r} is a {type(found).__name__}; build it with PipelineBuilder or "
            f"wrap a function in CallablePipeline"
        )
    return found


def _is_pipeline(value: object) -> bool:
    return isinstance(value, FeaturePipeline) and not isinstance(value, type)


def distribution_of(package: str) -> str:
    """Return ``"name version"`` of the distribution that holds a package."""
    names = importlib.metadata.packages_distributions().get(package, [])
    return f"{names[0]} {importlib.metadata.version(names[0])}" if names else "not a distribution"


def _read(path: Path, name: str) -> bytes:
    try:
        return (path / name).read_bytes()
    except OSError as e:
        raise BundleError(path, f"cannot read {name}: {e.strerror}; is this a bundle?") from e
