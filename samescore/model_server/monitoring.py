"""Counts what the model server does, and puts the page on its HTTP port."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from serving.model_server.observing.metric_families import Labels
from serving.model_server.observing.monitoring_page import page
from serving.model_server.observing.serving_metrics import ServingMetrics
from serving.model_server.status import Code, StatusError

if TYPE_CHECKING:
    from tensorflow_serving.apis.model_pb2 import ModelSpec

    from serving.faces.tfs_rest.routes import Route
    from serving.model_server.api import InferenceApi
    from serving.model_server.server_core import ServerCore


@dataclass(frozen=True, slots=True)
class MonitoringSettings:
    """What is counted, and where it is shown.

    Attributes:
        path: of the page on the HTTP port; None: there is none, and requests are not counted.
        per_version: count by version and signature too, in families of our own.
    """

    path: str | None = None
    per_version: bool = False


class Monitoring:
    """The metrics of one server, and what feeds them.

    Args:
        settings: everything there is to choose.

    Attributes:
        metrics: everything that is counted.
        is_on: requests are counted.
    """

    def __init__(self, settings: MonitoringSettings) -> None:
        self._path = settings.path
        self.metrics = ServingMetrics(per_version=settings.per_version)
        self.is_on = settings.path is not None

    def over_grpc(self, api: InferenceApi, core: ServerCore) -> InferenceApi:
        """Return what gRPC calls."""
        from serving.model_server.observing.counted_api import Entrypoint

        return self._counted(api, core, Entrypoint.GRPC)

    def over_rest(self, api: InferenceApi, core: ServerCore) -> InferenceApi:
        """Return what HTTP calls; `observe` counts its requests."""
        from serving.model_server.observing.counted_api import Entrypoint

        return self._counted(api, core, Entrypoint.REST)

    def pages(self) -> Mapping[str, Callable[[], bytes]]:
        """Return the pages of the HTTP port, by path."""
        return {} if self._path is None else {self._path: lambda: page(self.metrics.families())}

    def observe(self, route: Route | None, code: Code, seconds: float) -> None:
        """Count a request that HTTP has answered."""
        if not self.is_on:
            return
        name = "" if route is None else route.model
        self.metrics.request_count.add(name, code.name)
        if code is Code.OK and route is not None:
            labels: Labels = (name, _method(route), "REST")
            self.metrics.request_latency.observe(int(seconds * 1e6), *labels)

    def _counted(self, api: InferenceApi, core: ServerCore, entrypoint: str) -> InferenceApi:
        from serving.model_server.observing.counted_api import CountedApi, Entrypoint

        if not self.is_on:
            return api
        return CountedApi(
            api, self.metrics, Entrypoint(entrypoint), lambda spec: _served(core, spec)
        )


def _method(route: Route) -> str:
    """Return upstream's label: the word of the path, and nothing for GET."""
    from serving.faces.tfs_rest.routes import Call

    return "" if route.call in {Call.METADATA, Call.STATUS} else str(route.call)


def _served(core: ServerCore, spec: ModelSpec) -> tuple[str, bool]:
    """Return the version that a spec names, empty for none, and whether it has the signature."""
    from serving.model_server.inference import signature_key

    try:
        handle = core.models.acquire(spec)
    except StatusError:
        return "", False
    with handle as model:
        return str(handle.id.version), signature_key(spec) in model.signatures
