"""From what was seen of an alert, moment by moment, to when it fired and resolved. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

Json = dict[str, Any]  # Any: JSON


class AlertState(StrEnum):
    """Prometheus' states of an alert, the quietest first."""

    INACTIVE = "inactive"
    PENDING = "pending"
    FIRING = "firing"


@dataclass(frozen=True, slots=True)
class Look:
    """One look at Prometheus.

    Attributes:
        seconds: since the first look.
        ratio: rows with an unseen category, 0 to 1; None while Prometheus knows none.
        state: of the alert that is expected.
        others: other alerts that were firing.
    """

    seconds: float
    ratio: float | None
    state: AlertState
    others: tuple[str, ...] = ()

    def to_json(self) -> Json:
        """Return JSON types."""
        return {
            "seconds": round(self.seconds, 3),
            "unseen_ratio": self.ratio,
            "state": self.state.value,
            "others": list(self.others),
        }


@dataclass(frozen=True, slots=True)
class Timeline:
    """Everything that was seen of one alert while a fault came and went.

    Attributes:
        alert: its name.
        looks: in time order.
        began: when the fault began, in seconds since the first look.
        ended: when it ended.
    """

    alert: str
    looks: Sequence[Look]
    began: float
    ended: float

    @property
    def seconds_to_fire(self) -> float | None:
        """From the fault's begin to the first look that saw it firing; below 0: it was no alarm."""
        fired = (k.seconds for k in self.looks if k.state is AlertState.FIRING)
        first = next(fired, None)
        return None if first is None else first - self.began

    @property
    def seconds_to_resolve(self) -> float | None:
        """From the fault's end to the first look from which it stayed quiet; None: it did not."""
        if self.seconds_to_fire is None or self.looks[-1].state is not AlertState.INACTIVE:
            return None
        last_loud = max(i for i, k in enumerate(self.looks) if k.state is not AlertState.INACTIVE)
        return self.looks[last_loud + 1].seconds - self.ended

    @property
    def others(self) -> list[str]:
        """Every other alert that fired at any time."""
        return sorted({name for look in self.looks for name in look.others})

    def to_json(self) -> Json:
        """Return the `alarm` of `summary.json`."""
        fire, resolve = self.seconds_to_fire, self.seconds_to_resolve
        return {
            "available": True,
            "alert": self.alert,
            "fired": fire is not None,
            "resolved": resolve is not None,
            "seconds_to_fire": None if fire is None else round(fire, 3),
            "seconds_to_resolve": None if resolve is None else round(resolve, 3),
            "others": self.others,
        }


def not_available(alert: str) -> Json:
    """Return the `alarm` of `summary.json` where there is no Prometheus."""
    return {
        "available": False,
        "alert": alert,
        "fired": False,
        "resolved": False,
        "seconds_to_fire": None,
        "seconds_to_resolve": None,
        "others": [],
    }


def look_at(
    seconds: float, ratio: float | None, alerts: Sequence[Mapping[str, Any]], expected: str
) -> Look:
    """Return what one look saw; of several alerts of one name, the loudest counts.

    Args:
        seconds: since the first look.
        ratio: rows with an unseen category.
        alerts: as `/api/v1/alerts` has them: `labels.alertname` and `state`.
        expected: the name of the alert that is to fire.
    """
    held = [(str(a["labels"]["alertname"]), AlertState(a["state"])) for a in alerts]
    states = [state for name, state in held if name == expected]
    loudest = max(states, key=list(AlertState).index, default=AlertState.INACTIVE)
    firing = {n for n, state in held if state is AlertState.FIRING and n != expected}
    return Look(seconds, ratio, loudest, tuple(sorted(firing)))
