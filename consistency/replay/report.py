"""What a replay found, model by model and stage by stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from consistency.compare import Comparison
from consistency.diagnose import Finding
from consistency.jsontype import Json
from consistency.protocols import Damage

STAGE_ORDER: Final = ("payload", "features", "outputs", "scores")
"""The stages that a replay compares, in the order of the data's way."""

REDACTED: Final = "redacted"
NO_FEATURE_STAGE: Final = "no feature stage"
SCORED_AND_LEFT_OUT: Final = frozenset({REDACTED, NO_FEATURE_STAGE})
"""Reasons for which a request that was scored is not replayed."""

MOST_DAMAGE_LISTED: Final = 1000
"""Damaged lines that a report lists; it counts them all."""


@dataclass(frozen=True, slots=True)
class StageDifference:
    """One value that differs between online and offline.

    Attributes:
        stage: one of `STAGE_ORDER`.
        name: the feature, output or score that differs.
        row: index of the record in its request.
        online: the logged value; offline: the recomputed one. All digits.
        abs_diff: None when one of the two is no finite number.
        ulps: units in the last place of float64, -1 when there is none.
    """

    request_id: str
    row: int
    stage: str
    name: str
    online: Any  # Any: a number, or text
    offline: Any
    abs_diff: float | None
    ulps: int

    def __str__(self) -> str:
        size = "" if self.abs_diff is None else f", |Δ| {self.abs_diff:.3g} ({self.ulps} ULPs)"
        return (
            f"request {self.request_id} row {self.row} stage {self.stage} {self.name!r}: "
            f"online {self.online!r}, offline {self.offline!r}{size}"
        )

    def to_json(self) -> dict[str, Json]:
        """Return JSON types."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(slots=True)
class FeatureMismatch:
    """One feature that differs.

    Attributes:
        rows: rows in which it disagrees.
        max_abs_diff: over the finite pairs.
        finding: the proven cause, if any.
    """

    rows: int
    max_abs_diff: float
    finding: Finding


@dataclass(slots=True)
class ModelReport:
    """What the replay of one model version found.

    Attributes:
        requests: requests replayed.
        rows: rows replayed.
        stages: comparison by stage; a stage that this replay does not reach is not there.
        features: the features that disagree, by name.
        rejected: requests that were refused online.
        rejected_reproduced: those of them that are refused offline with the same message.
        not_replayable: requests that could not be replayed, by reason: those without scores by
            their outcome, redacted ones without features.
        started_at: scored requests by the stage that their replay started from: `payload`, or
            `features` where the payload was redacted (or was not to be read).
        worst: the worst values by stage, first stage first.
    """

    requests: int = 0
    rows: int = 0
    stages: dict[str, Comparison] = field(default_factory=dict)
    features: dict[str, FeatureMismatch] = field(default_factory=dict)
    rejected: int = 0
    rejected_reproduced: int = 0
    not_replayable: dict[str, int] = field(default_factory=dict)
    started_at: dict[str, int] = field(default_factory=dict)
    worst: list[StageDifference] = field(default_factory=list)

    @property
    def agrees(self) -> bool:
        """Whether every row of every stage agrees, and every refusal was reproduced."""
        agreeing = all(c.agrees for c in self.stages.values())
        # refusals alone are an agreement only where nothing was scored: else no score was compared
        left_out = not SCORED_AND_LEFT_OUT.isdisjoint(self.not_replayable)
        some = bool(self.stages) if self.rows else self.rejected > 0 and not left_out
        return agreeing and some and self.rejected == self.rejected_reproduced

    @property
    def first_divergence(self) -> StageDifference | None:
        """The worst difference of the earliest stage that differs."""
        return self.worst[0] if self.worst else None

    def to_json(self) -> dict[str, Json]:
        """Return JSON types."""
        return {
            "agrees": self.agrees,
            "requests": self.requests,
            "rows": self.rows,
            "stages": {s: c.to_json() for s, c in self.stages.items()},
            "features": {
                name: {"rows": m.rows, "max_abs_diff": m.max_abs_diff, **m.finding.to_json()}
                for name, m in self.features.items()
            },
            "rejected": self.rejected,
            "rejected_reproduced": self.rejected_reproduced,
            "not_replayable": self.not_replayable,
            "started_at": self.started_at,
            "worst": [d.to_json() for d in self.worst],
        }


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What a replay found.

    Attributes:
        mode: from where to where it was replayed.
        batch: rows a batch, or ``"logged"``.
        decimals: that had to agree.
        models: by ``"name/version"``.
        damage: the first `MOST_DAMAGE_LISTED` lines that could not be read.
        lost_lines: all of those that may have been answered: torn tails never were.
        selection: what of the log was meant, as `LogSelection.to_json` gives it.
    """

    mode: str
    batch: str
    decimals: int
    models: Mapping[str, ModelReport]
    damage: tuple[Damage, ...]
    lost_lines: int
    selection: Mapping[str, Json] = field(default_factory=dict)

    @property
    def agrees(self) -> bool:
        """Whether something was replayed, all of it agrees, and no answered request is lost.

        A torn tail was never acknowledged and does not count against the log.
        """
        whole = bool(self.models) and not self.lost_lines
        return whole and all(m.agrees for m in self.models.values())

    def to_json(self) -> dict[str, Json]:
        """Return JSON types."""
        return {
            "agrees": self.agrees,
            "mode": self.mode,
            "batch": self.batch,
            "decimals": self.decimals,
            "selection": dict(self.selection),
            "models": {name: m.to_json() for name, m in self.models.items()},
            "damage": [
                {"segment": d.segment, "line": d.line, "problem": d.problem, "bytes": d.size_bytes}
                for d in self.damage
            ],
            "lost_lines": self.lost_lines,
        }
