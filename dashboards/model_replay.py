"""The model board's view of scheduled replays: what the last one found."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.models import dashboard

from dashboards import promql
from dashboards.board import Line
from dashboards.panels import Limit, Query, lines, number
from dashboards.promql import MODEL
from monitors import metrics

_BY_VERSION: Final = ["version"]
_TWO_RUNS_SECONDS: Final = 2 * 24 * 3600.0
"""A replay runs daily: after two missed runs it is late."""


def replays() -> tuple[Line, ...]:
    """Return the lines of the section on replays."""
    return (Line(6, (_agrees(), _age(), _rows())), Line(8, (_differing(),)))


def _agrees() -> dashboard.Panel:
    agrees = promql.value(metrics.REPLAY_AGREES, MODEL, by=_BY_VERSION)
    return number(
        "Versions whose replay differs",
        "1: the last scheduled replay of the version found a difference, or a log with lines lost.",
        "short",
        Query(f"1 - {agrees}", "{{version}}"),
        limits=(Limit(1.0, "red"),),
    )


def _age() -> dashboard.Panel:
    last = promql.value(metrics.REPLAY_LAST_SUCCESS, MODEL, by=_BY_VERSION)
    return number(
        "Since the last replay",
        "Time since a scheduled replay last ended with a verdict, whichever.",
        "dtdurations",
        Query(f"time() - {last}", "{{version}}"),
        limits=(Limit(_TWO_RUNS_SECONDS, "red"),),
    )


def _rows() -> dashboard.Panel:
    return number(
        "Rows replayed",
        "Rows that the last scheduled replay compared with what was answered.",
        "short",
        Query(promql.value(metrics.REPLAY_ROWS, MODEL, by=_BY_VERSION), "{{version}}"),
    )


def _differing() -> dashboard.Panel:
    differing = promql.value(metrics.REPLAY_DIFFERING_ROWS, MODEL, by=["version", "stage"])
    return lines(
        "Rows that differ, by stage",
        "Rows of each replay that differ in a stage. Look at the earliest one: payload, features, "
        "outputs, scores; later stages follow from it.",
        "short",
        Query(differing, "{{version}} {{stage}}"),
    )
