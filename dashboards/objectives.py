"""Error budgets and burn rates, as the rules of an SLO file record them."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.models import dashboard

from dashboards import promql
from dashboards.board import Line
from dashboards.panels import Limit, Query, lines
from dashboards.promql import FLEET, MODEL
from dashboards.tables import Column, Labels, table
from monitors import metrics

_HOW: Final = "It needs an SLO file, and is of all servers of a job: choose All as Instance."
_BUDGET_LIMITS: Final = (Limit(0, "yellow"), Limit(0.25, "green"))
_BURN_LIMITS: Final = (Limit(1, "yellow"), Limit(6, "orange"), Limit(14.4, "red"))
"""Spent when the window ends; the two burn rates that page."""
_MANY: Final = 10
"""Lines that a panel can show legibly."""


def of_all(model_url: str) -> Line:
    """Return the overview's line: every objective, and those that burn fastest.

    Args:
        model_url: where a model's name leads.
    """
    by = metrics.SLO_BUDGET_LEFT.labels
    titles = {"model": "Model", "objective": "Objective", "window": "Window"}
    burning = promql.highest(_MANY, promql.value(metrics.SLO_BURN_RATE, FLEET, by=by))
    return Line(
        8,
        (
            table(
                "Error budgets",
                "What is left of the error budget of each objective in its window; below 0 the "
                f"promise is broken. {_HOW} Click a model for its board.",
                Labels(titles, links={"Model": model_url}),
                Column(
                    "Left",
                    promql.value(metrics.SLO_BUDGET_LEFT, FLEET, by=by),
                    unit="percentunit",
                    limits=_BUDGET_LIMITS,
                    below="red",
                ),
            ),
            _burn_rates(
                "Fastest burns",
                "The ten error budgets and windows that burn fastest.",
                Query(burning, "{{model}} {{objective}} {{window}}"),
            ),
        ),
    )


def of_model() -> Line:
    """Return the model board's line: what is left over time, and how fast it burns."""
    left = promql.value(metrics.SLO_BUDGET_LEFT, MODEL, by=["objective", "window"])
    burning = promql.value(metrics.SLO_BURN_RATE, MODEL, by=["objective", "window"])
    return Line(
        8,
        (
            lines(
                "Error budget left",
                "Share of the error budget of each objective that is left in its window, 1 down to "
                f"below 0, where the promise is broken. {_HOW}",
                "percentunit",
                Query(left, "{{objective}} {{window}}"),
                may_fall_below_zero=True,
            ),
            _burn_rates(
                "Burn rates",
                "How fast each error budget burns, over each window that an alert looks at.",
                Query(burning, "{{objective}} {{window}}"),
            ),
        ),
    )


def _burn_rates(title: str, what: str, query: Query) -> dashboard.Panel:
    return lines(
        title,
        f"{what} At 1 a budget is spent just when its window ends. A page needs a fast burn in a "
        f"long window and in a short one, so that it matters and still goes on. {_HOW}",
        "none",
        query,
        limits=_BURN_LIMITS,
    )
