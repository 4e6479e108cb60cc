"""Puts the embedded model server together and runs it: core, gRPC, REST, signals.

`samescore.cli.model_server.command` reads the flags; nothing here imports TensorFlow until it is
asked to serve.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from consistency.errors import SamescoreError
from samescore.model_server.extensions import Extensions, ExtensionSettings
from samescore.model_server.loading import LoadingSettings, is_tflite, make_preparer, platforms
from samescore.model_server.monitoring import Monitoring, MonitoringSettings
from samescore.model_server.rest import RestServer, RestSettings
from samescore.stop_signals import StopSignals
from serving.core.loader import LoaderFactory
from serving.core.state import ManagerState, VersionStatus
from serving.loaders.runtimes.tensorflow_runtime import import_tensorflow
from serving.model_server.api import ServedModel
from serving.model_server.configuration.listening import GrpcSettings
from serving.model_server.configuration.reload_policy import ReloadPolicy
from serving.model_server.status import Code, StatusError

if TYPE_CHECKING:
    from grpc import GenericRpcHandler
    from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

    from serving.faces.tfs_grpc import GrpcFace
    from serving.model_server.configuration.config_file import ConfigFile
    from serving.model_server.models.prepared import Preparer
    from serving.model_server.server_core import ServerCore

GRACE_SECONDS: Final = 30.0
"""How long a stop waits for the calls in flight."""


@dataclass(frozen=True, slots=True)
class ModelServerSettings:
    """Everything that `samescore model-server` can be told; the defaults are upstream's.

    Attributes:
        config_file: of the models; None serves one model.
        config_poll_seconds: between two looks at that file; 0: it is read once.
        model_name, model_base_path: of the one model.
        grpc: how gRPC listens.
        rest: how HTTP listens; None: it does not.
        tags: of the meta graph to load.
        intra_op_threads, inter_op_threads: of TensorFlow; 0 leaves it to TensorFlow.
        poll_seconds: between two looks at the base paths; 0: one look.
        max_load_retries: further attempts after a load that failed.
        load_retry_seconds: the pause before each.
        load_threads: loads at a time, once the first configuration is served.
        allow_labels_for_unavailable: new labels may name versions that are not loaded.
        as_content: tensors are answered as `tensor_content`.
        check_method: signatures are checked for their method name.
        reload: who may reload over the network.
        loading: what versions go through before they serve.
        extensions: what upstream has not.
        monitoring: what is counted, and where it is shown.
        profiler: ProfilerService answers on gRPC's port.
    """

    config_file: Path | None = None
    config_poll_seconds: float = 0.0
    model_name: str = "default"
    model_base_path: str = ""
    grpc: GrpcSettings = field(default_factory=GrpcSettings)
    rest: RestSettings | None = None
    tags: frozenset[str] = frozenset({"serve"})
    intra_op_threads: int = 0
    inter_op_threads: int = 0
    poll_seconds: float = 1.0
    max_load_retries: int = 5
    load_retry_seconds: float = 60.0
    load_threads: int = 1
    allow_labels_for_unavailable: bool = False
    as_content: bool = False
    check_method: bool = False
    reload: ReloadPolicy = field(default_factory=ReloadPolicy)
    loading: LoadingSettings = field(default_factory=LoadingSettings)
    extensions: ExtensionSettings = field(default_factory=ExtensionSettings)
    monitoring: MonitoringSettings = field(default_factory=MonitoringSettings)
    profiler: bool = False


class StartError(SamescoreError):
    """The server cannot start.

    Attributes:
        status: upstream's code and words.
    """

    def __init__(self, status: StatusError) -> None:
        self.status = status
        super().__init__(f"Failed to start server. Error: {status.code.name}: {status.message}")


@dataclass(frozen=True, slots=True)
class Ready:
    """Where a started server answers, and what it serves.

    Attributes:
        grpc: `host:port`, or None.
        grpc_socket: path of the Unix socket, or None.
        url: of REST, or None.
        serving: `name version N` of each.
        failed: what failed, by `name version N`.
    """

    grpc: str | None
    grpc_socket: str | None
    url: str | None
    serving: Sequence[str]
    failed: Mapping[str, str]


def run_model_server(settings: ModelServerSettings, on_ready: Callable[[Ready], None]) -> None:
    """Serve until SIGTERM or SIGINT; then answer what is in flight and unload.

    No port opens before each model of the configuration has a version that is AVAILABLE. Call it in
    the main thread.

    Args:
        settings: everything there is to choose.
        on_ready: called once requests are accepted.

    Raises:
        StartError: the configuration is unusable, a first version failed, or an address is taken.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported
    signals = StopSignals()
    import_tensorflow()  # before the stubs do: they would bring Keras along
    try:
        server = ModelServer(settings)
        if not _loaded(server, signals):
            server.stop(0)
            return
        on_ready(server.open())
        signals.stopping.wait()
        server.stop(GRACE_SECONDS)
    except StatusError as e:
        raise StartError(e) from e


def _loaded(server: ModelServer, signals: StopSignals) -> bool:
    """Return whether the models are loaded, and not a signal to stop came first."""
    try:
        return signals.wait_for(server.load)
    except BaseException:
        server.stop(0)  # what started before the failure: the poller, warm-ups, a request log
        raise


