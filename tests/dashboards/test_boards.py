"""What every board of the house must be, beyond the linter's rules."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest

from consistency.scored import STAGES, Outcome
from dashboards.model import model
from dashboards.overview import overview
from dashboards.panels import ALERT_PREFIX
from dashboards.render import Board, boards
from monitors.alerting import alerts
from monitors.alerting.settings import AlertSettings
from monitors.metrics import (
    CATALOGUE,
    JOB_CATALOGUE,
    REQUESTS,
    SLO_CATALOGUE,
    STAGE_LATENCY,
    Metric,
    MetricKind,
)
from monitors.suites.compiled.guard import Action
from serving.backends.instance_errors import Attempt
from tests.dashboards.expressions import COUNTER_FUNCTIONS, Selector, nodes, parse, selectors
from tests.dashboards.linter import panels, targets, variables

ROOT = Path(__file__).parents[2]
GENERATED = ROOT / "dashboards" / "generated"
BOARDS = list(boards())
METRICS = {metric.name: metric for metric in (*CATALOGUE, *JOB_CATALOGUE, *SLO_CATALOGUE)}
PARTS = ("_bucket", "_sum", "_count")
GRID_COLUMNS = 24

each_board = pytest.mark.parametrize("board", BOARDS, ids=lambda b: b.uid)


def metric_of(name: str) -> Metric:
    """Return the catalogue's metric of a series, and fail where there is none."""
    if name in METRICS:
        return METRICS[name]
    part = next(p for p in PARTS if name.endswith(p))
    metric = METRICS[name.removesuffix(part)]
    assert metric.kind is MetricKind.HISTOGRAM, name
    return metric


def expressions(board: Board) -> list[str]:
    return [target["expr"] for _, target in targets(dict(board.content))]


def test_the_boards_are_the_two_of_the_house() -> None:
    assert [(b.uid, b.title) for b in BOARDS] == [
        ("samescore-overview", "samescore / Overview"),
        ("samescore-model", "samescore / Model"),
    ]


def test_building_twice_gives_the_same_bytes() -> None:
    assert [b.text for b in boards()] == [b.text for b in boards()]


@each_board
def test_the_committed_file_is_current(board: Board) -> None:
    text = (GENERATED / board.file_name).read_text(encoding="utf-8")
    assert text == board.text, "run: samescore dashboards build"


def test_no_file_of_a_former_board_is_left() -> None:
    assert {p.name for p in GENERATED.iterdir()} == {b.file_name for b in BOARDS}


@each_board
def test_panels_have_ids_of_their_own_and_lie_side_by_side(board: Board) -> None:
    everything = board.content["panels"]
    ids = [p["id"] for p in everything]
    assert ids == list(range(1, len(ids) + 1))
    cells: set[tuple[int, int]] = set()
    for panel in everything:
        at = panel["gridPos"]
        assert at["x"] >= 0
        assert at["x"] + at["w"] <= GRID_COLUMNS
        mine = set(
            itertools.product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"]))
        )
        assert not mine & cells, panel["title"]
        cells |= mine
    bottom = max(y for _, y in cells) + 1
    assert len(cells) == bottom * GRID_COLUMNS, "the grid has a hole"


@each_board
def test_a_row_begins_each_part_and_requests_come_first(board: Board) -> None:
    kinds = [p["type"] for p in board.content["panels"]]
    titles = [p["title"] for p in board.content["panels"]]
    assert kinds[0] == "row"
    assert titles[:4] == [
        "Requests: rate, errors, duration",
        "Requests by outcome",
        "Error ratio",
        "Latency",
    ]
    assert all(not (a == b == "row") for a, b in itertools.pairwise(kinds)), "an empty row"
    assert kinds[-1] != "row"
    rows = [p["title"] for p in board.content["panels"] if p["type"] == "row"]
    assert len(rows) == len(set(rows))


@each_board
def test_queries_of_a_panel_have_names_of_their_own(board: Board) -> None:
    for panel in panels(dict(board.content)):
        names = [t["refId"] for t in panel.get("targets", ())]
        assert len(names) == len(set(names)), panel["title"]


