"""The board *samescore / Overview*: all models and servers at a glance, for the person on call."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.models import dashboard

from dashboards import objectives, promql
from dashboards.backends import backends
from dashboards.board import KEEP, BoardText, Line, Section, assemble
from dashboards.model import TEXT as MODEL_BOARD
from dashboards.panels import PSI_LIMITS, Limit, Query, alerts, heatmap, lines, number
from dashboards.promql import FLEET
from dashboards.red import rate_errors_duration
from dashboards.tables import Column, Labels, table
from monitors import metrics

TEXT: Final = BoardText(
    uid="samescore-overview",
    title="samescore / Overview",
    description="Requests, errors and latency of all models; what was refused or dropped; which "
    "versions are served, and whether the world has moved.",
)

_TO_MODEL: Final = f"/d/{MODEL_BOARD.uid}?var-model=${{__data.fields.Model}}&{KEEP}"


def overview() -> dashboard.Dashboard:
    """Return the board."""
    return assemble(
        TEXT,
        (
            Section("Requests: rate, errors, duration", (_red(), _duration())),
            Section("Alerts", (_alerts(),)),
            Section("Objectives", (objectives.of_all(_TO_MODEL),)),
            Section("Rows, refusals and losses", (_rows(), _losses())),
            Section("Servers and versions", (_servers(), _versions())),
            Section("Instances of remote backends", backends()),
            Section("Drift in the servers' sliding windows", (_drift(),)),
        ),
    )


def _red() -> Line:
    return rate_errors_duration(FLEET, ["outcome"], reached="a servable", of_what=", all models")


def _duration() -> Line:
    p99 = promql.quantile(0.99, metrics.STAGE_LATENCY, FLEET, promql.TOTAL, by=["model", "version"])
    return Line(
        8,
        (
            heatmap(
                "Latency distribution",
                "Requests per second in each latency bucket, all models.",
                "s",
                promql.buckets(metrics.STAGE_LATENCY, FLEET, promql.TOTAL),
            ),
            lines(
                "p99 latency by model",
                "99th percentile of the time from the received body to the log write.",
                "s",
                Query(p99, "{{model}}/{{version}}", exemplars=True),
            ),
            lines(
                "Wait before a worker looks",
                "99th percentile and mean of the time that an arriving request waits until a "
                "worker looks at it. The latency beside it begins only then.",
                "s",
                Query(
                    promql.quantile(0.99, metrics.ARRIVAL_WAIT, FLEET, by=["instance"]),
                    "p99 {{instance}}",
                ),
                Query(
                    promql.mean(metrics.ARRIVAL_WAIT, FLEET, by=["instance"]), "mean {{instance}}"
                ),
            ),
        ),
    )


def _alerts() -> Line:
    return Line(
        7, (alerts("Alerts", "Alerts of samescore that fire or are pending; each has a runbook."),)
    )


def _rows() -> Line:
    by_model = ["model", "version"]
    data_errors = promql.rate(metrics.REQUESTS, FLEET, promql.DATA_ERRORS, by=by_model)
    return Line(
        7,
        (
            lines(
                "Rows by model",
                "Rows per second of the requests that were scored; a request holds one or more.",
                "cps",
                Query(
                    promql.rate(metrics.ROWS, FLEET, promql.SCORED, by=by_model),
                    "{{model}}/{{version}}",
                ),
                stacked=True,
            ),
            lines(
                "Data errors by model",
                "Requests per second that were refused because of their content (数据错误).",
                "reqps",
                Query(data_errors, "{{model}}/{{version}}"),
            ),
        ),
    )


def _losses() -> Line:
    any_is_bad = (Limit(1e-9, "red"),)
    return Line(
        7,
        (
            lines(
                "Rejections by reason",
                "HTTP requests per second that were refused before they reached a servable; they "
                "are in no request log.",
                "reqps",
                Query(promql.rate(metrics.HTTP_REJECTIONS, FLEET, by=["reason"]), "{{reason}}"),
            ),
            lines(
                "Log drops",
                "Requests per second that were answered although the request log could not be "
                "written; they can never be replayed.",
                "reqps",
                Query(promql.rate(metrics.LOG_DROPS, FLEET, by=["instance"]), "{{instance}}"),
                limits=any_is_bad,
            ),
            lines(
                "Sampled out",
                "Requests per second that sampling kept out of the request log, as it was told; "
                "with log drops they are what the log has less than the request counters.",
                "reqps",
                Query(promql.rate(metrics.LOG_SAMPLED_OUT, FLEET, by=["instance"]), "{{instance}}"),
            ),
            lines(
                "Observer failures",
                "Exceptions per second of the observers; the requests were answered all the same, "
                "but a monitor missed them.",
                "cps",
                Query(
                    promql.rate(metrics.OBSERVER_FAILURES, FLEET, by=["observer"]), "{{observer}}"
                ),
                limits=any_is_bad,
            ),
        ),
    )


def _servers() -> Line:
    gate = Labels(
        {"model": "Model", "version": "Version", "gate": "Gate", "decimals": "Decimals"},
        colors={"Gate": {"verified": "green", "unverified": "red", "none": "yellow"}},
        links={"Model": _TO_MODEL},
    )
    gates = promql.value(metrics.SERVABLE_GATE, FLEET, by=metrics.SERVABLE_GATE.labels)
    build = promql.value(metrics.BUILD, FLEET, by=["instance", *metrics.BUILD.labels])
    workers = promql.total_value(metrics.WORKERS, FLEET, by=["instance"])
    return Line(
        8,
        (
            table(
                "Golden gates",
                "The versions that are served, and whether each reproduced its golden scores on "
                "this machine, to how many decimals. Click a model for its board.",
                gate,
                Column("served", gates, shown=False),
            ),
            number(
                "Workers",
                "Worker processes that are alive, by server.",
                "none",
                Query(workers, "{{instance}}"),
            ),
            table(
                "Builds",
                "Versions of samescore and of Python, by server.",
                Labels({"instance": "Server", "version": "samescore", "python": "Python"}),
                Column("running", build, shown=False),
            ),
        ),
    )


def _versions() -> Line:
    by_version = ["model", "version"]
    created = promql.value(metrics.SERVABLE_CREATED, FLEET, by=by_version)
    failed = promql.value(metrics.VERSION_LOAD_FAILED, FLEET, by=["instance", *by_version])
    return Line(
        7,
        (
            number(
                "Age of the served versions",
                "Time since the bundle of each available version was made.",
                "dtdurations",
                Query(f"time() - {created}", "{{model}}/{{version}}"),
            ),
            table(
                "Versions that could not be loaded",
                "Versions that should be available and are not; /models of the server says why. "
                "The version before serves in their place.",
                Labels({"instance": "Server", "model": "Model", "version": "Version"}),
                Column("failed", failed, shown=False),
            ),
        ),
    )


def _drift() -> Line:
    by_model = ["model", "version"]
    by_feature = [*by_model, "feature"]
    features = promql.value(metrics.FEATURE_PSI, FLEET, by=by_feature)
    return Line(
        8,
        (
            lines(
                "Score PSI",
                "Population stability index of the scores against the frozen reference. Few rows "
                "in the window make it large by chance: see the rows beside it.",
                "none",
                Query(promql.value(metrics.SCORE_PSI, FLEET, by=by_model), "{{model}}/{{version}}"),
                limits=PSI_LIMITS,
            ),
            lines(
                "Highest feature PSI",
                "The ten features of all models that moved most against the frozen reference.",
                "none",
                Query(promql.highest(10, features), "{{model}}/{{version}} {{feature}}"),
                limits=PSI_LIMITS,
            ),
            lines(
                "Rows in the window",
                "Rows from which the stability indices are computed, by model.",
                "short",
                Query(
                    promql.value(metrics.WINDOW_ROWS, FLEET, by=by_model), "{{model}}/{{version}}"
                ),
            ),
        ),
    )
