from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families

from consistency.log import LoggedRequest, RequestLogReader
from consistency.scored import Outcome
from tests.fixtures.cli import mistake, samescore
from tests.fixtures.server import Reply, Server, serving, wait_until
from tests.fixtures.tiny import PACKAGE, Tiny, record_body
from tests.fixtures.traffic import serve_into_log
from tests.samescore.conftest import load

GOOD = {"amount": 120.0, "age": 40, "city": "Berlin"}


def write_records(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_bytes(b"".join(orjson.dumps(r) + b"\n" for r in records))
    return path


@pytest.fixture(scope="module")
def suite(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The suite of the training records, as the command writes it; the cities are a set."""
    root = tmp_path_factory.mktemp("suite")
    records = write_records(root / "train.jsonl", tiny.records)
    ran = samescore(
        "suite", "build", records, "--bundle", tiny.bundle, "--out", root / "suite.json"
    )
    assert ran.code == 0, ran.err
    assert "300 records; 11 can guard each row, 12 need a batch" in ran.words
    return root / "suite.json"


def changed(suite: Path, path: Path, *more: dict[str, Any]) -> Path:
    held = orjson.loads(suite.read_bytes())
    held["expectations"] += more
    path.write_bytes(orjson.dumps(held))
    return path


MEAN = {"type": "expect_column_mean_to_be_between", "kwargs": {"column": "age", "min_value": 0}}
MOSTLY_THERE = {
    "type": "expect_column_values_to_not_be_null",
    "kwargs": {"column": "score", "mostly": 0.2},
}

# -------------------------------------------------------------------------------- build and show


def test_building_twice_writes_the_same(tiny: Tiny, tmp_path: Path, suite: Path) -> None:
    records = write_records(tmp_path / "train.jsonl", tiny.records)
    again = tmp_path / "again.json"
    samescore("suite", "build", records, "--bundle", tiny.bundle, "--out", again)
    assert again.read_bytes() == suite.read_bytes()


def test_options_of_build(tiny: Tiny, tmp_path: Path) -> None:
    records, out = write_records(tmp_path / "r.jsonl", tiny.records), tmp_path / "s.json"
    ran = samescore(
        "suite", "build", records, "--bundle", tiny.bundle, "--out", out, "--name", "shop",
        "--margin", 0, "--max-categories", 2, "--no-batch-level",
    )  # fmt: skip
    assert "10 can guard each row, 0 need a batch" in ran.words
    held = orjson.loads(out.read_bytes())
    assert held["name"] == "shop"
    ages = [r["age"] for r in tiny.records]
    (between,) = [e["kwargs"] for e in held["expectations"] if e["kwargs"]["column"] == "age"
                  and e["type"] == "expect_column_values_to_be_between"]  # fmt: skip
    assert (between["min_value"], between["max_value"]) == (min(ages), max(ages))


def test_show_lists_what_guards_and_what_does_not(suite: Path, tmp_path: Path) -> None:
    path = changed(suite, tmp_path / "s.json", MEAN, MOSTLY_THERE)
    ran = samescore("suite", "show", path)
    assert "row city:be_in_set: allows one of 'Atlantis', 'Berlin'" in ran.words
    assert "score:not_be_null: allows any value but null (mostly 0.2: never rejects)" in ran.words
    said = "batch age: expect_column_mean_to_be_between is not run on requests: judged over a batch"
    assert said in ran.words
    as_json = samescore("suite", "show", path, "--json").json
    assert (len(as_json["rules"]), len(as_json["left_out"])) == (12, 13)
    assert {x["level"] for x in as_json["left_out"]} == {"batch"}
    assert as_json["conflicts"] == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no training record"),
        ("{", "line 1: no JSON"),
        (
            '{"amount": 1.0, "age": 3, "city": "Ulm"}\n{"amount": 1.0}',
            "row 1 field 'age' is missing",
        ),
        ("[1]", "row 0 is a JSON list"),
    ],
)
def test_unusable_records_are_a_mistake(tiny: Tiny, tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text(text)
    out = tmp_path / "s.json"
    assert said in mistake("suite", "build", path, "--bundle", tiny.bundle, "--out", out)
    assert not out.exists()


def test_other_mistakes_of_build(tiny: Tiny, tmp_path: Path) -> None:
    records = write_records(tmp_path / "r.jsonl", tiny.records)
    out = tmp_path / "none" / "s.json"
    build = ("suite", "build", records, "--out", out, "--bundle")
    assert "name a file that can be written" in mistake(*build, tiny.bundle)
    assert "is this a bundle" in mistake(*build, tmp_path)


# ------------------------------------------------------------------------------ requests over HTTP


def start(tiny: Tiny, root: Path, suite: Path, *options: object) -> Any:
    return serving(
        tiny.base, "--log", root / "log", "--pipeline", PACKAGE, "--suite", f"tiny={suite}",
        *options, errors=root / "stderr", environment=tiny.environment(),
    )  # fmt: skip


def ask(server: Server, *records: dict[str, Any]) -> Reply:
    return server.post("/predict/tiny/1", record_body(list(records)))


def violations(server: Server) -> dict[tuple[str, str], float]:
    text = server.get("/metrics").body.decode()
    return {
        (sample.labels["rule"], sample.labels["action"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "samescore_suite_violations_total"
    }


def logged(root: Path) -> list[LoggedRequest]:
    return [item for item in RequestLogReader(root / "log") if isinstance(item, LoggedRequest)]


@pytest.mark.slow
def test_a_rejecting_guard_over_http(tiny: Tiny, tmp_path: Path, suite: Path) -> None:
    path = changed(suite, tmp_path / "s.json", MEAN, MOSTLY_THERE)
    with start(tiny, tmp_path, path, "--suite-policy", "reject") as server:
        before = violations(server)
        assert ask(server, {**GOOD, "score": 0.5}).status == 200
        refused = ask(server, GOOD, {**GOOD, "city": "Kairo", "score": 0.5})
        also = ask(server, {**GOOD, "age": 400, "score": 0.5})
        flagged = ask(server, GOOD)
        after = violations(server)
        assert server.terminate() == 0
    assert set(before.values()) == {0}
    assert len(before) == 12
    assert (refused.status, also.status, flagged.status) == (400, 400, 200)
    said = refused.json["message"]
    assert said.startswith(
        "数据错误: row 1 field 'city' is 'Kairo'; rule expect_column_values_to_be_"
    )
    assert "field 'age' is 400" in also.json["message"]
    told = {k: v for k, v in after.items() if v}
    assert told == {
        ("city:be_in_set", "rejected"): 1,
        ("age:be_between", "rejected"): 1,
        ("score:not_be_null", "flagged"): 2,
    }
    assert set(after) == set(before)
    held = logged(tmp_path)
    assert Counter(r.outcome for r in held) == {Outcome.OK: 2, Outcome.DATA_ERROR: 2}
    assert {r.fields["refused_by"] for r in held} == {"", "suite"}
    errors = (tmp_path / "stderr").read_text()
    assert "13 expectations are not run on requests: judged over a batch of rows" in errors

    ran = samescore("suite", "check", tmp_path / "log", "--suite", f"tiny={path}", "--json")
    assert ran.code == 1
    (model,) = ran.json["models"]
    assert (model["rows"], model["requests"]) == (5, 4)
    assert not any(e["decides"] for e in model["expectations"] if e["needed_rows"] > 5)
    failed = [e for e in model["expectations"] if e["decides"] and not e["success"]]
    assert [(e["column"], e["unexpected_rows"]) for e in failed] == [("age", 1), ("city", 1)]
    assert [(u["request_id"], u["row"], u["value"]) for u in failed[1]["first_unexpected"]] == [
        (refused.request_id, 1, "Kairo")
    ]


@pytest.mark.slow
def test_a_flagging_guard_over_http(tiny: Tiny, tmp_path: Path, suite: Path) -> None:
    misspelt = ("--suite", f"tinny={suite}")
    with start(tiny, tmp_path, suite, *misspelt, "--suite-policy", "flag") as server:
        assert ask(server, GOOD, {**GOOD, "city": "Kairo", "age": 400}).status == 200
        told = {k: v for k, v in violations(server).items() if v}
    assert told == {("city:be_in_set", "flagged"): 1, ("age:be_between", "flagged"): 1}
    errors = (tmp_path / "stderr").read_text()
    assert "suite of tinny: there is no such model (there is tiny)" in errors
    assert "suite of tiny: there is no such model" not in errors


@pytest.mark.slow
def test_two_workers_count_into_one_page(tiny: Tiny, tmp_path: Path, suite: Path) -> None:
    options = ("--suite-policy", "flag", "--workers", 2)
    with start(tiny, tmp_path, suite, *options) as server:
        for _ in range(20):
            assert ask(server, {**GOOD, "city": "Kairo"}).status == 200
        found = ("city:be_in_set", "flagged")
        wait_until(lambda: violations(server)[found] == 20, "twenty violations")


# --------------------------------------------------------------------------------- check of a log


def test_a_log_with_a_refused_request(log: Any, suite: Path) -> None:
    ran = samescore("suite", "check", log.folder, "--suite", f"tiny={suite}")
    # the last request but one is no JSON, the two before it hold feature rows
    assert "3 requests hold no raw record" in ran.words
    # and the last one is refused for a missing field, which breaks two rules of the suite
    assert "tiny: 25 rows of 13 requests" in ran.words
    assert "NOT every expectation holds" in ran.words
    assert ran.code == 1


def test_a_batch_that_great_expectations_cannot_judge_says_so(tmp_path: Path, tiny: Tiny) -> None:
    odd = record_body([{**GOOD, "age": "forty", "score": 0.5}])
    bodies = [*(record_body(tiny.records[i : i + 3]) for i in range(0, 30, 3)), odd]
    serve_into_log(load(tiny), tmp_path / "requests", bodies)
    path = tmp_path / "s.json"
    path.write_bytes(orjson.dumps({"name": "s", "expectations": [MEAN]}))
    check = ("suite", "check", tmp_path / "requests", "--suite", f"tiny={path}")
    ran = samescore(*check)
    assert "no verdict" in ran.words
    assert "--outcome ok leaves out the requests that were refused" in ran.words
    assert ran.code == 1
    assert samescore(*check, "--outcome", "ok").code == 0


def test_a_check_that_succeeds(tmp_path: Path, log: Any) -> None:
    path = tmp_path / "s.json"
    path.write_bytes(orjson.dumps({"name": "s", "expectations": [MOSTLY_THERE, MEAN]}))
    ran = samescore("suite", "check", log.folder, "--suite", f"tiny={path}")
    assert "every expectation holds" in ran.words
    assert "NOT" not in ran.words
    assert ran.code == 0


def test_damage_is_told_and_the_rest_is_checked(tmp_path: Path, log: Any) -> None:
    folder = shutil.copytree(log.folder, tmp_path / "log")
    (segment,) = folder.glob("*.jsonl*")
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(b"".join([b"x" + lines[0], *lines[1:]]))
    path = tmp_path / "s.json"
    path.write_bytes(orjson.dumps({"name": "s", "expectations": [MEAN]}))
    ran = samescore("suite", "check", folder, "--suite", f"tiny={path}", "--json")
    assert (ran.code, ran.json["damaged_lines"]) == (0, 1)
    assert "line 1: crc mismatch" in ran.err


def test_mistakes_of_check(tmp_path: Path, log: Any, suite: Path) -> None:
    check = ("suite", "check", log.folder)
    assert "name at least one --suite" in mistake(*check)
    assert "write it as MODEL=suite.json" in mistake(*check, "--suite", "tiny")
    assert "the log holds no raw record of model 'm'" in mistake(*check, "--suite", f"m={suite}")
    assert "name a suite's JSON file" in mistake(*check, "--suite", f"tiny={tmp_path / 'none'}")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "the log holds no raw record" in mistake(
        "suite", "check", empty, "--suite", f"tiny={suite}"
    )


# -------------------------------------------------------------------------------- mistakes of serve


def test_mistakes_of_serve(tiny: Tiny, tmp_path: Path, suite: Path) -> None:
    serve = ("serve", tiny.base, "--log", tmp_path / "log", "--suite")
    assert "name a suite's JSON file" in mistake(*serve, f"tiny={tmp_path / 'none'}")
    assert "is given twice" in mistake(*serve, f"tiny={suite}", "--suite", f"tiny={suite}")
    batch = tmp_path / "s.json"
    batch.write_bytes(orjson.dumps({"name": "s", "expectations": [MEAN]}))
    assert "no rule for single rows" in mistake(*serve, f"tiny={batch}")
    assert "is not one of reject, flag, count" in mistake(
        *serve, f"tiny={suite}", "--suite-policy", "no"
    )
    assert not (tmp_path / "log").exists()
