"""What a request log says of each model: outcomes, latency by stage, scores."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from consistency.jsontype import Json
from consistency.log import LoggedRequest
from consistency.scored import STAGES

PERCENTILES: Final = (50, 90, 99)


@dataclass(slots=True)
class ModelStats:
    """Counts and samples of one model version; grows with the log, 8 bytes a number."""

    requests: int = 0
    rows: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    latency_ns: dict[str, array[int]] = field(
        default_factory=lambda: {stage: array("q") for stage in STAGES}
    )
    scores: array[float] = field(default_factory=lambda: array("d"))

    def take(self, request: LoggedRequest) -> None:
        """Count a request."""
        self.requests += 1
        self.rows += request.rows
        outcome = request.outcome.value
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1
        for stage, times in self.latency_ns.items():
            times.append(request.fields["latency"][f"{stage}_ns"])
        scores = request.scores
        if scores is not None:
            self.scores.extend(scores.ravel().tolist())

    def to_json(self) -> dict[str, Json]:
        """Return JSON types: percentiles in milliseconds, quantiles of the score."""
        return {
            "requests": self.requests,
            "rows": self.rows,
            "outcomes": self.outcomes,
            "latency_ms": {s: percentiles_ms(t) for s, t in self.latency_ns.items()},
            "scores": _quantiles(self.scores),
        }


def collect(requests: Iterable[LoggedRequest]) -> dict[str, ModelStats]:
    """Return the statistics of each `name/version`."""
    found: dict[str, ModelStats] = {}
    for request in requests:
        name = "/".join(map(str, request.model))
        found.setdefault(name, ModelStats()).take(request)
    return found


def percentiles_ms(times_ns: Sequence[int]) -> dict[str, float]:
    """Return `p50`, `p90`, `p99` in milliseconds; empty for no times."""
    if not times_ns:
        return {}
    values = np.percentile(np.array(times_ns, np.int64), PERCENTILES) / 1e6
    return {f"p{p}": float(v) for p, v in zip(PERCENTILES, values, strict=True)}


def _quantiles(scores: array[float]) -> dict[str, float]:
    held = np.array(scores)
    finite = held[np.isfinite(held)]
    if not finite.size:
        return {}
    names = ("min", "p25", "p50", "p75", "max")
    values = np.percentile(finite, (0, 25, 50, 75, 100))
    return {n: float(v) for n, v in zip(names, values, strict=True)}
