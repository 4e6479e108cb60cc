"""Reads the rows of one window from a log, and by segment what its windows before held."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from consistency.codecs import codec_named
from consistency.errors import SamescoreError
from consistency.log import LoggedRequest, RequestLogReader
from consistency.records import Column, Record
from consistency.schema import FeatureSchema
from consistency.scored import Outcome
from monitors.drift.record import Subject
from monitors.drift.windows import TimeBasis, Window, WindowLength
from samescore.drifts.counted import Belongs, belongs

MOST_ROWS: Final = 2_000
"""Of a window that are scored anew: its distribution is known to about a fiftieth of a sigma."""

WINDOWS_BEFORE: Final = 28
MISSING: Final = "missing"
_LONGEST_NAME: Final = 60


@dataclass(frozen=True, slots=True)
class Part:
    """The scored rows of one request.

    Attributes:
        window: that it belongs to.
        order: by which requests are sampled: a hash of the request's id.
        columns: feature name to its values, first axis the rows.
        scores: shape (N,) or (N, k).
        segments: one name a row, for each field that was asked for.
    """

    window: Window
    order: bytes
    columns: dict[str, Column]
    scores: NDArray[np.float64]
    segments: tuple[tuple[str, ...], ...]

    @property
    def rows(self) -> int:
        """Rows of the request."""
        return len(self.scores)


@dataclass(frozen=True, slots=True)
class Reading:
    """Which rows of a log are read.

    Attributes:
        log: the request log's folder.
        subject: what is judged.
        window: that is explained; the `WINDOWS_BEFORE` before it are read too.
        fields: raw record fields, or features, whose values are segments.
        schema: of the bundle's features.
    """

    log: Path
    subject: Subject
    window: Window
    fields: tuple[str, ...]
    schema: FeatureSchema

    def parts(self, on_request: Callable[[], object]) -> Iterator[Part]:
        """Yield the scored requests of the window and, where segments are asked for, before it.

        Raises:
            LogError: no such log.
        """
        length = WindowLength(self.window.length_s)
        first_s = self.window.start_s - WINDOWS_BEFORE * length.seconds * bool(self.fields)
        for item in RequestLogReader(self.log):
            on_request()
            if not isinstance(item, LoggedRequest) or belongs(item, self.subject) != Belongs.YES:
                continue
            window = length.holding(_time_us(item, self.subject.by))
            if not first_s <= window.start_s <= self.window.start_s:
                continue
            part = self._part(item, window)
            if part is not None:
                yield part

    def _part(self, request: LoggedRequest, window: Window) -> Part | None:
        scores, features = request.scores, request.features
        if request.outcome is not Outcome.OK or scores is None or not request.rows:
            return None
        columns = {} if features is None else features.columns()
        segments = tuple(self._names(request, field, columns) for field in self.fields)
        order = hashlib.blake2b(request.request_id.encode(), digest_size=8).digest()
        return Part(window, order, columns, scores, segments)

    def _names(
        self, request: LoggedRequest, field: str, columns: dict[str, Column]
    ) -> tuple[str, ...]:
        """Return the segment of each row: a field of its raw record, else a feature."""
        records = self._records(request)
        if records is not None and any(field in record for record in records):
            return tuple(segment_name(record.get(field)) for record in records)
        if field in columns:
            return tuple(segment_name(value) for value in columns[field].tolist())
        return (MISSING,) * request.rows

    def _records(self, request: LoggedRequest) -> Sequence[Record] | None:
        try:
            payload = request.payload
            decoded = codec_named(payload.codec).decode(payload, self.schema)
        except SamescoreError:
            return None  # redacted beyond reading; a feature may still tell
        return decoded.records


def segment_name(value: object) -> str:
    """Return what a segment is called.

    >>> segment_name("AA"), segment_name(3), segment_name(None), segment_name(float("nan"))
    ('AA', '3', 'missing', 'missing')
    """
    if value is None or value != value:  # noqa: PLR0124 - NaN alone differs from itself
        return MISSING
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value)[:_LONGEST_NAME]


@dataclass(slots=True)
class RowSample:
    """A sample of a window's requests that does not depend on their order.

    Attributes:
        most_rows: about so many are kept.
    """

    most_rows: int = MOST_ROWS
    _parts: list[Part] | None = None
    _rows: int = 0

    def take(self, part: Part) -> None:
        """Take a request, or leave it."""
        held = self._parts = [] if self._parts is None else self._parts
        held.append(part)
        self._rows += part.rows
        if self._rows > 2 * self.most_rows:
            self._cut()

    def parts(self) -> list[Part]:
        """Return the requests of the sample."""
        self._cut()
        return self._parts or []

    def _cut(self) -> None:
        kept, rows = [], 0
        for part in sorted(self._parts or [], key=lambda each: each.order):
            if rows >= self.most_rows:
                break
            kept.append(part)
            rows += part.rows
        self._parts, self._rows = kept, rows


def columns_of(parts: Sequence[Part], names: Sequence[str]) -> dict[str, Column] | None:
    """Return the features of some requests side by side, or None when one lacks a feature."""
    if not parts or any(name not in part.columns for part in parts for name in names):
        return None
    return {name: np.concatenate([part.columns[name] for part in parts]) for name in names}


def _time_us(request: LoggedRequest, by: TimeBasis) -> int:
    event = request.fields["event_time_us"] if by is TimeBasis.EVENT else None
    return int(request.fields["ingest_time_us"] if event is None else event)
