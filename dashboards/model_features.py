"""The model board's features and its expectation suite."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.models import dashboard

from dashboards import promql
from dashboards.board import Line
from dashboards.panels import PSI_LIMITS, Limit, Query, lines
from dashboards.promql import MODEL
from dashboards.tables import Column, Labels, table
from monitors import metrics

_BY_FEATURE: Final = ["version", "feature"]
_MANY: Final = 10
"""Lines that a panel can show legibly."""


def features() -> tuple[Line, ...]:
    """Return the lines of the section on features."""
    psi = promql.value(metrics.FEATURE_PSI, MODEL, by=_BY_FEATURE)
    moved = lines(
        "Highest feature PSI",
        "The ten features that moved most against the frozen reference.",
        "none",
        Query(promql.highest(_MANY, psi), "{{version}} {{feature}}"),
        limits=PSI_LIMITS,
    )
    return (
        Line(10, (_all_features(psi), moved)),
        Line(
            8,
            (
                _share("Missing", metrics.FEATURE_MISSING, "was missing"),
                _share("Unseen category", metrics.FEATURE_UNSEEN, "was a category not in training"),
                _share(
                    "Out of range", metrics.FEATURE_OUT_OF_RANGE, "lay outside training's range"
                ),
            ),
        ),
    )


def _all_features(psi: str) -> dashboard.Panel:
    return table(
        "Features",
        "PSI of the sliding window; and, of the rows scored in the board's time range, the share "
        "in which the feature was missing (in training: beside it), unseen or out of range.",
        Labels({"version": "Version", "feature": "Feature"}),
        Column("PSI", psi, limits=PSI_LIMITS),
        _over_range("Missing", metrics.FEATURE_MISSING),
        Column(
            "Missing in training",
            promql.value(metrics.FEATURE_REFERENCE_MISSING, MODEL, by=_BY_FEATURE),
            "percentunit",
        ),
        _over_range("Unseen", metrics.FEATURE_UNSEEN),
        _over_range("Out of range", metrics.FEATURE_OUT_OF_RANGE),
        largest_first="PSI",
    )


def _over_range(title: str, metric: metrics.Metric) -> Column:
    rows = promql.increase(metrics.ROWS, MODEL, promql.SCORED, by=["version"])
    part = promql.increase(metric, MODEL, by=_BY_FEATURE)
    return Column(title, promql.share_of(part, rows, on=["version"]), "percentunit")


def _share(title: str, metric: metrics.Metric, happened: str) -> dashboard.Panel:
    rows = promql.rate(metrics.ROWS, MODEL, promql.SCORED, by=["version"])
    share = promql.share_of(promql.rate(metric, MODEL, by=_BY_FEATURE), rows, on=["version"])
    return lines(
        f"{title} by feature",
        f"Share of the scored rows in which a feature {happened}; the ten highest.",
        "percentunit",
        Query(promql.highest(_MANY, share), "{{version}} {{feature}}"),
    )


def suite() -> Line:
    """Return the line about the rules of the expectation suite."""
    labels = ["rule", "action"]
    return Line(
        8,
        (
            lines(
                "Suite violations",
                "Rows per second that broke a row-level rule of the expectation suite, rejected, "
                "flagged or only counted.",
                "cps",
                Query(
                    promql.rate(metrics.SUITE_VIOLATIONS, MODEL, by=labels), "{{rule}} {{action}}"
                ),
            ),
            table(
                "Rules broken most",
                "Rows that broke each rule in the board's time range.",
                Labels({"rule": "Rule", "action": "Action"}, colors={"Action": _ACTIONS}),
                Column(
                    "Rows",
                    promql.increase(metrics.SUITE_VIOLATIONS, MODEL, by=labels),
                    "short",
                    (Limit(1, "yellow"),),
                ),
                largest_first="Rows",
            ),
        ),
    )


_ACTIONS: Final = {"rejected": "red", "flagged": "yellow", "counted": "blue"}