class ModelServer:
    """The embedded model server, wired.

    Args:
        settings: everything there is to choose.

    Raises:
        StatusError: the configuration cannot be read.
    """

    def __init__(self, settings: ModelServerSettings) -> None:
        self._settings = settings
        self._config = _first_config(settings)
        self._monitoring = Monitoring(settings.monitoring)
        self._preparer = make_preparer(
            settings.loading, self._monitoring.metrics, timed=self._monitoring.is_on
        )
        self._extensions = _extensions(settings, self._monitoring)
        self.core = make_core(settings, self._preparer, extensions=self._extensions)
        self._file = _polled_file(settings, self.core)
        self._grpc: GrpcFace | None = None
        self._rest: RestServer | None = None

    def load(self) -> None:
        """Wait until each model has a version that is AVAILABLE; `stop` ends the waiting.

        Raises:
            StatusError: the configuration is unusable, or a first version failed.
        """
        self.core.start(self._config)

    def open(self) -> Ready:
        """Accept requests from now on.

        Raises:
            StatusError: an address cannot be listened on.
        """
        from serving.faces.tfs_grpc import GrpcFace

        try:
            observed = self._extensions.observed(self.core)
            self._grpc = GrpcFace(
                self._monitoring.over_grpc(observed.api, self.core),
                self._settings.grpc,
                _further_services(self._settings),
                observed.reception,
            )
            if self._settings.rest is not None:
                self._rest = RestServer(self.core, self._settings.rest, self._monitoring, observed)
            self._grpc.start()
        except BaseException:
            self.stop(0)
            raise
        if self._file is not None:
            self._file.start()
        # TensorFlow's modules are a million objects that live for ever: never look at them again.
        gc.collect()
        gc.freeze()
        return self._ready()

    def stop(self, grace_seconds: float) -> None:
        """Accept nothing more, answer what is in flight, unload."""
        if self._file is not None:
            self._file.stop()
        if self._rest is not None:
            self._rest.ask_to_stop()
        if self._grpc is not None:
            self._grpc.stop(grace_seconds)
        if self._rest is not None:
            self._rest.wait(grace_seconds)
        self.core.stop()
        self._preparer.stop()
        self._extensions.close()

    def _ready(self) -> Ready:
        listening = self._settings.grpc
        statuses = self.core.models.statuses()
        assert self._grpc is not None
        return Ready(
            grpc=None if self._grpc.port is None else f"{listening.host}:{self._grpc.port}",
            grpc_socket=None if listening.socket_path is None else str(listening.socket_path),
            url=None if self._rest is None else self._rest.url,
            serving=[str(s.id) for s in statuses if s.state is ManagerState.AVAILABLE],
            failed={str(s.id): s.error for s in statuses if s.error},
        )


def make_core(
    settings: ModelServerSettings,
    preparer: Preparer | None = None,
    on_status: Callable[[VersionStatus], None] = lambda _: None,
    extensions: Extensions | None = None,
) -> ServerCore:
    """Return the core with every loader that it has."""
    from serving.model_server.configuration.configured import CoreSettings
    from serving.model_server.server_core import ServerCore

    monitoring = Monitoring(settings.monitoring)
    preparer = preparer or make_preparer(settings.loading, monitoring.metrics)
    extensions = extensions or _extensions(settings, monitoring)
    return ServerCore(
        _platforms(settings, preparer, extensions),
        CoreSettings(
            poll_seconds=settings.poll_seconds,
            max_load_retries=settings.max_load_retries,
            load_retry_seconds=settings.load_retry_seconds,
            load_threads=settings.load_threads,
            drain_seconds=GRACE_SECONDS,
            allow_labels_for_unavailable=settings.allow_labels_for_unavailable,
            as_content=settings.as_content,
            check_method=settings.check_method,
            reload=settings.reload,
        ),
        set_logging=extensions.set_logging,
        metric=preparer.metrics.counter_total,
        on_status=on_status,
    )


def _extensions(settings: ModelServerSettings, monitoring: Monitoring) -> Extensions:
    return Extensions(
        settings.extensions,
        settings.tags,
        lambda folder: is_tflite(settings.loading, folder),
        lambda model, code: monitoring.metrics.request_log_count.add(model, code.name),
    )


def _platforms(
    settings: ModelServerSettings, preparer: Preparer, extensions: Extensions
) -> Mapping[str, LoaderFactory[ServedModel]]:
    """Return what loads a version, by `model_platform`."""
    from serving.model_server.models.saved_model_files import SessionOptions

    session = SessionOptions(
        tags=settings.tags,
        intra_op_threads=settings.intra_op_threads,
        inter_op_threads=settings.inter_op_threads,
    )
    return platforms(session, settings.loading, preparer, extensions)


def _further_services(settings: ModelServerSettings) -> Sequence[GenericRpcHandler]:
    """Return the services beside upstream's own two."""
    if not settings.profiler:
        return ()
    from serving.faces.tfs_profiler import ProfilerFace
    from serving.model_server.observing.profiling import Profiler

    return (ProfilerFace(Profiler()),)


def _first_config(settings: ModelServerSettings) -> ModelServerConfig:
    from serving.model_server.configuration.model_config import read_config, single_model

    if settings.config_file is not None:
        return read_config(settings.config_file)
    if not settings.model_base_path:
        raise StatusError(
            Code.INVALID_ARGUMENT,
            "Both server_options.model_base_path and server_options.model_config_file are empty!",
        )
    return single_model(settings.model_name, settings.model_base_path)


def _polled_file(settings: ModelServerSettings, core: ServerCore) -> ConfigFile | None:
    from serving.model_server.configuration.config_file import ConfigFile

    if settings.config_file is None or not settings.config_poll_seconds:
        return None
    return ConfigFile(settings.config_file, core.models.reload, settings.config_poll_seconds)
