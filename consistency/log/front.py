"""What a server gives its requests to: the plain writer, or what stands before it.

By default that is the writer itself, so that what nobody has asked for costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from consistency.log.lines.encoding import encode_line
from consistency.log.settings import LogMode, LogSettings
from consistency.log.shaping import LineShaper
from consistency.log.spool import LogSpool
from consistency.log.writer import RequestLogWriter
from consistency.protocols import LogWriter
from consistency.scored import ScoredRequest


@dataclass(frozen=True, slots=True)
class LogIncidents:
    """Counters of requests that are not logged; wired to the metrics by the composition root.

    Attributes:
        sampled_out: called for each request that sampling keeps out.
        dropped: called with a number of requests that were answered and will not be logged.
    """

    sampled_out: Callable[[], None] = lambda: None
    dropped: Callable[[int], None] = lambda _count: None


def open_front(
    writer: RequestLogWriter, settings: LogSettings, incidents: LogIncidents, *, refuses: bool
) -> LogWriter:
    """Return what requests are written to.

    Args:
        writer: of this process; it is closed with the front.
        settings: the writer's.
        incidents: counters.
        refuses: whether a request that a full spool has no room for gets an error, or is dropped.
    """
    if settings.mode is LogMode.DIRECT and settings.is_plain:
        return writer
    shaper = None if settings.is_plain else LineShaper(settings)
    spool = None
    if settings.mode is LogMode.SPOOL:
        spool = LogSpool(writer, settings.spool_bytes, dropped=incidents.dropped, refuses=refuses)
    return _Front(writer, shaper, spool, incidents)


@dataclass(frozen=True, slots=True)
class _Front:
    writer: RequestLogWriter
    shaper: LineShaper | None
    spool: LogSpool | None
    incidents: LogIncidents

    def write(self, request: ScoredRequest) -> None:
        """See `LogWriter.write`; with a spool, the request does not survive its process yet."""
        line = encode_line(request) if self.shaper is None else self.shaper.line(request)
        if line is None:
            self.incidents.sampled_out()
        elif self.spool is None:
            self.writer.append(line)
        else:
            self.spool.add(line)

    def close(self) -> None:
        """Write what waits, and seal."""
        if self.spool is None:
            self.writer.close()
        else:
            self.spool.close()
