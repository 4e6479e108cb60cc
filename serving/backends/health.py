"""When an instance of a backend is ejected, and when it may be tried again. Pure: times are given.

An instance that refuses or loses a connection is ejected at once; one that does not answer in time,
after several times in a row: a single slow request says nothing about its instance. The pause
before the next trial doubles with every trial that fails.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final


@dataclass(frozen=True, slots=True)
class HealthPolicy:
    """The numbers.

    Attributes:
        timeouts_in_row: that eject an instance.
        first_pause_seconds: from an ejection to the first trial.
        longest_pause_seconds: the most that a pause grows to.
    """

    timeouts_in_row: int = 3
    first_pause_seconds: float = 0.5
    longest_pause_seconds: float = 5.0


DEFAULT_HEALTH: Final = HealthPolicy()


@dataclass(frozen=True, slots=True)
class Health:
    """What is known of an instance.

    Attributes:
        reason: why it is ejected; empty while it is not.
        timeouts: in a row, up to now.
        pause_seconds: the last pause before a trial.
        trial_at: when it may be tried again, on the clock of whoever asks.
    """

    reason: str = ""
    timeouts: int = 0
    pause_seconds: float = 0.0
    trial_at: float = 0.0

    @property
    def is_ejected(self) -> bool:
        """Whether it gets no requests."""
        return bool(self.reason)

    def may_be_tried(self, now: float) -> bool:
        """Whether the pause is over."""
        return self.is_ejected and now >= self.trial_at

    def answered(self) -> Health:
        """It answered a request. One that is ejected stays so: the request was from before."""
        return replace(self, timeouts=0) if self.timeouts else self

    def timed_out(self, now: float, policy: HealthPolicy = DEFAULT_HEALTH) -> Health:
        """It did not answer in time."""
        late = replace(self, timeouts=self.timeouts + 1)
        if late.is_ejected or late.timeouts < policy.timeouts_in_row:
            return late
        return late.lost(
            now, f"{late.timeouts} requests in a row were not answered in time", policy
        )

    def lost(self, now: float, reason: str, policy: HealthPolicy = DEFAULT_HEALTH) -> Health:
        """Its connection was refused or broke: it is ejected."""
        if self.is_ejected:
            return self
        pause = policy.first_pause_seconds
        return Health(reason or "lost", self.timeouts, pause, now + pause)

    def failed_trial(
        self, now: float, reason: str, policy: HealthPolicy = DEFAULT_HEALTH
    ) -> Health:
        """A trial failed: it stays ejected, for twice as long as before."""
        pause = min(
            2 * self.pause_seconds or policy.first_pause_seconds, policy.longest_pause_seconds
        )
        return Health(reason or "lost", self.timeouts, pause, now + pause)

    def returned(self) -> Health:
        """A trial succeeded."""
        return Health()
