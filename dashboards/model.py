"""The board *samescore / Model*: one model, its stages, scores, features, drift and replays."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.models import dashboard
from grafana_foundation_sdk.models.dashboard import VariableSort

from dashboards import objectives, promql
from dashboards.board import MODELS, BoardText, Line, Section, any_of, assemble, variable
from dashboards.model_drift import drift_job
from dashboards.model_features import features, suite
from dashboards.model_replay import replays
from dashboards.panels import PSI_LIMITS, Query, heatmap, lines
from dashboards.promql import FLEET, MODEL
from dashboards.red import rate_errors_duration
from monitors import metrics

TEXT: Final = BoardText(
    uid="samescore-model",
    title="samescore / Model",
    description="One model: latency by stage, outcomes, scores, features, and what the drift job "
    "and scheduled replays say.",
)


def model() -> dashboard.Dashboard:
    """Return the board."""
    of_model = {**FLEET, "model": MODEL["model"]}
    names = variable("model", promql.label_values(MODELS, "model", FLEET))
    versions = variable("version", promql.label_values(MODELS, "version", of_model))
    return assemble(
        TEXT,
        (
            Section("Requests: rate, errors, duration", (_red(),)),
            Section("Objectives", (objectives.of_model(),)),
            Section("Latency by stage", (_stages(),)),
            Section("Scores", (_scores(),)),
            Section("Features", features()),
            Section("Expectation suite", (suite(),)),
            Section("Drift job", drift_job()),
            Section("Scheduled replays", replays()),
        ),
        [names, any_of(versions).sort(VariableSort.NUMERICAL_DESC)],
    )


def _red() -> Line:
    return rate_errors_duration(MODEL, ["version", "outcome"], reached="the model", of_what="")


def _stages() -> Line:
    stages = 'stage!="total"'
    by_stage = ["stage"]
    return Line(
        8,
        (
            lines(
                "Mean time by stage",
                "Mean time that a request spent in each stage it went through.",
                "s",
                Query(promql.mean(metrics.STAGE_LATENCY, MODEL, stages, by=by_stage), "{{stage}}"),
                stacked=True,
            ),
            lines(
                "p99 by stage",
                "99th percentile of the time spent in each stage; they do not add up to the total.",
                "s",
                Query(
                    promql.quantile(0.99, metrics.STAGE_LATENCY, MODEL, by=by_stage),
                    "{{stage}}",
                    exemplars=True,
                ),
            ),
            heatmap(
                "Latency distribution",
                "Requests per second in each bucket of the whole request's time.",
                "s",
                promql.buckets(metrics.STAGE_LATENCY, MODEL, promql.TOTAL),
            ),
        ),
    )


def _scores() -> Line:
    by_version = ["version"]
    anomalies = promql.rate(metrics.SCORE_ANOMALIES, MODEL, by=["version", "kind"])
    rows = promql.rate(metrics.ROWS, MODEL, promql.SCORED, by=by_version)
    return Line(
        8,
        (
            lines(
                "Score anomalies",
                "Scores that are NaN, infinite or outside the reference's range, as a share of "
                "the scored rows.",
                "percentunit",
                Query(promql.share_of(anomalies, rows, on=by_version), "{{version}} {{kind}}"),
            ),
            lines(
                "Constant scores",
                "1 while all scores of the sliding window are one and the same number.",
                "bool_yes_no",
                Query(promql.value(metrics.SCORES_CONSTANT, MODEL, by=by_version), "{{version}}"),
            ),
            lines(
                "Score PSI",
                "Population stability index of the scores in the sliding window against the "
                "frozen reference.",
                "none",
                Query(promql.value(metrics.SCORE_PSI, MODEL, by=by_version), "{{version}}"),
                limits=PSI_LIMITS,
            ),
            lines(
                "Rows in the window",
                "Rows from which the stability indices are computed; few of them make an index "
                "large by chance.",
                "short",
                Query(promql.value(metrics.WINDOW_ROWS, MODEL, by=by_version), "{{version}}"),
            ),
        ),
    )
