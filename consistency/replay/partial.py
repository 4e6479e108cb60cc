"""The report of a part of a log as JSON and back, with nothing lost: not a bit, not a NaN.

What goes between processes and what a checkpoint keeps. A report for people rounds nothing either,
but JSON has no NaN and no infinity; here a float that is none of JSON's is a tagged text.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from consistency.compare import Comparison
from consistency.diagnose import Cause, Finding
from consistency.jsontype import Json
from consistency.protocols import Damage
from consistency.replay.report import (
    FeatureMismatch,
    ModelReport,
    ReplayReport,
    StageDifference,
)

_FLOAT: Final = "float"


def pack_report(report: ReplayReport) -> dict[str, Json]:
    """Return JSON types that `unpack_report` makes the same report of."""
    return {
        "mode": report.mode,
        "batch": report.batch,
        "decimals": report.decimals,
        "selection": dict(report.selection),
        "lost_lines": report.lost_lines,
        "damage": [[d.segment, d.line, d.problem, d.size_bytes] for d in report.damage],
        "models": {name: _pack_model(model) for name, model in report.models.items()},
    }


def unpack_report(held: Mapping[str, Json]) -> ReplayReport:
    """Return the report.

    Raises:
        KeyError, TypeError, ValueError: `pack_report` did not write this.
    """
    return ReplayReport(
        mode=held["mode"],
        batch=held["batch"],
        decimals=held["decimals"],
        models={name: _unpack_model(model) for name, model in held["models"].items()},
        damage=tuple(Damage(*values) for values in held["damage"]),
        lost_lines=held["lost_lines"],
        selection=held["selection"],
    )


def _pack_model(model: ModelReport) -> dict[str, Json]:
    return {
        "requests": model.requests,
        "rows": model.rows,
        "rejected": model.rejected,
        "rejected_reproduced": model.rejected_reproduced,
        "not_replayable": model.not_replayable,
        "started_at": model.started_at,
        "stages": {stage: _pack_comparison(c) for stage, c in model.stages.items()},
        "features": {
            name: [m.rows, _pack(m.max_abs_diff), m.finding.cause.value, m.finding.evidence]
            for name, m in model.features.items()
        },
        "worst": [[_pack(getattr(d, name)) for name in d.__slots__] for d in model.worst],
    }


def _unpack_model(held: Mapping[str, Json]) -> ModelReport:
    return ModelReport(
        requests=held["requests"],
        rows=held["rows"],
        stages={stage: _unpack_comparison(c) for stage, c in held["stages"].items()},
        features={
            name: FeatureMismatch(rows, _unpack(size), Finding(Cause(cause), evidence))
            for name, (rows, size, cause, evidence) in held["features"].items()
        },
        rejected=held["rejected"],
        rejected_reproduced=held["rejected_reproduced"],
        not_replayable=held["not_replayable"],
        started_at=held["started_at"],
        worst=[StageDifference(*map(_unpack, values)) for values in held["worst"]],
    )


def _pack_comparison(found: Comparison) -> dict[str, Json]:
    return found.to_json() | {"max_abs_diff": _pack(found.max_abs_diff)}


def _unpack_comparison(held: Mapping[str, Json]) -> Comparison:
    return Comparison.from_json({**held, "max_abs_diff": _unpack(held["max_abs_diff"])})


def _pack(value: Json) -> Json:
    """Tag what JSON cannot hold exactly: non-finite floats, integers beyond 64 bits."""
    if isinstance(value, float) and not math.isfinite(value):
        return {_FLOAT: str(value)}
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return {"int": str(value)}
    if isinstance(value, (list, tuple)):
        return [_pack(one) for one in value]
    return value


def _unpack(value: Json) -> Json:
    if isinstance(value, dict):
        return float(value[_FLOAT]) if _FLOAT in value else int(value["int"])
    if isinstance(value, list):
        return [_unpack(one) for one in value]
    return value
