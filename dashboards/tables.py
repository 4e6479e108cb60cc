"""Tables of what holds now: a row for each set of labels, a column for each expression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from grafana_foundation_sdk.builders import common as look
from grafana_foundation_sdk.builders import prometheus
from grafana_foundation_sdk.builders import table as build
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from dashboards.panels import SOURCE, Limit, letter, thresholds


@dataclass(frozen=True, slots=True)
class Column:
    """A column of values.

    Attributes:
        unit: id of a Grafana unit; see `panels.lines`.
        limits: from which on a cell changes its colour.
        below: the colour below the first limit.
        shown: False for a number that says nothing, such as the 1 of an info metric.
    """

    title: str
    expr: str
    unit: str = "none"
    limits: tuple[Limit, ...] = ()
    below: str = "green"
    shown: bool = True


@dataclass(frozen=True, slots=True)
class Labels:
    """The columns of labels.

    Attributes:
        titles: label to column title, in the order of the columns.
        colors: column title to the colour of each value that has one.
        links: column title to the address to which its cells lead.
    """

    titles: Mapping[str, str]
    colors: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)


def table(
    title: str, description: str, labels: Labels, *columns: Column, largest_first: str = ""
) -> dashboard.Panel:
    """Return a table; queries with the same labels share a row.

    Args:
        title: what is seen.
        description: what it means.
        labels: the first columns.
        columns: the columns of values, one for each query.
        largest_first: title of the column to sort by.
    """
    panel = (
        build.Panel()
        .title(title)
        .description(description)
        .unit("none")
        .datasource(SOURCE)
        .cell_height(common.TableCellHeight.SM)
        .targets([_now(i, column) for i, column in enumerate(columns)])
        .transformations(_merged(labels, columns))
    )
    if largest_first:
        panel = panel.sort_by([look.TableSortByFieldState().display_name(largest_first).desc(True)])
    for column in columns:
        if column.shown:
            panel = panel.override_by_name(column.title, _cells(column))
    for name, colors in labels.colors.items():
        panel = panel.override_by_name(name, _colored(colors))
    for name, url in labels.links.items():
        panel = panel.override_by_name(name, [_link(url)])
    return panel.build()


def _now(index: int, column: Column) -> prometheus.Dataquery:
    target = prometheus.Dataquery().expr(column.expr).format(PromQueryFormat.TABLE)
    return target.instant().ref_id(letter(index)).datasource(SOURCE)


def _merged(labels: Labels, columns: Sequence[Column]) -> list[dashboard.DataTransformerConfig]:
    """Join the answers by their labels; then order, name and hide the columns.

    Grafana calls the values `Value` when there is one query, else `Value #A`, `Value #B`, ...
    """
    one = len(columns) == 1
    values = ["Value" if one else f"Value #{letter(i)}" for i in range(len(columns))]
    names = [*labels.titles, *values]
    titles = [*labels.titles.values(), *(column.title for column in columns)]
    hidden = [value for value, column in zip(values, columns, strict=True) if not column.shown]
    organize = {
        "excludeByName": dict.fromkeys(["Time", *hidden], True),
        "includeByName": {},
        "indexByName": {name: i for i, name in enumerate(names)},
        "renameByName": {
            name: title for name, title in zip(names, titles, strict=True) if name not in hidden
        },
    }
    return [
        dashboard.DataTransformerConfig("merge", options={}),
        dashboard.DataTransformerConfig("organize", options=organize),
    ]


def _cells(column: Column) -> list[dashboard.DynamicConfigValue]:
    cells = [dashboard.DynamicConfigValue("unit", column.unit)]
    if column.limits:
        limits = thresholds(column.limits, column.below).build()
        cells += [dashboard.DynamicConfigValue("thresholds", limits.to_json()), _COLOR_TEXT]
    return cells


def _colored(colors: Mapping[str, str]) -> list[dashboard.DynamicConfigValue]:
    options = {text: {"color": color, "index": i} for i, (text, color) in enumerate(colors.items())}
    mapping = [{"type": "value", "options": options}]
    return [dashboard.DynamicConfigValue("mappings", mapping), _COLOR_TEXT]


def _link(url: str) -> dashboard.DynamicConfigValue:
    link = {"title": "Open the model's board", "url": url, "targetBlank": False}
    return dashboard.DynamicConfigValue("links", [link])


_COLOR_TEXT = dashboard.DynamicConfigValue("custom.cellOptions", {"type": "color-text"})
