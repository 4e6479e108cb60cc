"""What a run has to do: windows nobody has judged, late rows, and whatever follows from them.

A window is judged as soon as it is over, and stays open to rows that come late for the *lateness*
that was granted. After that it is *settled*: rows that come even later are counted as too late, and
change nothing. Time is the job's clock and not the largest event time that was seen, as stream
engines have it: one client whose clock says the year 9999 would settle everything.

A verdict may hang on the windows before it (a small shift that stays, a rolling baseline). So a run
goes through the windows in the order of time, from the *cursor*: every window before it has been
judged in accordance with all that is known. Late rows move the cursor back. It is kept together
with each window, so a run that is killed is continued by the next one, with the same result.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from consistency.errors import ConfigError
from monitors.drift.windows import Window


class Reason(StrEnum):
    """Why a window was judged, or judged again."""

    FIRST = "first"
    """It is over, and nobody has judged it."""
    MORE_ROWS = "more_rows"
    """Rows have come since; or it was not over when it was judged."""
    SETTINGS = "settings"
    """Thresholds or baseline are others now."""
    EARLIER_WINDOW = "earlier_window"
    """A window before it, on which its verdict hangs, was judged anew."""
    IMPORTED = "imported"
    """It comes from the files of an earlier release."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a judged window.

    Attributes:
        requests: that were counted.
        complete: whether it was over then.
        settled: whether its lateness was over then.
    """

    requests: int
    complete: bool
    settled: bool


@dataclass(frozen=True, slots=True)
class Timing:
    """When a window is judged, and until when again.

    Attributes:
        now_s: seconds since the epoch.
        lateness_s: how long after its end a window takes late rows, seconds.
        include_open: also judge the one that is not over yet.
    """

    now_s: float
    lateness_s: int
    include_open: bool = False

    def __post_init__(self) -> None:
        if self.lateness_s < 0:
            raise ConfigError(f"lateness {self.lateness_s}: give 0 seconds or more")

    def waits(self, window: Window) -> bool:
        """Return whether it is too early to judge a window."""
        limit_s = self.now_s + window.length_s if self.include_open else self.now_s
        return window.end_s > limit_s

    def is_over(self, window: Window) -> bool:
        """Return whether a window has ended."""
        return window.end_s <= self.now_s

    def settles(self, window: Window) -> bool:
        """Return whether a window takes late rows no more."""
        return window.end_s + self.lateness_s <= self.now_s


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run has to do.

    Attributes:
        walk: windows to judge or to judge again, in the order of time.
        fresh: of them those whose counts come from the log: new ones, and those with more rows.
        cursor_s: where the walk begins; None when there is nothing to do.
        settle: windows whose lateness has passed since they were judged.
        waiting: windows that are not over.
        kept: windows of which the log now holds fewer requests than before; they stay as they were.
        too_late: requests that came after their window was settled, by window.
    """

    walk: tuple[Window, ...] = ()
    fresh: frozenset[Window] = frozenset()
    cursor_s: int | None = None
    settle: tuple[Window, ...] = ()
    waiting: tuple[Window, ...] = ()
    kept: tuple[Window, ...] = ()
    too_late: Mapping[Window, int] = field(default_factory=dict)


def make_plan(
    known: Mapping[Window, Known],
    requests: Mapping[Window, int],
    cursor_s: int | None,
    timing: Timing,
    restart_s: int | None = None,
) -> Plan:
    """Return what a run has to do.

    Args:
        known: the windows that were judged before.
        requests: that the log holds now, by window.
        cursor_s: every window before it is judged in accordance with what is known; None before
            the first run.
        timing: the clock, and how long rows may be late.
        restart_s: judge everything from here again (the settings have changed); None for not.
    """
    fresh, waiting, kept, too_late = set(), [], [], {}
    for window, held in sorted(requests.items()):
        before = known.get(window)
        if timing.waits(window):
            waiting.append(window)
        elif before is None:
            passed = cursor_s is not None and window.end_s <= cursor_s
            if passed and timing.settles(window):
                too_late[window] = held
            else:
                fresh.add(window)
        elif held < before.requests:
            kept.append(window)
        elif before.settled and timing.settles(window):
            if held > before.requests:
                too_late[window] = held - before.requests
        elif held > before.requests or (timing.is_over(window) and not before.complete):
            fresh.add(window)
    begin = min((s for s in (cursor_s, restart_s, *(w.start_s for w in fresh)) if s is not None),
                default=None)  # fmt: skip
    again = () if begin is None else (w for w in known if w.start_s >= begin)
    walk = tuple(sorted(fresh.union(again)))
    return Plan(
        walk,
        frozenset(fresh),
        begin if walk else None,
        tuple(w for w in sorted(known) if not known[w].settled and timing.settles(w)),
        tuple(waiting),
        tuple(kept),
        too_late,
    )
