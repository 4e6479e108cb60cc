"""The model board's view of the drift job: the last window that it judged."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.models import dashboard

from dashboards import promql
from dashboards.board import Line
from dashboards.panels import PSI_LIMITS, Limit, Query, lines, number
from dashboards.promql import MODEL
from dashboards.tables import Column, Labels, table
from monitors import metrics

_BY_VERSION: Final = ["version"]
_TWO_RUNS_SECONDS: Final = 2 * 24 * 3600.0
"""The job runs daily: after two missed runs it is late."""


def drift_job() -> tuple[Line, ...]:
    """Return the lines of the section on the drift job."""
    numbers = (_verdict(), _age(), _window_end(), _rows())
    return (Line(6, numbers), Line(9, (_features(), _scores())))


def _verdict() -> dashboard.Panel:
    return number(
        "Drift",
        "1 when the last window that the drift job judged has drifted, else 0.",
        "none",
        Query(promql.value(metrics.DRIFT_DETECTED, MODEL, by=_BY_VERSION), "{{version}}"),
        limits=(Limit(1, "red"),),
    )


def _age() -> dashboard.Panel:
    last = promql.value(metrics.DRIFT_LAST_SUCCESS, MODEL, by=_BY_VERSION)
    return number(
        "Since the last verdict",
        "Time since the drift job last ended with a verdict, drift or none.",
        "dtdurations",
        Query(f"time() - {last}", "{{version}}"),
        limits=(Limit(_TWO_RUNS_SECONDS, "red"),),
    )


def _window_end() -> dashboard.Panel:
    end = promql.value(metrics.DRIFT_WINDOW_END, MODEL, by=_BY_VERSION)
    return number(
        "End of the judged window",
        "Where the last window that the drift job judged ends.",
        "dateTimeAsIso",
        # Grafana counts its dates in milliseconds.
        Query(f"{end} * 1000", "{{version}}"),
    )


def _rows() -> dashboard.Panel:
    return number(
        "Rows judged",
        "Rows in the last window that the drift job judged.",
        "short",
        Query(promql.value(metrics.DRIFT_ROWS, MODEL, by=_BY_VERSION), "{{version}}"),
    )


def _features() -> dashboard.Panel:
    psi = promql.value(metrics.DRIFT_FEATURE_PSI, MODEL, by=["version", "feature"])
    return table(
        "Features in the judged window",
        "Population stability index of each feature in the last window that the drift job judged.",
        Labels({"version": "Version", "feature": "Feature"}),
        Column("PSI", psi, limits=PSI_LIMITS),
        largest_first="PSI",
    )


def _scores() -> dashboard.Panel:
    return lines(
        "Score PSI of the judged windows",
        "Population stability index of the scores, one step for each window that the job judged.",
        "none",
        Query(promql.value(metrics.DRIFT_SCORE_PSI, MODEL, by=_BY_VERSION), "{{version}}"),
        limits=PSI_LIMITS,
    )
