"""Every board keeps the 17 rules, and every rule sees its breach."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from dashboards.render import Board, boards
from tests.dashboards.linter import RULES, lint, panels

BOARDS = list(boards())
JSON = dict[str, Any]


def variable(board: JSON, name: str) -> JSON:
    return next(v for v in board["templating"]["list"] if v["name"] == name)


def panel(board: JSON) -> JSON:
    return next(panels(board))


def expression(board: JSON, expr: str) -> None:
    panel(board)["targets"][0]["expr"] = expr


def loki(board: JSON, expr: str) -> None:
    source = {"type": "loki", "uid": "${datasource}"}
    panel(board)["targets"].append({"expr": expr, "datasource": source})


MATCHED = 'job=~"$job", instance=~"$instance"'

BREACHES: list[tuple[str, Callable[[JSON], Any]]] = [
    ("template-datasource-rule", lambda b: variable(b, "datasource").update(name="prometheus")),
    ("template-datasource-rule", lambda b: variable(b, "datasource").update(label="Source")),
    ("template-datasource-rule", lambda b: variable(b, "datasource").update(type="constant")),
    ("template-job-rule", lambda b: variable(b, "job").update(name="jobs")),
    ("template-job-rule", lambda b: variable(b, "job").update(multi=False)),
    ("template-job-rule", lambda b: variable(b, "job").update(datasource={"uid": "P1"})),
    ("template-instance-rule", lambda b: variable(b, "instance").update(allValue=".*")),
    ("template-instance-rule", lambda b: variable(b, "instance").update(label="server")),
    ("template-label-promql-rule", lambda b: variable(b, "job").update(query="label_values(up)")),
    ("template-label-promql-rule", lambda b: variable(b, "job").update(query="values(up, job)")),
    ("template-label-promql-rule", lambda b: variable(b, "job").update(query="label_values({,a)")),
    ("template-on-time-change-reload-rule", lambda b: variable(b, "job").update(refresh=1)),
    ("panel-datasource-rule", lambda b: panel(b).update(datasource={"uid": "P1"})),
    ("panel-datasource-rule", lambda b: panel(b)["targets"][0]["datasource"].update(uid="P1")),
    ("panel-title-description-rule", lambda b: panel(b).update(title=" ")),
    ("panel-title-description-rule", lambda b: panel(b).pop("description")),
    ("panel-units-rule", lambda b: panel(b)["fieldConfig"]["defaults"].pop("unit")),
    ("panel-units-rule", lambda b: panel(b)["fieldConfig"]["defaults"].update(unit="sec")),
    ("panel-no-targets-rule", lambda b: panel(b).update(targets=[])),
    ("target-logql-rule", lambda b: loki(b, 'sum(rate({app="a"}[$__auto])')),
    ("target-logql-rule", lambda b: loki(b, "rate({}[$__auto])")),
    ("target-logql-auto-rule", lambda b: loki(b, 'rate({app="a"}[5m])')),
    ("target-promql-rule", lambda b: expression(b, f"sum(rate(x{{{MATCHED}}}[$__rate_interval])")),
    ("target-promql-rule", lambda b: expression(b, "")),
    ("target-rate-interval-rule", lambda b: expression(b, f"sum(rate(x{{{MATCHED}}}[5m]))")),
    ("target-job-rule", lambda b: expression(b, 'max(x{instance=~"$instance"})')),
    ("target-job-rule", lambda b: expression(b, 'max(x{job="$job", instance=~"$instance"})')),
    ("target-instance-rule", lambda b: expression(b, 'max(x{job=~"$job"})')),
    ("target-counter-agg-rule", lambda b: expression(b, f"sum(x_total{{{MATCHED}}})")),
    (
        "target-counter-agg-rule",
        lambda b: expression(b, f"max_over_time(x_total{{{MATCHED}}}[$__range])"),
    ),
    ("uneditable-dashboard-rule", lambda b: b.update(editable=True)),
]


@pytest.mark.parametrize("board", BOARDS, ids=lambda b: b.uid)
def test_a_board_keeps_every_rule(board: Board) -> None:
    assert lint(dict(board.content)) == {}


def test_there_are_17_rules_and_a_breach_of_each() -> None:
    assert len(RULES) == 17
    assert {rule for rule, _ in BREACHES} == set(RULES)


@pytest.mark.parametrize(("rule", "breach"), BREACHES, ids=[rule for rule, _ in BREACHES])
@pytest.mark.parametrize("board", BOARDS, ids=lambda b: b.uid)
def test_a_breach_is_seen_by_its_rule_and_no_other(
    board: Board, rule: str, breach: Callable[[JSON], Any]
) -> None:
    spoiled = copy.deepcopy(dict(board.content))
    breach(spoiled)
    assert set(lint(spoiled)) == {rule}


def test_what_loki_may_ask_is_no_breach() -> None:
    content = copy.deepcopy(dict(BOARDS[0].content))
    loki(content, 'sum(rate({app="a"} |= "error" [$__auto]))')
    assert lint(content) == {}
