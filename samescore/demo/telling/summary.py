"""Puts together what `summary.json` holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from monitors.reference import ReferenceSet
from samescore.demo.acts.alarm import Alarm
from samescore.demo.acts.fault import Refused, Verdict
from samescore.demo.acts.figures import LogFigures, feature_psi, score_psi
from samescore.demo.acts.replays import Batches, Report, model_key
from samescore.demo.stage import FLOAT32_MODEL, MODELS
from samescore.log_stats import percentiles_ms

Json = dict[str, Any]  # Any: JSON

QUANTILES: Final = (5, 25, 50, 75, 95)
END_TO_END: Final = "end_to_end"
_PACKAGES: Final = ("numpy", "xgboost", "xgboost-cpu", "lightgbm", "tensorflow", "keras")


@dataclass(frozen=True, slots=True)
class Played:
    """What the acts found.

    Attributes:
        served: the page `/models`.
        traffic: what the client counted.
        log: what `samescore log verify` found.
        replay: the full replay's report.
        batches: the float32 network at other batch sizes.
        figures: what the log says.
        references: the bundles' frozen training distributions, by model.
        refused: the faulty server with its gate enforced.
        verdict: the replay of the faulty server's log.
        alarm: what Prometheus saw.
        environment: what the bundles were made with, as a manifest names it.
    """

    served: list[Json]
    traffic: Json
    log: Json
    replay: Report
    batches: Batches
    figures: LogFigures
    references: Mapping[str, ReferenceSet]
    refused: Refused
    verdict: Verdict
    alarm: Alarm
    environment: Json


def summarise(played: Played, seconds: Mapping[str, float]) -> Json:
    """Return the content of `summary.json`, without the verdict."""
    latency = _latency(played)
    return {
        "sent": played.traffic["sent"],
        "answered": played.traffic["answered"],
        "logged": played.log["requests"],
        "models": {m: _model(m, played.replay, latency[m][END_TO_END]) for m in MODELS},
        "fault": played.verdict.to_json(),
        "served": played.served,
        "traffic": {k: v for k, v in played.traffic.items() if k != "single"},
        "log": played.log,
        "snapshots": _snapshots(played.figures),
        "refusals": played.figures.refusals,
        "replay": {m: _replay(_report(m, played.replay)) for m in MODELS},
        FLOAT32_MODEL: played.batches.to_json(),
        "latency_ms": latency,
        "scores_by_month": {m: _scores(m, played.figures) for m in MODELS},
        "psi_by_month": {
            m: score_psi(played.references[m], played.figures.scores.get(m, {})) for m in MODELS
        },
        "feature_psi_by_month": feature_psi(
            played.references[MODELS[0]], played.figures.feature_counts
        ),
        "fault_details": {
            "refused_by_gate": played.refused.refused,
            "gate_message": played.refused.message,
            "gate_status": played.refused.status,
            **played.verdict.details(),
        },
        "alarm": played.alarm.to_json(),
        "alarm_details": played.alarm.details(),
        "environment": _environment(played.environment),
        "seconds": dict(seconds),
    }


def _report(model: str, replay: Report) -> Json:
    nothing: Json = {"agrees": False, "requests": 0, "rows": 0, "stages": {}}
    found: Json = replay["models"].get(model_key(model), nothing)
    return found


def _model(model: str, replay: Report, end_to_end: Mapping[str, float]) -> Json:
    """Return the ratios of the stage that agrees least, so that 1.0 speaks for all of them."""
    report = _report(model, replay)
    stages = list(report["stages"].values())
    return {
        "rows": report["rows"],
        "agree_ratio": min((s["agree_ratio"] for s in stages), default=0.0),
        "bit_identical_ratio": min((s["bit_identical_ratio"] for s in stages), default=0.0),
        "max_abs_diff": max((s["max_abs_diff"] for s in stages), default=0.0),
        "p50_ms": end_to_end.get("p50"),
        "p99_ms": end_to_end.get("p99"),
    }


def _replay(report: Json) -> Json:
    return {
        "agrees": report["agrees"],
        "requests": report["requests"],
        "refused": report.get("rejected", 0),
        "refused_again": report.get("rejected_reproduced", 0),
        "stages": report["stages"],
    }


def _latency(played: Played) -> dict[str, Json]:
    """Return percentiles by model and stage, single records at one connection."""
    return {
        model: {
            **{
                stage: percentiles_ms(times)
                for stage, times in played.figures.latency_ns.get(model, {}).items()
            },
            END_TO_END: percentiles_ms(played.traffic["single"].get(model, {}).get("ns", [])),
        }
        for model in MODELS
    }


def _snapshots(figures: LogFigures) -> Json:
    changed = figures.changed_with_snapshot()
    return {
        "rows": dict(figures.snapshot_rows),
        "asked_under_both": len(changed),
        "largest_change": max(changed, default=0.0),
    }


def _environment(found: Json) -> Json:
    packages = {name: found["packages"].get(name) for name in _PACKAGES}
    return {
        "python": found["python"],
        "cpu": found["cpu_model"],
        "cpus": found["cpu_count"],
        "packages": {name: version for name, version in packages.items() if version},
    }


def _scores(model: str, figures: LogFigures) -> dict[str, Json]:
    out = {}
    for month in figures.months():
        scores = figures.scores_of(model, month)
        if len(scores):
            values = np.percentile(scores, QUANTILES)
            marks = {f"p{q}": float(v) for q, v in zip(QUANTILES, values, strict=True)}
            out[month] = {"rows": len(scores), **marks}
    return out
