"""What is promised of each model: objectives, the time over which they hold, and guards."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from consistency.errors import ConfigError
from monitors.alerting.rules import duration
from monitors.metrics import STAGE_LATENCY

REFERENCE_WINDOW_SECONDS: Final = 30 * 86_400
"""The window for which the burn rates of the *Site Reliability Workbook* are tabled."""
SHORTEST_SECONDS: Final = 300
"""The shortest window of that table."""
SCRAPES_A_RATE: Final = 4
"""A rate over fewer scrapes is one number's noise: a missed scrape would empty it."""
LONGEST_SECONDS: Final = 366 * 86_400


class Indicator(StrEnum):
    """What is counted: good and bad events."""

    AVAILABILITY = "availability"
    """Of all requests to the model: bad is a backend error or a timeout."""
    LATENCY = "latency"
    """Of all requests: bad is one that took longer than the threshold."""
    DATA_QUALITY = "data_quality"
    """Of all requests: bad is one that was refused for its data."""
    PARITY = "parity"
    """Of the rows of the last scheduled replay: bad is one that differs in any stage."""


@dataclass(frozen=True, slots=True)
class Objective:
    """One promise.

    Attributes:
        model: its name, all versions together.
        indicator: what is counted.
        objective: share of good events, 0 < objective < 1.
        window_seconds: over which the promise holds.
        latency_seconds: of a latency objective: a longer request is bad; a bucket bound.
        period_seconds: of a parity objective: between two scheduled replays.
        page: whether a fast burn wakes somebody; else all burns are tickets.
    """

    model: str
    indicator: Indicator
    objective: float
    window_seconds: int = REFERENCE_WINDOW_SECONDS
    latency_seconds: float | None = None
    period_seconds: int | None = None
    page: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.objective < 1:
            raise self.unusable("objective", self.objective, _objective_remedy(self.objective))
        bounds = STAGE_LATENCY.buckets
        if self.indicator is Indicator.LATENCY and self.latency_seconds not in bounds:
            raise self.unusable(
                "latency_seconds", self.latency_seconds,
                f"only a bucket bound is counted exactly; take one of "
                f"{', '.join(map(str, bounds))}",
            )  # fmt: skip
        if self.indicator is Indicator.PARITY and not self.period_seconds:
            raise self.unusable(
                "period", self.period_seconds, 'say how often it is replayed, for example "1d"'
            )

    def unusable(self, field: str, value: object, remedy: str) -> ConfigError:
        """Return the error that names a field of this objective."""
        return ConfigError(f"{self.model}.{self.indicator}.{field} is {value}; {remedy}")


@dataclass(frozen=True, slots=True)
class SloSettings:
    """All promises, and what their alerts need.

    Attributes:
        objectives: one a model and indicator.
        scrape_interval_seconds: of Prometheus; it bounds the shortest window.
        min_events: fewer events in an alert's long window say nothing about a ratio.
        min_bad_events: fewer bad ones wake nobody, whatever their ratio: at night, with 100
            requests an hour and an objective of 99.9%, two failures would burn the budget 20 times
            too fast.
    """

    objectives: tuple[Objective, ...]
    scrape_interval_seconds: int = 15
    min_events: int = 100
    min_bad_events: int = 5

    def __post_init__(self) -> None:
        for name in ("scrape_interval_seconds", "min_events", "min_bad_events"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; give 1 or more")
        if not self.objectives:
            raise ConfigError("there is no objective; begin with a table [models.NAME]")
        for one in self.objectives:
            self._check_window(one)

    def _check_window(self, one: Objective) -> None:
        if one.indicator is Indicator.PARITY:
            return  # a gauge is looked at, no rate is taken
        scrape = self.scrape_interval_seconds
        shortest = SHORTEST_SECONDS * one.window_seconds / REFERENCE_WINDOW_SECONDS
        if shortest < SCRAPES_A_RATE * scrape:
            least = SCRAPES_A_RATE * scrape * REFERENCE_WINDOW_SECONDS // SHORTEST_SECONDS
            raise one.unusable(
                "window", duration(one.window_seconds),
                f"its shortest burn window would be {shortest:g} s, less than {SCRAPES_A_RATE} "
                f"scrapes of {scrape} s; take {duration(least)} or more, or scrape more often and "
                f"say so in scrape_interval",
            )  # fmt: skip


def _objective_remedy(value: float) -> str:
    if 1 < value < 100:
        return f"it is a share, not a percentage: write {value / 100:.6g}"
    return "give a share above 0 and below 1, for example 0.999"
