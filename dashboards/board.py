"""What every board has: the data source, job and instance variables, the links and the grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import dashboard
from grafana_foundation_sdk.models.dashboard import VariableRefresh, VariableSort

from dashboards.panels import SOURCE
from dashboards.promql import FLEET, Scope, label_values
from monitors.metrics import DRIFT_ROWS, REPLAY_ROWS, SERVABLE_GATE, WORKERS, Metric

GRID_COLUMNS: Final = 24
TAG: Final = "samescore"
KEEP: Final = (
    "${__url_time_range}&${datasource:queryparam}&${job:queryparam}&${instance:queryparam}"
)
"""What a link to another board takes along."""

TARGETS: Final[tuple[Metric, ...]] = (WORKERS, DRIFT_ROWS, REPLAY_ROWS)
"""Metrics of all servers, and of scheduled jobs: where the variables find jobs and instances."""

MODELS: Final[tuple[Metric, ...]] = (SERVABLE_GATE, DRIFT_ROWS, REPLAY_ROWS)
"""Metrics of all models: those that are served, and those that a scheduled job looked at."""


@dataclass(frozen=True, slots=True)
class Line:
    """Panels side by side.

    Attributes:
        height: in grid rows of 30 px.
        panels: they share the width equally; 1, 2, 3, 4 or 6 of them.
    """

    height: int
    panels: tuple[dashboard.Panel, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """A titled part of a board, of one or more lines."""

    title: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class BoardText:
    """A board's words.

    Attributes:
        uid: stable for ever: links, alerts and publishing go by it.
    """

    uid: str
    title: str
    description: str


def assemble(
    text: BoardText,
    sections: Sequence[Section],
    variables: Sequence[build.QueryVariable] = (),
) -> dashboard.Dashboard:
    """Return a board; it cannot be edited in Grafana, since the next publishing would undo it.

    Args:
        text: the board's words.
        sections: its parts, from the top.
        variables: those behind `datasource`, `job` and `instance`.
    """
    board = (
        build.Dashboard(text.title)
        .uid(text.uid)
        .description(text.description)
        .tags([TAG])
        .readonly()
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .time("now-6h", "now")
        .timezone("browser")
        .refresh("30s")
        .variables([_data_source(), *_targets(), *variables])
        .links([_boards_link()])
        .build()
    )
    board.panels = _laid_out(sections)
    for chosen in board.templating.list_val or ():
        # The SDK gives every variable those fields of an interval, which Grafana's schema lacks.
        chosen.auto = chosen.auto_min = chosen.auto_count = None
    return board


def variable(name: str, query: str) -> build.QueryVariable:
    """Return a variable with its values from Prometheus; its label is its name, capitalised."""
    return (
        build.QueryVariable(name)
        .label(name.capitalize())
        .datasource(SOURCE)
        .query(query)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
    )


def any_of(chosen: build.QueryVariable) -> build.QueryVariable:
    """Let a variable take several values, and all of them to begin with."""
    everything = dashboard.VariableOption(selected=True, text=["All"], value=["$__all"])
    return chosen.multi(True).include_all(True).all_value(".+").current(everything)


def _data_source() -> build.DatasourceVariable:
    default = dashboard.VariableOption(selected=True, text="default", value="default")
    return (
        build.DatasourceVariable("datasource")
        .label("Data source")
        .type("prometheus")
        .current(default)
    )


def _targets() -> list[build.QueryVariable]:
    of_jobs: Scope = {"job": FLEET["job"]}
    return [
        any_of(variable("job", label_values(TARGETS, "job", {}))),
        any_of(variable("instance", label_values(TARGETS, "instance", of_jobs))),
    ]


def _boards_link() -> build.DashboardLink:
    return (
        build.DashboardLink("samescore boards")
        .type(dashboard.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .icon("external link")
        .as_dropdown(False)
        .include_vars(True)
        .keep_time(True)
        .target_blank(False)
        .tooltip("The other boards, with the same time and variables")
    )


def _laid_out(
    sections: Sequence[Section],
) -> list[dashboard.Panel | dashboard.RowPanel]:
    """Give each panel its id and its place, from the top left."""
    panels: list[dashboard.Panel | dashboard.RowPanel] = []
    y = 0
    for section in sections:
        row = build.Row(section.title).id(len(panels) + 1)
        panels.append(row.grid_pos(dashboard.GridPos(1, GRID_COLUMNS, 0, y)).build())
        y += 1
        for line in section.lines:
            width = GRID_COLUMNS // len(line.panels)
            for i, panel in enumerate(line.panels):
                panel.id_val = len(panels) + 1
                panel.grid_pos = dashboard.GridPos(line.height, width, i * width, y)
                panels.append(panel)
            y += line.height
    return panels
