"""Panels in the house's form: each with a title, a description, a unit and the board's data source.

A panel comes without an id and a position: `board.py` gives it both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from grafana_foundation_sdk.builders import common as look
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders import heatmap as heat
from grafana_foundation_sdk.builders import prometheus, stat, timeseries
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE: Final = dashboard.DataSourceRef(type_val="prometheus", uid="${datasource}")

ALERT_PREFIX: Final = "Samescore"
"""Every alert of the house has a name that begins so."""


@dataclass(frozen=True, slots=True)
class Query:
    """One expression of a panel.

    Attributes:
        legend: a series' name, with ``{{label}}`` for a label's value.
        exemplars: show the ids of single requests beside the lines; for a histogram or a counter.
    """

    expr: str
    legend: str
    exemplars: bool = False


@dataclass(frozen=True, slots=True)
class Limit:
    """A value from which on a panel changes its colour."""

    value: float
    color: str


PSI_LIMITS: Final = (Limit(0.1, "yellow"), Limit(0.25, "red"))
"""The field's convention: below 0.1 stable, from 0.25 on shifted. Alerts have their own limits."""


def lines(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    stacked: bool = False,
    limits: Sequence[Limit] = (),
    may_fall_below_zero: bool = False,
) -> dashboard.Panel:
    """Return a panel of lines over time, from zero up.

    Args:
        title: what is seen.
        description: what it means, for the person who meets it at night.
        unit: id of a Grafana unit, for example ``"reqps"`` or ``"s"``.
        queries: one or more.
        stacked: the lines are parts of a whole.
        limits: drawn as dashed lines.
        may_fall_below_zero: the axis goes as far down as the lines do.
    """
    mode = common.StackingMode.NORMAL if stacked else common.StackingMode.NONE
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .unit(unit)
        .datasource(SOURCE)
        .fill_opacity(40 if stacked else 10)
        .show_points(common.VisibilityMode.NEVER)
        .stacking(look.StackingConfig().mode(mode))
        .legend(_legend())
        .tooltip(
            look.VizTooltipOptions()
            .mode(common.TooltipDisplayMode.MULTI)
            .sort(common.SortOrder.DESCENDING)
        )
        .targets([_over_time(i, query) for i, query in enumerate(queries)])
    )
    if not may_fall_below_zero:
        panel = panel.min(0)
    if limits:
        dashed = look.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED)
        panel = panel.thresholds(thresholds(limits)).thresholds_style(dashed)
    return panel.build()


def number(
    title: str, description: str, unit: str, query: Query, *, limits: Sequence[Limit] = ()
) -> dashboard.Panel:
    """Return a panel with the present value of each series, large; see `lines`."""
    value = look.ReduceDataOptions().calcs(["lastNotNull"]).values(False)
    return (
        stat.Panel()
        .title(title)
        .description(description)
        .unit(unit)
        .datasource(SOURCE)
        .reduce_options(value)
        .graph_mode(common.BigValueGraphMode.NONE)
        .text_mode(common.BigValueTextMode.VALUE_AND_NAME)
        .color_mode(common.BigValueColorMode.VALUE)
        .thresholds(thresholds(limits))
        .targets([_over_time(0, query)])
        .build()
    )


def heatmap(title: str, description: str, unit: str, expr: str) -> dashboard.Panel:
    """Return a panel of a histogram's buckets over time; `expr` keeps the label `le`."""
    target = _over_time(0, Query(expr, "{{le}}")).format(PromQueryFormat.HEATMAP)
    color = heat.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Oranges").steps(64)
    return (
        heat.Panel()
        .title(title)
        .description(description)
        .unit(unit)
        .datasource(SOURCE)
        .calculate(False)
        .color(color)
        .y_axis(heat.YAxisConfig().unit(unit))
        .show_legend()
        .targets([target])
        .build()
    )


def alerts(title: str, description: str) -> dashboard.Panel:
    """Return Grafana's own list of alerts, of those whose names begin as the house's do.

    It has no query: Grafana asks each rule source itself.
    """
    states = {"firing": True, "pending": True, "error": True, "noData": False, "normal": False}
    options = {
        "alertName": ALERT_PREFIX,
        "alertInstanceLabelFilter": "",
        "dashboardAlerts": False,
        "groupBy": [],
        "groupMode": "default",
        "maxItems": 20,
        "sortOrder": 3,
        "stateFilter": states,
        "viewMode": "list",
    }
    return (
        build.Panel()
        .type("alertlist")
        .title(title)
        .description(description)
        .unit("none")
        .datasource(SOURCE)
        .options(options)
        .build()
    )


def thresholds(limits: Sequence[Limit], below: str = "green") -> build.ThresholdsConfig:
    """Return absolute thresholds, of one colour below the first limit."""
    steps = [dashboard.Threshold(None, below)]
    steps += [dashboard.Threshold(limit.value, limit.color) for limit in limits]
    return build.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(steps)


def letter(index: int) -> str:
    """Return the name by which a panel refers to its query: A for the first."""
    return chr(ord("A") + index)


def _over_time(index: int, query: Query) -> prometheus.Dataquery:
    target = prometheus.Dataquery().expr(query.expr).legend_format(query.legend)
    if query.exemplars:
        target = target.exemplar(True)
    return target.range().ref_id(letter(index)).datasource(SOURCE)


def _legend() -> look.VizLegendOptions:
    return (
        look.VizLegendOptions()
        .display_mode(common.LegendDisplayMode.LIST)
        .placement(common.LegendPlacement.BOTTOM)
        .show_legend(True)
        .calcs([])
    )
