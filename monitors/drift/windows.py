"""Windows of time: aligned to the epoch in UTC, half-open, all of one length."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

import numpy as np

from consistency.errors import ConfigError

LONGEST_SECONDS: Final = 366 * 86_400
_UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_LENGTH: Final = re.compile(r"([1-9][0-9]{0,8})([smhdw])")


class TimeBasis(StrEnum):
    """Which of a request's two times says what window it belongs to."""

    EVENT = "event"
    """When it happened, if the client said so; else when it arrived."""
    INGEST = "ingest"
    """When it arrived."""


@dataclass(frozen=True, slots=True)
class WindowLength:
    """How long each window is.

    Attributes:
        seconds: 1 or more.
    """

    seconds: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a number and a unit: s, m, h, d or w.

        >>> WindowLength.parse("1d").seconds, str(WindowLength.parse("24h"))
        (86400, '1d')

        Raises:
            ConfigError: it is something else, or longer than a year.
        """
        found = _LENGTH.fullmatch(text)
        seconds = int(found[1]) * _UNITS[found[2]] if found else 0
        if not 0 < seconds <= LONGEST_SECONDS:
            raise ConfigError(
                f"window {text!r}: give a number and one of s, m, h, d, w, for example 1d, of at "
                f"most 366 days"
            )
        return cls(seconds)

    def __str__(self) -> str:
        """Return the text in the largest unit that fits, weeks as days."""
        unit = next(u for u in "dhms" if self.seconds % _UNITS[u] == 0)
        return f"{self.seconds // _UNITS[unit]}{unit}"

    def holding(self, time_us: int) -> Window:
        """Return the window that holds a moment, in microseconds since the epoch.

        >>> str(WindowLength.parse("1d").holding(1_385_855_999_999_999))
        '2013-11-30T00:00:00Z'
        """
        number = time_us // (self.seconds * 1_000_000)
        return Window(number * self.seconds, self.seconds)


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """The moments from `start_s` up to, but without, `end_s`.

    Attributes:
        start_s: seconds since the epoch, a multiple of the length.
        length_s: seconds.
    """

    start_s: int
    length_s: int

    @property
    def end_s(self) -> int:
        """The first second behind it."""
        return self.start_s + self.length_s

    @property
    def start(self) -> str:
        """When it begins, ISO 8601 in UTC."""
        return utc_text(self.start_s)

    @property
    def end(self) -> str:
        """When it is over, ISO 8601 in UTC."""
        return utc_text(self.end_s)

    @property
    def label(self) -> str:
        """When it begins, as short as its length allows.

        >>> Window(1_385_856_000, 86_400).label, Window(1_385_856_000, 3_600).label
        ('2013-12-01', '2013-12-01 00:00')
        """
        day, _, time = self.start.removesuffix("Z").partition("T")
        if self.length_s % 86_400 == 0:
            return day
        return f"{day} {time if self.length_s % 60 else time[:5]}"

    def __str__(self) -> str:
        return self.start


@dataclass(frozen=True, slots=True)
class Gap:
    """Neighbouring windows without a request, between two that have some.

    Attributes:
        start_s: where the first begins; end_s: where the last ends.
        windows: how many.
    """

    start_s: int
    end_s: int
    windows: int


def gaps(windows: Iterable[Window]) -> list[Gap]:
    """Return the gaps between windows of one length.

    >>> [gap.windows for gap in gaps([Window(0, 60), Window(60, 60), Window(240, 60)])]
    [2]
    """
    held = sorted(windows)
    return [
        Gap(before.end_s, after.start_s, (after.start_s - before.end_s) // before.length_s)
        for before, after in itertools.pairwise(held)
        if after.start_s > before.end_s
    ]


def utc_text(seconds: int) -> str:
    """Return a moment as ISO 8601 in UTC, to the second.

    Of any year: a client whose clock says the year 1 or 9999 must not end the job.

    >>> utc_text(1_385_856_000), utc_text(-62_135_683_200)
    ('2013-12-01T00:00:00Z', '0000-12-31T00:00:00Z')
    """
    return f"{np.datetime64(seconds, 's')}Z"
