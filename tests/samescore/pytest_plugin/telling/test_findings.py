"""What a red item says."""

from __future__ import annotations

import math

import orjson
import pytest

from samescore.pytest_plugin.telling.findings import (
    Evidence,
    Finding,
    Verdict,
    distance,
    shown_record,
)

EVIDENCE = Evidence(
    row=3,
    stage="features",
    name="log_fare",
    expected="2.6741486494265287",
    got="2.5649493574615367",
    sides=("golden", "here"),
    abs_diff=0.10919929196499197,
    ulps=245893112,
    made_by="log_fare() at ride_features/features.py:31",
)
FOUND = Finding(
    Verdict.FAILED,
    "golden gate: 31 of 40 rows agree",
    EVIDENCE,
    cause="likely its code",
    remedy="bundle anew",
    notes=["differ     log_fare"],
    properties={"rows": 40, "agree_ratio": 0.775},
    source="ride_features/features.py:31",
)


def test_the_text_names_row_feature_values_cause_and_command() -> None:
    assert FOUND.text("pytest 'samescore.toml::golden::gate[rides]'").splitlines() == [
        "golden gate: 31 of 40 rows agree",
        "",
        "first difference",
        "  row        3",
        "  stage      features",
        "  feature    log_fare",
        "  made by    log_fare() at ride_features/features.py:31",
        "  golden     2.6741486494265287",
        "  here       2.5649493574615367",
        "  |Δ|        0.10919929196499197, 245,893,112 ULPs",
        "",
        "differ     log_fare",
        "",
        "cause      likely its code",
        "remedy     bundle anew",
        "",
        "reproduce  pytest 'samescore.toml::golden::gate[rides]'",
    ]


def test_a_finding_survives_json() -> None:
    again = Finding.from_json(orjson.loads(orjson.dumps(FOUND.to_json())))
    assert again.text("x") == FOUND.text("x")
    assert again.verdict is Verdict.FAILED
    assert again.properties == FOUND.properties


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (1.0, math.nextafter(1.0, 2.0), (2.220446049250313e-16, 1)),
        (0.0, -0.0, (0.0, 0)),
        (1.0, math.nan, (None, -1)),
        (math.inf, 1.0, (None, -1)),
        ("a", 1.0, (None, -1)),
        (True, 1.0, (None, -1)),
        (None, None, (None, -1)),
    ],
)
def test_distance(a: object, b: object, expected: object) -> None:
    assert distance(a, b) == expected


@pytest.mark.parametrize(
    ("record", "text"),
    [
        ({"fare": 0.1, "city": "Köln"}, '{"fare":0.1,"city":"Köln"}'),
        ({"fare": math.nan}, "{'fare': nan}"),
        ({"n": 2**70}, "{'n': 1180591620717411303424}"),
        ({"t": (1, 2)}, "{'t': (1, 2)}"),
        ({"s": "\ud800"}, "{'s': '\\ud800'}"),
        (3, "3"),
    ],
)
def test_a_record_is_shown_as_it_is(record: object, text: str) -> None:
    assert shown_record(record) == text


def test_a_record_that_python_cannot_print_is_named() -> None:
    assert shown_record({"n": 10**5000}) == "a dict that cannot be printed"
