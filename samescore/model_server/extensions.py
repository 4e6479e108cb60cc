"""What the model server does beyond upstream's: logs, the golden gate, bundles. All off by default.

Nothing here imports TensorFlow until the server is made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from consistency.log.front import LogIncidents
from consistency.log.settings import LogSettings
from samescore.request_log import ServerLog
from serving.core.loader import Loader, LoaderFactory
from serving.core.state import ServableId
from serving.dataplane import OnLogFailure
from serving.loaders.runtimes.devices import CPU
from serving.loaders.trust.grants import NO_TRUST, ModelTrust
from serving.model_server.api import InferenceApi, ServedModel
from serving.model_server.models.golden_gate_mode import GoldenGate
from serving.model_server.recording.received import OnRefused, Reception
from serving.model_server.status import Code, StatusError

if TYPE_CHECKING:
    from tensorflow_serving.apis.model_pb2 import ModelSpec
    from tensorflow_serving.config.model_server_config_pb2 import ModelConfig

    from serving.model_server.recording.request_logging import RequestLoggers
    from serving.model_server.recording.scored_calls import ServedVersions
    from serving.model_server.server_core import ServerCore


@dataclass(frozen=True, slots=True)
class RequestLoggingSettings:
    """How a model's `logging_config` is honoured.

    Attributes:
        folder: the files' prefixes lie below it; None: absolute prefixes, anywhere.
        file_bytes: of one file.
        total_bytes: of all files of a prefix.
        by_request: sampled by content, not by chance.
    """

    folder: Path | None = None
    file_bytes: int = 64 << 20
    total_bytes: int = 1 << 30
    by_request: bool = False


@dataclass(frozen=True, slots=True)
class ExtensionSettings:
    """Everything there is to choose.

    Attributes:
        request_logging: None: a `logging_config` is refused, as upstream's stock binary does.
        request_log: our own log of every call; None: there is none.
        on_log_failure: what a call that it cannot take gets.
        golden_gate: what a bundle that fails its golden gate does.
        bundles: a folder that is a bundle is served as one on the platform `tensorflow`, too.
        threads, device, trust: of bundles.
    """

    request_logging: RequestLoggingSettings | None = None
    request_log: LogSettings | None = None
    on_log_failure: OnLogFailure = OnLogFailure.REJECT
    golden_gate: GoldenGate = GoldenGate.OFF
    bundles: bool = False
    threads: int = 1
    device: str = CPU
    trust: ModelTrust = NO_TRUST


@dataclass(frozen=True, slots=True)
class Observed:
    """What the faces call, and what they hand the bytes to.

    Attributes:
        api: the core itself, or what logs before it answers.
        reception: where the faces leave what they received; None where nobody logs.
        refused: told of requests that never became a message.
    """

    api: InferenceApi
    reception: Reception | None = None
    refused: OnRefused | None = None


class Extensions:
    """The extensions of one server.

    Args:
        settings: everything there is to choose.
        tags: of the meta graph that is served.
        is_tflite: whether a version's folder is served by its TensorFlow Lite model.
        count: is told of each `PredictionLog`: model and how writing it went.

    Raises:
        LogError: the log folder cannot be written.
    """

    def __init__(
        self,
        settings: ExtensionSettings,
        tags: frozenset[str],
        is_tflite: Callable[[Path], bool] = lambda _: False,
        count: Callable[[str, Code], None] = lambda _model, _code: None,
    ) -> None:
        self._settings, self._tags, self._is_tflite = settings, tags, is_tflite
        self._loggers = _loggers(settings.request_logging, tags, count)
        self._log = None if settings.request_log is None else ServerLog(settings.request_log)
        self._versions: ServedVersions | None = None
        if self._log is not None:
            from serving.model_server.recording.scored_calls import ServedVersions

            self._versions = ServedVersions()

    def platforms(
        self, tensorflow: LoaderFactory[ServedModel]
    ) -> Mapping[str, LoaderFactory[ServedModel]]:
        """Return what loads a version, by `model_platform`.

        Args:
            tensorflow: loads SavedModels.
        """
        from serving.model_server.models.bundle_platform import (
            PLATFORM,
            BundleOptions,
            bundle_platform,
            with_bundles,
        )

        chosen = self._settings
        options = BundleOptions(chosen.threads, chosen.device, chosen.trust)
        bundles = bundle_platform(options, tensorflow)
        both = with_bundles(tensorflow, bundles) if chosen.bundles else tensorflow
        return {
            "tensorflow": self._noted(both, all_bundles=False),
            PLATFORM: self._noted(bundles, all_bundles=True),
        }

    def gated(self, inner: LoaderFactory[ServedModel]) -> LoaderFactory[ServedModel]:
        """Return a platform whose versions pass the golden gate, warm and batched as they serve."""
        if self._settings.golden_gate is GoldenGate.OFF:
            return inner
        from serving.model_server.models.golden_gate import GatedLoader

        versions, mode = self._versions, self._settings.golden_gate

        def loader(id: ServableId, folder: Path) -> Loader[ServedModel]:
            return GatedLoader(
                inner(id, folder), id, folder, mode,
                on_passed=lambda gate: None if versions is None else versions.checked(id, gate),
            )  # fmt: skip

        return loader

    def set_logging(self, models: Sequence[ModelConfig]) -> None:
        """Honour the models' `logging_config`, or refuse it.

        Raises:
            StatusError: it cannot be honoured.
        """
        from serving.model_server.configuration.configured import refuse_logging

        if self._loggers is None:
            refuse_logging(models)
        else:
            self._loggers.configure(models)

    def observed(self, core: ServerCore) -> Observed:
        """Return what the faces call.

        Raises:
            LogError: the log folder cannot be written.
        """
        from serving.model_server.observing.observed import CallObserver, ObservedApi

        observers: list[CallObserver] = [] if self._loggers is None else [self._loggers]
        if self._log is not None and self._versions is not None:
            from serving.model_server.recording.scored_calls import ScoredCalls

            rejects = self._settings.on_log_failure is OnLogFailure.REJECT
            log = self._log.open(LogIncidents(), refuses=rejects)
            observers.append(
                ScoredCalls(log, self._versions, lambda s: _resolve(core, s), rejects=rejects)
            )
        if not observers:
            return Observed(core)
        api = ObservedApi(core, observers)
        return Observed(api, api.reception, api.refused)

    def close(self) -> None:
        """Finish every file; after the last call."""
        if self._loggers is not None:
            self._loggers.close()
        if self._log is not None:
            self._log.close()

    def _noted(
        self, inner: LoaderFactory[ServedModel], *, all_bundles: bool
    ) -> LoaderFactory[ServedModel]:
        """Return a platform whose versions are noted for the request log, if there is one."""
        versions = self._versions
        if versions is None:
            return inner
        from serving.model_server.models.bundle_platform import is_bundle
        from serving.model_server.recording.noted_versions import NotedLoader

        def loader(id: ServableId, folder: Path) -> Loader[ServedModel]:
            by_bundle = all_bundles or (self._settings.bundles and is_bundle(folder))
            return NotedLoader(
                inner(id, folder), id, folder, versions, self._tags,
                is_bundle=by_bundle, is_tflite=self._is_tflite(folder),
            )  # fmt: skip

        return loader


def _loggers(
    settings: RequestLoggingSettings | None,
    tags: frozenset[str],
    count: Callable[[str, Code], None],
) -> RequestLoggers | None:
    if settings is None:
        return None
    from serving.model_server.recording.record_files import FileBounds
    from serving.model_server.recording.request_logging import (
        RequestLoggers,
        RequestLogging,
        SampleBy,
    )

    how = RequestLogging(
        settings.folder,
        FileBounds(settings.file_bytes, settings.total_bytes),
        SampleBy.REQUEST if settings.by_request else SampleBy.RANDOM,
        tags,
    )
    return RequestLoggers(how, count)


def _resolve(core: ServerCore, spec: ModelSpec) -> tuple[str, int] | None:
    try:
        handle = core.models.acquire(spec)
    except StatusError:
        return None
    with handle:
        return handle.id.name, handle.id.version
