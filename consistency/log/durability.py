"""When a log is forced to the disk, and what a power cut can take until then.

Whatever the policy, a request that was answered survives the death of any process, since the kernel
has its line before the reply. Only the kernel's own death, a power cut, can take it.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from consistency.errors import ConfigError

logger = logging.getLogger(__name__)

_INTERVAL: Final = re.compile(r"interval:(?P<number>\d{1,6}(?:\.\d{1,3})?)(?P<unit>ms|s)")


class FsyncWhen(StrEnum):
    """When the log is forced to the disk.

    seal: when a segment is sealed; a power cut takes all since. interval: every so often; it takes
    what was answered in the last interval, and while the disk was writing what came before. If the
    disk fails at it, the log begins a new segment. every_request: before each reply; it takes
    nothing that was answered.
    """

    SEAL = "seal"
    INTERVAL = "interval"
    EVERY_REQUEST = "every_request"


@dataclass(frozen=True, slots=True)
class Fsync:
    """An fsync policy.

    Attributes:
        when: the disk is forced.
        seconds: the interval, for `interval`.

    >>> Fsync.parse("interval:50ms")
    Fsync(when=<FsyncWhen.INTERVAL: 'interval'>, seconds=0.05)
    """

    when: FsyncWhen = FsyncWhen.SEAL
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.when is FsyncWhen.INTERVAL and not 0.001 <= self.seconds <= 3600:
            raise ConfigError(
                f"fsync interval of {self.seconds:g} s: give 1ms to 3600s, as in interval:50ms"
            )

    @classmethod
    def parse(cls, text: str) -> Fsync:
        """Read `seal`, `every_request` or `interval:50ms`.

        Raises:
            ConfigError: it is none of them.
        """
        if text in (FsyncWhen.SEAL, FsyncWhen.EVERY_REQUEST):
            return cls(FsyncWhen(text))
        found = _INTERVAL.fullmatch(text)
        if found is None:
            raise ConfigError(
                f"fsync policy {text!r}: give seal, every_request, or an interval such as "
                f"interval:50ms or interval:2s"
            )
        return cls(
            FsyncWhen.INTERVAL, float(found["number"]) / (1000 if found["unit"] == "ms" else 1)
        )

    def __str__(self) -> str:
        if self.when is FsyncWhen.INTERVAL:
            return f"{self.when}:{self.seconds * 1000:g}ms"
        return self.when.value


class Ticker:
    """Calls a function every so often in a thread of its own, until it is stopped.

    Args:
        name: of the thread.
        seconds: from the end of one call to the next.
        tick: what is called; it must raise nothing but bugs, which are logged.
    """

    def __init__(self, name: str, seconds: float, tick: Callable[[], object]) -> None:
        self._seconds, self._tick = seconds, tick
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Return when the last call is over."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(self._seconds):
            try:
                self._tick()
            except Exception:
                logger.exception("%s failed; it goes on", self._thread.name)
