from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from consistency.errors import ConfigError
from consistency.log import LoggedRequest
from consistency.log.lines.encoding import encode_line
from consistency.log.lines.line import decode_line
from consistency.protocols import Damage
from consistency.scored import Outcome, Payload
from monitors.errors import MonitorError
from monitors.suites.compiled.compiler import Level
from monitors.suites.whole.checking import (
    CheckReport,
    LoggedRecords,
    check_records,
    collect_records,
)
from tests.fixtures.scored import make_request


def logged(request_id: str, body: Any, **changes: Any) -> LoggedRequest:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    payload = Payload(raw, "tione/1", "application/json")
    return decode_line(encode_line(make_request(request_id, payload=payload, **changes))[:-1])


def records(request_id: str, *held: Any, **changes: Any) -> LoggedRequest:
    return logged(request_id, {"type": "record", "data": {"insts": list(held)}}, **changes)


def suite(*held: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    expectations = [{"type": f"expect_column_{k}", "kwargs": kwargs} for k, kwargs in held]
    return {"name": "shop", "expectations": expectations}


def checked(given: dict[str, Any], *requests: LoggedRequest, show: int = 5) -> CheckReport:
    found, _ = collect_records(requests, ["m"])
    return check_records("m", given, found["m"], show=show)


CITY = ("values_to_be_in_set", {"column": "city", "value_set": ["Bonn", "Ulm"]})
AGE = ("values_to_be_between", {"column": "age", "min_value": 18})
MEAN = ("mean_to_be_between", {"column": "age", "min_value": 0, "max_value": 30})


def test_refused_requests_are_checked_and_named() -> None:
    report = checked(
        suite(AGE, CITY, MEAN),
        records("r1", {"city": "Bonn", "age": 20}),
        records("r2", {"city": "Ulm", "age": 30}, {"city": "Kiel", "age": 40},
                outcome=Outcome.DATA_ERROR, features=None, outputs=None, scores=None),
        records("r3", {"age": 17}),
    )  # fmt: skip
    age, city, mean = report.expectations
    assert (report.rows, report.requests, report.success) == (4, 3, False)
    assert [(u.request_id, u.row, u.value) for u in city.first] == [("r2", 1, "Kiel")]
    assert [(u.request_id, u.row, u.value) for u in age.first] == [("r3", 0, 17)]
    assert (mean.outcome.success, mean.level, mean.outcome.observed) == (True, Level.BATCH, 26.75)
    assert (city.level, city.unexpected_rows, city.outcome.success) == (Level.ROW, 1, False)


def test_mostly_decides_over_the_batch() -> None:
    requests = [records("r", *({"age": 17 if i == 0 else 20} for i in range(10)))]
    report = checked(suite((AGE[0], {**AGE[1], "mostly": 0.9})), *requests)
    assert report.success
    assert report.expectations[0].unexpected_rows == 1
    assert not checked(suite((AGE[0], {**AGE[1], "mostly": 0.95})), *requests).success


def test_where_gx_gives_up_the_rows_behind_it_are_named() -> None:
    rows = ({"age": 20}, {"age": "twenty"}, {"age": 3}, {"age": None})
    (found,) = checked(suite(AGE), records("r", *rows)).expectations
    assert not found.outcome.success
    assert "same type" in found.outcome.problem
    assert [u.value for u in found.first] == ["twenty", 3]


def test_a_column_that_no_record_holds_is_all_null() -> None:
    report = checked(suite(AGE, ("values_to_not_be_null", {"column": "age"})), records("r", {}, {}))
    assert [e.unexpected_rows for e in report.expectations] == [0, 2]


def test_the_first_rows_are_named_and_all_are_counted() -> None:
    found = checked(suite(AGE), records("r", *({"age": i} for i in range(10))), show=3)
    assert (len(found.expectations[0].first), found.expectations[0].unexpected_rows) == (3, 10)


def test_what_holds_no_record_is_counted_apart() -> None:
    damage = Damage("s", 1, "torn tail", 3)
    found, seen = collect_records(
        [
            logged("r1", b"{"),
            logged("r2", {"type": "dense", "data": {"insts": [[1.0]]}}),
            logged("r3", {"type": "libsvm", "data": {"insts": "0 1:1"}}),
            damage,
            records("r4", {"age": 20}, 3),
            records("r5", {"age": 20}),
        ],
        ["m", "absent"],
    )
    mine = found["m"]
    assert (mine.requests, mine.without_records, mine.no_objects) == (2, 3, 1)
    assert mine.origins == [("r4", 0), ("r5", 0)]
    assert seen == [damage]
    assert found["absent"] == LoggedRecords()


def test_nothing_to_check_is_no_success() -> None:
    with pytest.raises(MonitorError, match=r"no raw record of model 'm' \(1 requests without"):
        checked(suite(AGE), logged("r1", b"{"))


@pytest.mark.parametrize(
    "held",
    [
        ("values_to_be_of_no_kind_at_all", {"column": "age"}),
        ("values_to_be_between", {"column": "age"}),
        ("values_to_be_between", {"column": "age", "min_value": "soon"}),
    ],
)
def test_what_gx_cannot_read_is_a_clear_error(held: tuple[str, dict[str, Any]]) -> None:
    with pytest.raises(ConfigError, match="GX cannot read expectation 0"):
        checked(suite(held), records("r", {"age": 1}))


QUIET = """
import socket, sys
asked = []
def refuse(*args, **kwargs):
    asked.append(args)
    raise OSError("no network in this test")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
from monitors.suites.whole.gx import run_checkpoint
from monitors.suites.whole.checking import frame_of
suite = {"name": "s", "expectations": [
    {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "x"}}]}
(found,) = run_checkpoint(suite, frame_of([{"x": 1}, {"x": None}], []))
print(found.unexpected, asked)
"""


@pytest.mark.slow
def test_gx_asks_no_network(tmp_path: Path) -> None:
    script = tmp_path / "quiet.py"
    script.write_text(QUIET)
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", script], capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip().splitlines()[-1] == "(1,) []"


@pytest.mark.slow
def test_the_guard_loads_no_gx_and_no_pandas(tmp_path: Path) -> None:
    path = tmp_path / "suite.json"
    pattern = ("values_to_match_regex", {"column": "city", "regex": "^[BU]"})
    path.write_bytes(orjson.dumps(suite(AGE, CITY, pattern)))
    code = (
        "import sys; from pathlib import Path; from monitors.suites import *; "
        f"SuiteGuard('m', read_suite(Path({str(path)!r})), SuitePolicy.REJECT); "
        "print([m for m in ('great_expectations', 'pandas') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
