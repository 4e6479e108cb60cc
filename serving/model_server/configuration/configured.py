"""The models that a configuration names: loaded, labelled, and replaced when it changes.

It does what tensorflow/serving's `model_servers/server_core.cc` does with a configuration. Better
than there: a reload that waits for a model which never comes blocks no later reload, and a later
configuration without that model ends the waiting; a configuration that is refused changes nothing.

Only the model server loads this module: it imports the stubs, and with them TensorFlow.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tensorflow_serving.apis import model_pb2
from tensorflow_serving.config import model_server_config_pb2

from serving.core.arrivals import Arrivals
from serving.core.base_paths import BasePathSource
from serving.core.concurrent import ConcurrentManager
from serving.core.handle import Handle
from serving.core.loader import Loader, LoaderFactory
from serving.core.options import ManagerOptions
from serving.core.policy import TransitionPolicy, availability_preserving
from serving.core.poller import Poller
from serving.core.resources import MemoryLimit
from serving.core.state import ManagerState, ServableId, VersionStatus
from serving.model_server.api import ServedModel
from serving.model_server.configuration.labels import Labels, assigned, version_of
from serving.model_server.configuration.model_config import (
    ModelEntry,
    check_list,
    check_platforms_stay,
    entries,
    model_list,
)
from serving.model_server.configuration.reload_policy import ReloadPolicy
from serving.model_server.core_status import check_arrived, describe
from serving.model_server.status import FinalError, invalid, not_found

_LOG: Final = logging.getLogger(__name__)

_ONCE: Final = 365 * 86_400.0
"""Seconds between two polls when there is to be one only, at the start."""


def refuse_logging(models: Sequence[model_server_config_pb2.ModelConfig]) -> None:
    """Refuse any `logging_config`, as upstream's stock binary does.

    Raises:
        StatusError: INVALID_ARGUMENT.
    """
    if any(model.HasField("logging_config") for model in models):
        raise invalid("No request-logger-creator provided.")


@dataclass(frozen=True, slots=True)
class CoreSettings:
    """What the core can be told; the defaults are upstream's binary's.

    Attributes:
        poll_seconds: between two looks at the base paths; 0 looks once, and at each reload.
        max_load_retries: further attempts after a load that failed.
        load_retry_seconds: the pause before each.
        load_threads: loads at a time.
        initial_load_threads: loads at a time until the first configuration is there.
        transition: availability preserving, or resource preserving.
        memory: the bound on all models together.
        drain_seconds: how long an unload waits for requests in flight.
        allow_labels_for_unavailable: new labels may name versions that are not AVAILABLE.
        as_content: tensors are answered as `tensor_content`.
        check_method: signatures are checked for their method name.
        reload: who may reload over the network.
    """

    poll_seconds: float = 1.0
    max_load_retries: int = 5
    load_retry_seconds: float = 60.0
    load_threads: int = 1
    initial_load_threads: int = 4 * (os.cpu_count() or 1)
    transition: TransitionPolicy = availability_preserving
    memory: MemoryLimit = MemoryLimit()  # noqa: RUF009 - frozen
    drain_seconds: float = 30.0
    allow_labels_for_unavailable: bool = False
    as_content: bool = False
    check_method: bool = False
    reload: ReloadPolicy = field(default_factory=ReloadPolicy)


class ConfiguredModels:
    """Keeps what a configuration asks for, and gives out handles on it.

    Args:
        platforms: by `model_platform`, what loads a version.
        settings: everything there is to choose.
        set_logging: is told the models of a configuration that came into force, for their
            `logging_config`; raises StatusError.
        on_status: is told of each new state of a version.
    """

    def __init__(
        self,
        platforms: Mapping[str, LoaderFactory[ServedModel]],
        settings: CoreSettings | None = None,
        *,
        set_logging: Callable[
            [Sequence[model_server_config_pb2.ModelConfig]], None
        ] = refuse_logging,
        on_status: Callable[[VersionStatus], None] = lambda _: None,
    ) -> None:
        self._platforms = platforms
        self._settings = settings or CoreSettings()
        self._set_logging, self._on_status = set_logging, on_status
        self._platform_of: dict[str, str] = {}
        self._configured: Mapping[str, ModelEntry] | None = None
        self._labels: Labels = {}
        self._arrivals = Arrivals()
        self._source = BasePathSource({})
        self._manager: ConcurrentManager[ServedModel] = ConcurrentManager(
            self._loader,
            drain_seconds=self._settings.drain_seconds,
            on_status=self._note,
            options=ManagerOptions(
                transition=self._settings.transition,
                memory=self._settings.memory,
                max_retries=self._settings.max_load_retries,
                retry_seconds=self._settings.load_retry_seconds,
                forgives=True,
                describe=describe,
                is_final=lambda error: isinstance(error, FinalError),
            ),
            load_threads=self._settings.initial_load_threads,
        )
        self._poller = Poller(
            self._source,
            self._manager,
            self._settings.poll_seconds if self._settings.poll_seconds > 0 else _ONCE,
            on_error=lambda error: _LOG.warning("%s", error),
        )
        self._configuring = threading.Lock()

    # --------------------------------------------------------------------------------- life cycle

    def start(self, config: model_server_config_pb2.ModelServerConfig) -> None:
        """Take the first configuration, and wait until each model has a version that is AVAILABLE.

        A base path that is not there, or has no version, is waited for, for ever if need be; `stop`
        in another thread ends that.

        Raises:
            StatusError: the configuration is unusable, or a first version failed.
        """
        self._poller.start()
        self._reload(config, "servable")
        self._manager.load_threads = self._settings.load_threads

    def stop(self) -> None:
        """Unload everything, for good, once the requests in flight are done."""
        self._arrivals.close()
        self._poller.stop()
        self._manager.stop()

    def statuses(self, name: str | None = None) -> tuple[VersionStatus, ...]:
        """Return the states of all versions that were ever tried, of one model or of all."""
        return self._manager.statuses(name)

    def reload(
        self,
        config: model_server_config_pb2.ModelServerConfig,
        policy: ReloadPolicy | None = None,
    ) -> None:
        """Replace the whole configuration, and wait for the models that are new.

        Args:
            config: takes the place of what there was.
            policy: of whoever asks for it; None is the operator.

        Raises:
            StatusError: it was refused and nothing changed; or a new model failed.
        """
        self._reload(config, "model", policy)

    def _reload(
        self,
        config: model_server_config_pb2.ModelServerConfig,
        kind: str,
        policy: ReloadPolicy | None = None,
    ) -> None:
        with self._configuring:
            old = self._configured
            models = model_list(config, is_first=old is None)
            if models is None:
                return
            configured, labels = self._checked(models, old or {})
            if policy is not None:
                policy.check([model.base_path for model in configured.values()])
            new = self._replace(configured, labels, old or {})
            # In the lock: what is removed is unloaded before a later reload can bring it back.
            self._poller.run_once()
        check_arrived(self._arrivals.wait(new), kind)
        self._set_logging(models)

    def _checked(
        self,
        models: Sequence[model_server_config_pb2.ModelConfig],
        old: Mapping[str, ModelEntry],
    ) -> tuple[Mapping[str, ModelEntry], Labels]:
        check_list(models)
        check_platforms_stay({name: entry.platform for name, entry in old.items()}, models)
        wanted = {model.name: dict(model.version_labels) for model in models}
        labels = assigned(
            wanted,
            self._labels,
            {name: self._available(name) for name, labels in wanted.items() if labels},
            allow_unavailable=self._settings.allow_labels_for_unavailable,
        )
        configured = {entry.name: entry for entry in entries(models, self._platforms)}
        return configured, labels

    def _available(self, name: str) -> frozenset[int]:
        statuses = self._manager.statuses(name)
        return frozenset(s.id.version for s in statuses if s.state is ManagerState.AVAILABLE)

    def _replace(
        self, configured: Mapping[str, ModelEntry], labels: Labels, old: Mapping[str, ModelEntry]
    ) -> list[str]:
        """Put a configuration into force; returns the models to wait for."""
        new = sorted(configured.keys() - old.keys())
        self._arrivals.forget(old.keys() - configured.keys())
        self._arrivals.expect(new)
        self._platform_of |= {name: entry.platform for name, entry in configured.items()}
        self._manager.set_policies({name: entry.policy for name, entry in configured.items()})
        self._source.replace({name: entry.base_path for name, entry in configured.items()})
        self._configured, self._labels = configured, labels
        return new

    def _loader(self, id: ServableId, path: Path) -> Loader[ServedModel]:
        return self._platforms[self._platform_of[id.name]](id, path)

    def _note(self, status: VersionStatus) -> None:
        self._arrivals.note(status)
        self._on_status(status)

    # ------------------------------------------------------------------------------- for requests

    def acquire(self, spec: model_pb2.ModelSpec) -> Handle[ServedModel]:
        """Return a handle on the model that a spec names; release it exactly when done.

        Raises:
            StatusError: INVALID_ARGUMENT: no name, or an unknown label. NOT_FOUND: it is not
                AVAILABLE.
        """
        if not spec.name:
            raise invalid("ModelSpec has no name specified.")
        choice = spec.WhichOneof("version_choice")
        version: int | None = None
        if choice == "version":
            version = spec.version.value
        elif choice == "version_label":
            version = version_of(self._labels, spec.name, spec.version_label)
        handle = self._manager.find(spec.name, version)
        if handle is None:
            asked = (
                f"Latest({spec.name})" if version is None else f"Specific({spec.name}, {version})"
            )
            raise not_found(f"Servable not found for request: {asked}")
        return handle
