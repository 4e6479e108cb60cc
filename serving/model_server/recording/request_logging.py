"""Request logging as a model's `logging_config` asks for it, which upstream's stock binary refuses.

Upstream's protos, and their meaning: of each model's answered calls the share `sampling_rate` goes
as `PredictionLog` to the collector at `filename_prefix`; here that is TFRecord files. They are what
`assets.extra/tf_serving_warmup_requests` holds: a sampled file, renamed, warms the next version up.

Logging never fails a request. Every record that was to be written is counted, by how that went.
Only the model server loads this module: it imports the stubs, and with them TensorFlow.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b
from pathlib import Path
from typing import Final

from tensorflow_serving.config.logging_config_pb2 import LoggingConfig
from tensorflow_serving.config.model_server_config_pb2 import ModelConfig

from consistency.errors import LogError
from consistency.log.sampling import keeps
from serving.model_server.observing.observed import ObservedCall, Request
from serving.model_server.recording.prediction_log import prediction_log
from serving.model_server.recording.record_files import FileBounds, RecordFiles
from serving.model_server.status import Code, StatusError, invalid, not_found

_LOG: Final = logging.getLogger(__name__)
_TYPES: Final = ("", "file")


class SampleBy(StrEnum):
    """What decides whether a call is sampled.

    random: chance. request: its content: the same request is sampled by every server, or by none,
    today and tomorrow.
    """

    RANDOM = "random"
    REQUEST = "request"


@dataclass(frozen=True, slots=True)
class RequestLogging:
    """How request logging behaves.

    Attributes:
        folder: prefixes must lie below it, relative ones are taken from there; None: any absolute
            prefix.
        bounds: of the files of each prefix.
        sample_by: chance or content.
        tags: of the meta graph that is served, for the records.
    """

    folder: Path | None = None
    bounds: FileBounds = field(default_factory=FileBounds)
    sample_by: SampleBy = SampleBy.RANDOM
    tags: frozenset[str] = frozenset({"serve"})


@dataclass(slots=True)
class _Logger:
    """What one model is logged by.

    Attributes:
        busy: held while a record is written.
    """

    config: LoggingConfig
    files: RecordFiles
    busy: threading.Lock = field(default_factory=threading.Lock)
    is_failing: bool = False


class RequestLoggers:
    """Logs what the models' configurations ask for; a `CallObserver`.

    Args:
        settings: how.
        count: is told of each record: model and how writing it went.
    """

    def __init__(
        self, settings: RequestLogging, count: Callable[[str, Code], None] = lambda _m, _c: None
    ) -> None:
        self._settings, self._count = settings, count
        self._loggers: Mapping[str, _Logger] = {}
        self._configuring = threading.Lock()

    def configure(self, models: Sequence[ModelConfig]) -> None:
        """Log what these models ask for from now on, and nothing else; files at hand go on.

        Raises:
            StatusError: a `logging_config` cannot be honoured; what was logged before still is.
        """
        with self._configuring:
            wanted = {m.name: m.logging_config for m in models if m.HasField("logging_config")}
            prefixes = {name: self._prefix(name, config) for name, config in wanted.items()}
            for name, prefix in prefixes.items():
                if list(prefixes.values()).count(prefix) > 1:
                    raise invalid(f"Model {name}: filename_prefix {str(prefix)!r} is used twice")
            old = self._loggers
            new = {
                name: self._logger(old.get(name), config, prefixes[name])
                for name, config in wanted.items()
            }
            self._loggers = new
            kept = {id(logger.files) for logger in new.values()}
            _close(logger for logger in old.values() if id(logger.files) not in kept)

    def close(self) -> None:
        """Finish every file."""
        self.configure([])

    def observe(self, call: ObservedCall) -> None:
        """Log a call, if it was answered and is sampled; never raises."""
        logger = self._loggers.get(call.spec.name)
        if logger is None or call.request is None or call.response is None:
            return
        sampling = logger.config.sampling_config
        if not self._is_sampled(call.request, sampling.sampling_rate):
            return
        log = prediction_log(call, sampling, self._settings.tags, time.time())
        self._count(call.spec.name, _write(logger, log.SerializeToString()))

    def _is_sampled(self, request: Request, rate: float) -> bool:
        if self._settings.sample_by is SampleBy.RANDOM:
            return random.random() < rate  # noqa: S311 - a sample, no secret
        content = request.SerializeToString(deterministic=True)
        return keeps(blake2b(content, digest_size=16).hexdigest(), rate)

    def _logger(self, old: _Logger | None, config: LoggingConfig, prefix: Path) -> _Logger:
        if old is not None and old.config.log_collector_config == config.log_collector_config:
            return _Logger(config, old.files, old.busy)
        try:
            return _Logger(config, RecordFiles(prefix, self._settings.bounds))
        except LogError as e:
            raise StatusError(Code.FAILED_PRECONDITION, str(e)) from e

    def _prefix(self, name: str, config: LoggingConfig) -> Path:
        """Return where a model's files go.

        Raises:
            StatusError: the configuration cannot be honoured.
        """
        collector = config.log_collector_config
        if collector.type not in _TYPES:
            raise not_found(
                f"Cannot find LogCollector::Factory for type: {collector.type}; write 'file'"
            )
        rate = config.sampling_config.sampling_rate
        if not 0 <= rate <= 1:
            raise invalid(f"Model {name}: sampling_rate {rate}: give a share from 0 to 1")
        text = str(collector.filename_prefix)
        if not text or text.endswith("/") or "\0" in text:
            raise invalid(f"Model {name}: filename_prefix {text!r}: give a path and a beginning")
        return self._placed(name, Path(text))

    def _placed(self, name: str, prefix: Path) -> Path:
        folder = self._settings.folder
        if folder is None:
            if prefix.is_absolute():
                return prefix
            raise invalid(
                f"Model {name}: filename_prefix {str(prefix)!r} is relative; give an absolute one, "
                "or start the server with --request_logging_folder"
            )
        real = (folder / prefix).parent.resolve()
        if not real.is_relative_to(folder.resolve()):
            raise StatusError(
                Code.PERMISSION_DENIED,
                f"Model {name}: filename_prefix {str(prefix)!r} lies outside of "
                "--request_logging_folder",
            )
        return real / prefix.name


def _write(logger: _Logger, record: bytes) -> Code:
    with logger.busy:
        try:
            logger.files.write(record)
        except LogError as e:
            if not logger.is_failing:  # once, not for each request
                _LOG.error("%s", e)
            logger.is_failing = True
            return Code.RESOURCE_EXHAUSTED
        logger.is_failing = False
        return Code.OK


def _close(loggers: Iterable[_Logger]) -> None:
    for logger in loggers:
        with logger.busy:
            logger.files.close()
