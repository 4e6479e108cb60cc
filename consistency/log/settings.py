"""How a log is written: everything an operator can choose."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from consistency.errors import ConfigError
from consistency.log.durability import Fsync
from consistency.log.redaction import Redaction
from consistency.log.retention import Retention
from consistency.log.sampling import Sampling

MIB: Final = 1 << 20
GIB: Final = 1 << 30


class LogMode(StrEnum):
    """When a request is answered.

    direct: when the kernel has its line. spool: when its line is in memory; a thread writes it.
    """

    DIRECT = "direct"
    SPOOL = "spool"


@dataclass(frozen=True, slots=True)
class LogSettings:
    """How a log is written.

    Attributes:
        folder: made if it is not there.
        segment_bytes: a segment is sealed when it has grown to this size.
        max_total_bytes: writing fails (and `on_log_failure` decides) once the folder holds more;
            N writers may together be over by N - 1 segments before each has seen it.
        fsync: what a power cut can take.
        mode: when a request is answered.
        spool_bytes: of lines that wait in memory, in mode `spool`.
        key_field: a field of the raw record, `outer.inner`, whose value each line names as its key.
        sampling: how much is logged.
        redaction: what is kept out.
        retention: how long it is kept.
    """

    folder: Path
    segment_bytes: int = 64 * MIB
    max_total_bytes: int = 64 * GIB
    fsync: Fsync = field(default_factory=Fsync)
    mode: LogMode = LogMode.DIRECT
    spool_bytes: int = 64 * MIB
    key_field: str | None = None
    sampling: Sampling = field(default_factory=Sampling)
    redaction: Redaction = field(default_factory=Redaction)
    retention: Retention = field(default_factory=Retention)

    def __post_init__(self) -> None:
        if min(self.segment_bytes, self.max_total_bytes, self.spool_bytes) < 1:
            raise ConfigError("log sizes are in bytes and at least 1")
        if self.key_field is not None and not all(self.key_field.split(".")):
            raise ConfigError(f"log key {self.key_field!r}: give a field, or outer.inner")
        kept = self.retention.keep_bytes
        if kept is not None and kept + self.segment_bytes > self.max_total_bytes:
            raise ConfigError(
                f"the log would be full at {self.max_total_bytes} bytes before retention removes "
                f"what is over {kept} bytes; keep less, or raise the size at which it is full"
            )

    @property
    def is_plain(self) -> bool:
        """Whether each request becomes a line as it is."""
        redacts = self.redaction.fields or self.redaction.features
        return self.sampling.is_whole and self.key_field is None and not redacts