@each_board
def test_the_other_boards_are_linked_with_time_and_variables(board: Board) -> None:
    (link,) = board.content["links"]
    assert link["type"] == "dashboards"
    assert link["tags"] == board.content["tags"] == ["samescore"]
    assert link["keepTime"] is True
    assert link["includeVars"] is True
    assert board.content["uid"] in {"samescore-overview", "samescore-model"}


def test_a_link_in_a_cell_keeps_time_and_variables() -> None:
    overview_board, model_board = BOARDS
    urls = re.findall(r'"url": "(/d/[^"]+)"', overview_board.text)
    assert urls
    names = {v["name"] for v in model_board.content["templating"]["list"]}
    for url in urls:
        assert url.startswith(f"/d/{model_board.uid}?")
        assert "${__url_time_range}" in url
        kept = set(re.findall(r"\$\{(\w+):queryparam\}", url))
        assert kept == {"datasource", "job", "instance"}
        assert set(re.findall(r"var-(\w+)=", url)) | kept <= names


@each_board
def test_every_metric_is_in_the_catalogue_and_used_as_its_kind_allows(board: Board) -> None:
    for expr in expressions(board):
        for selector in selectors(expr):
            metric = metric_of(selector.name)
            if metric.kind in {MetricKind.COUNTER, MetricKind.HISTOGRAM}:
                assert selector.function in COUNTER_FUNCTIONS, expr
            else:
                assert not selector.is_ranged, expr
            if metric.kind is MetricKind.HISTOGRAM:
                assert selector.name != metric.name, expr
            labels = {label for label, _, _ in selector.matchers}
            assert labels <= {"job", "instance", *metric.labels}, expr


@each_board
def test_only_labels_that_the_metrics_have_are_kept(board: Board) -> None:
    for expr in expressions(board):
        known = {"instance"}
        for selector in selectors(expr):
            metric = metric_of(selector.name)
            known |= {*metric.labels, *(["le"] if metric.kind is MetricKind.HISTOGRAM else [])}
        for node in nodes(parse(expr)):
            modifier = getattr(node.at, "modifier", None)
            kept = getattr(modifier, "labels", None) or ()
            assert set(kept) <= known, expr


@each_board
def test_buckets_keep_le_and_quantiles_are_made_of_buckets(board: Board) -> None:
    for expr in expressions(board):
        buckets = [s for s in selectors(expr) if s.name.endswith("_bucket")]
        if "histogram_quantile" in expr:
            assert buckets
        for _ in buckets:
            sums = [n.at for n in nodes(parse(expr)) if type(n.at).__name__ == "AggregateExpr"]
            assert any("le" in s.modifier.labels for s in sums), expr


@each_board
def test_values_of_labels_are_those_that_the_house_knows(board: Board) -> None:
    known = {"outcome": set(Outcome), "stage": set(STAGES), "result": set(Attempt)}
    found = [s for expr in expressions(board) for s in selectors(expr)]
    for label, _, value in (m for s in found for m in s.matchers if "$" not in m[2]):
        assert set(value.split("|")) <= known[label], value


def test_the_colours_of_actions_are_of_real_actions() -> None:
    (table,) = (p for p in BOARDS[1].content["panels"] if p["title"] == "Rules broken most")
    (override,) = (
        o for o in table["fieldConfig"]["overrides"] if o["matcher"]["options"] == "Action"
    )
    (mapping,) = override["properties"][0]["value"]
    assert set(mapping["options"]) == set(Action)


@each_board
def test_no_expression_hides_that_there_is_nothing(board: Board) -> None:
    for expr in expressions(board):
        assert not hides_emptiness(expr), expr


def hides_emptiness(expr: str) -> bool:
    for node in nodes(parse(expr)):
        if str(getattr(node.at, "op", "")) == "or":
            return True
        if type(node.at).__name__ == "Call" and node.at.func.name in {"vector", "absent"}:
            return True
    return False


@pytest.mark.parametrize("expr", ["max(x) or vector(0)", "x or on() y", "absent(x)"])
def test_hiding_is_seen(expr: str) -> None:
    assert hides_emptiness(expr)


def test_every_metric_of_the_catalogue_is_on_a_board() -> None:
    shown = {metric_of(s.name).name for b in BOARDS for e in expressions(b) for s in selectors(e)}
    assert shown == set(METRICS)


