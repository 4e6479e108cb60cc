"""Bundles whose models other machines compute, behind TensorFlow Serving's protocol.

The bundle lies here as well: its pipeline, its golden rows and its post-processing are this side's
part. Its model is asked for by the bundle's name and explicit version, never by "the latest": so a
version that the other side has loaded gets its first request when it has passed its golden gate
through the backend.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter_ns
from typing import Final

from consistency.bundle import Bundle
from consistency.errors import BundleError
from consistency.execution import ExecutionMode, cut, joined, padded_batches
from consistency.features import FeatureBatch
from consistency.gate import GateReport, run_gate
from consistency.pipeline import BoundPipeline
from consistency.protocols import Scorer
from consistency.scored import Outputs
from serving.backends.backend import Answer
from serving.backends.fleet import Fleet, Instance
from serving.backends.fleet_events import FleetEvents
from serving.backends.instance_errors import Failure, InstanceError
from serving.backends.probing import Prober
from serving.backends.route import GATE_SECONDS, Examined, Route, remote_info
from serving.backends.settings import BackendSettings
from serving.backends.signature import Signature
from serving.backends.transport import RemoteModel
from serving.core.source import Found, FoundVersion, Source
from serving.core.state import ServableId
from serving.loaders.named_inputs import check_rows, input_arrays
from serving.servable import (
    GateMode,
    LoadSettings,
    Servable,
    checked_bundle,
    refresh_lookups,
    servable_info,
)

_RETRY_SECONDS: Final = 5.0
"""After which a version is tried again whose instances did not answer."""


class Remote:
    """A remote backend: its instances, and the thread that looks at each.

    Args:
        settings: which instances, and the bounds.
        events: for the metrics.

    Raises:
        ConfigError: a library is missing.
    """

    def __init__(self, settings: BackendSettings, events: FleetEvents | None = None) -> None:
        self.fleet = Fleet(settings, events)
        self.prober = Prober(self.fleet)
        self._retries: dict[ServableId, tuple[int, float]] = {}
        self.prober.start()

    def close(self) -> None:
        """Look no more, and close all connections."""
        self.prober.stop()
        self.fleet.close()

    def loader(self, servable_id: ServableId, path: Path, settings: LoadSettings) -> RemoteLoader:
        """Return what loads one bundle."""
        return RemoteLoader(servable_id, path, settings, self)

    def source(self, within: Source) -> RemoteSource:
        """Return a source whose versions are tried again when the instances change."""
        return RemoteSource(within, self)

    def try_again(self, servable_id: ServableId) -> None:
        """Have a version that could not be loaded tried again after a while."""
        count, _ = self._retries.get(servable_id, (0, 0.0))
        self._retries[servable_id] = (count + 1, self.fleet.now() + _RETRY_SECONDS)

    def attempt(self, servable_id: ServableId) -> int:
        """Return a number that changes when a version should be tried again."""
        count, due = self._retries.get(servable_id, (0, 0.0))
        return count if count and self.fleet.now() >= due else max(count - 1, 0)


@dataclass(frozen=True, slots=True)
class RemoteSource:
    """A source of bundles. A `Source` of the serving core.

    A version that failed to load is tried again when its token changes, and here also when an
    instance gets or loses the version.
    """

    within: Source
    remote: Remote

    @property
    def problems(self) -> Sequence[str]:
        """See `Source.problems`."""
        return self.within.problems

    def poll(self) -> Found:
        """Return what is on disk, with tokens that tell who offers it."""
        found = self.within.poll()
        self.remote.prober.watch(found)
        return {name: self._told(name, versions) for name, versions in found.items()}

    def _told(self, name: str, versions: Mapping[int, FoundVersion]) -> dict[int, FoundVersion]:
        told = {}
        for number, version in versions.items():
            offers = "".join(str(int(o)) for o in self.remote.prober.offers(name, number))
            attempt = self.remote.attempt(ServableId(name, number))
            told[number] = FoundVersion(version.path, f"{version.token}/{offers}/{attempt}")
        return told


@dataclass(slots=True)
class RemoteLoader:
    """Makes one bundle a servable that other machines compute. A `Loader` of the serving core."""

    id: ServableId
    path: Path
    settings: LoadSettings
    remote: Remote
    route: Route | None = field(default=None)

    def load(self) -> Servable:
        """Open and check a bundle, and put every instance that has its version through the gate.

        Raises:
            BundleError: it is not whole; no instance has the version, or none passed the gate.
            ConfigError: its pipeline is not trusted.
        """
        bundle = checked_bundle(self.id, self.path)
        pipeline = self.settings.bind(bundle, None)
        route = self._route(bundle, pipeline)
        report, signature = self._admit(route)
        servable = Servable(
            info=servable_info(
                bundle, remote_info(str(self.remote.fleet.settings), signature), report
            ),
            schema=bundle.manifest.features,
            pipeline=pipeline,
            backend=RemoteBackend(self.remote.fleet, route),
            postprocess=bundle.manifest.postprocess,
            gate_report=report,
            bundle=bundle,
        )
        refresh_lookups(servable, self.settings)
        route.needs_gate = report.passed
        self.route = route
        self.remote.prober.add(route)
        return servable

    def unload(self, servable: Servable) -> None:
        """Look at its instances no more."""
        if self.route is not None:
            self.remote.prober.remove(self.route)

    def _route(self, bundle: Bundle, pipeline: BoundPipeline | None) -> Route:
        manifest = bundle.manifest

        def gate(scorer: Scorer) -> GateReport:
            return run_gate(
                bundle.golden(),
                pipeline,
                scorer,
                manifest.postprocess,
                decimals=manifest.gate_decimals,
                max_batch=self.settings.max_batch,
            )

        timeout_seconds = max(self.remote.fleet.settings.timeout_seconds, GATE_SECONDS)
        model = RemoteModel(self.id.name, self.id.version)
        return Route(model, manifest.execution, gate, timeout_seconds)

    def _admit(self, route: Route) -> tuple[GateReport, Signature]:
        """Examine every instance; return what the gate found with those that may answer."""
        examined = {
            i.index: self.remote.prober.examine(route, i) for i in self.remote.fleet.instances
        }
        passed = {i: e for i, e in examined.items() if not e.problem}
        failed = {i: e for i, e in examined.items() if e.problem and e.report is not None}
        chosen = passed
        if not passed and self.settings.gate is GateMode.REPORT:
            chosen = failed
        for index, found in chosen.items():
            assert found.signature is not None
            route.accept(index, found.signature)
        for found in chosen.values():
            if found.report is not None and found.signature is not None:
                return found.report, found.signature
        raise self._refusal(examined, bool(failed))

    def _refusal(self, examined: Mapping[int, Examined], has_failed: bool) -> BundleError:
        if not has_failed:
            self.remote.try_again(self.id)
        told = "\n  ".join(f"{e.instance} {e.problem}" for e in examined.values())
        remedy = (
            "it does not go live; mend the cause, or serve it marked unverified with --gate report"
            if has_failed
            else "it is tried again by itself"
        )
        return BundleError(
            self.path, f"no instance of the backend can serve {self.id}:\n  {told}\n  {remedy}"
        )


class RemoteBackend:
    """Has the instances of a fleet score the rows of one servable. A `Backend`."""

    def __init__(self, fleet: Fleet, route: Route) -> None:
        self._fleet, self._route = fleet, route
        is_padded = route.execution.mode is ExecutionMode.PADDED
        self._padded_rows = route.execution.rows if is_padded else 0

    async def score(self, features: FeatureBatch) -> Answer:
        """Score the rows on one instance; see `Backend.score`."""
        start = perf_counter_ns()
        outputs, instance, waited = await self._fleet.ask(
            str(self._route.model), self._able, lambda i, seconds: self._score(i, seconds, features)
        )
        queue_ns = int(waited * 1e9)
        backend_ns = max(perf_counter_ns() - start - queue_ns, 0)
        return Answer(outputs, features.rows, 0, queue_ns, backend_ns, instance.address)

    def _able(self) -> Mapping[int, Signature]:
        return self._route.able

    async def _score(self, instance: Instance, seconds: float, features: FeatureBatch) -> Outputs:
        signature = self._route.able.get(instance.index)
        if signature is None:
            raise InstanceError(
                instance.address, Failure.NO_SUCH_VERSION, f"{self._route.model} was just withdrawn"
            )
        try:
            return await self._batches(instance, signature, seconds, features)
        except InstanceError as e:
            if e.failure is Failure.NO_SUCH_VERSION:
                self._route.withdraw(instance.index)
            raise

    async def _batches(
        self, instance: Instance, signature: Signature, seconds: float, features: FeatureBatch
    ) -> Outputs:
        if not self._padded_rows:
            return await self._batch(instance, signature, seconds, features)
        until, parts = self._fleet.now() + seconds, []
        for batch, taken in padded_batches(features, self._padded_rows):
            left = until - self._fleet.now()
            outputs = await self._batch(instance, signature, left, batch)
            parts.append(cut(outputs, taken, self._padded_rows))
        return joined(parts)

    async def _batch(
        self, instance: Instance, signature: Signature, seconds: float, batch: FeatureBatch
    ) -> Outputs:
        feeds = input_arrays(signature.takes, batch)
        outputs = await instance.transport.predict(self._route.model, signature, feeds, seconds)
        check_rows(outputs, batch.rows)
        return outputs