def test_a_query_asks_for_single_requests_only_where_a_request_is_counted() -> None:
    """Exemplars are on histogram buckets and counters; no other series has them."""
    asked = [t["expr"] for b in BOARDS for _, t in targets(dict(b.content)) if t.get("exemplar")]
    assert len(asked) == 6
    for expr in asked:
        (selector,) = selectors(expr)
        assert metric_of(selector.name).name in {REQUESTS.name, STAGE_LATENCY.name}


def test_no_metric_is_spelled_in_the_boards_code() -> None:
    paths = sorted((ROOT / "dashboards").rglob("*.py"))
    assert ROOT / "dashboards" / "model.py" in paths
    for path in paths:
        assert not re.search(r"samescore_\w+", path.read_text(encoding="utf-8")), path


@each_board
def test_the_variables_of_all_selectors_exist(board: Board) -> None:
    names = {v["name"] for v in board.content["templating"]["list"]}
    used: set[str] = set()
    for expr in [*expressions(board), *(v["query"] for v in queries(board))]:
        used |= set(re.findall(r"\$\{?(\w+)", expr)) - {"__rate_interval", "__range"}
    assert used | {"datasource"} == names


def queries(board: Board) -> list[dict[str, Any]]:
    return variables(dict(board.content), "query")


@each_board
def test_a_variable_is_found_before_the_one_that_asks_with_it(board: Board) -> None:
    known: set[str] = set()
    for one in queries(board):
        assert set(re.findall(r"\$(\w+)", one["query"])) <= known, one["name"]
        known.add(one["name"])


def test_only_a_variable_of_one_value_is_matched_without_a_regular_expression() -> None:
    for board in BOARDS:
        multi = {v["name"] for v in queries(board) if v.get("multi")}
        for selector in (s for e in expressions(board) for s in selectors(e)):
            for label, operator, value in selector.matchers:
                if value.startswith("$"):
                    assert (operator == "=~") == (value[1:] in multi), (board.uid, label)


def test_a_table_names_and_places_each_of_its_columns() -> None:
    for board in BOARDS:
        for panel in panels(dict(board.content)):
            if panel["type"] == "table":
                check_columns(panel)


def check_columns(panel: dict[str, Any]) -> None:
    (organize,) = (t["options"] for t in panel["transformations"] if t["id"] == "organize")
    titles = set(organize["renameByName"].values())
    overridden = {o["matcher"]["options"] for o in panel["fieldConfig"]["overrides"]}
    assert overridden <= titles, panel["title"]
    sorted_by = {s["displayName"] for s in panel["options"].get("sortBy", ())}
    assert sorted_by <= titles
    answered: set[str] = set()
    for target in panel["targets"]:
        assert target["format"] == "table"
        assert target["instant"] is True
        answered |= kept_labels(target["expr"])
    values = {n for n in organize["indexByName"] if n.startswith("Value")}
    assert len(values) == len(panel["targets"])
    assert set(organize["indexByName"]) - values == answered
    assert set(organize["renameByName"]) | set(organize["excludeByName"]) == {
        *organize["indexByName"],
        "Time",
    }


def kept_labels(expr: str) -> set[str]:
    """Return the labels of an expression's answer: those of its first aggregation."""
    first = next(n.at for n in nodes(parse(expr)) if type(n.at).__name__ == "AggregateExpr")
    return set(first.modifier.labels)


def test_alerts_lead_to_a_board_that_there_is() -> None:
    uid = AlertSettings().dashboard_url.rpartition("/d/")[2].partition("?")[0]
    assert uid in {b.uid for b in BOARDS}


def test_the_list_of_alerts_shows_those_of_the_house() -> None:
    assert alerts.PREFIX == ALERT_PREFIX


def test_files_are_json_with_sorted_keys() -> None:
    for board in BOARDS:
        content = json.loads(board.text)
        assert list(content) == sorted(content)
        assert content == board.content


def test_a_board_is_new_with_each_call() -> None:
    assert overview() is not overview()
    assert model() is not model()


def test_the_parser_sees_a_selectors_function() -> None:
    assert selectors('sum(rate(a_total{job="x"}[5m]))') == [
        Selector("a_total", (("job", "=", "x"),), True, "rate")
    ]
