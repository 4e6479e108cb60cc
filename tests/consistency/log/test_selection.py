from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from consistency.errors import ConfigError
from consistency.log.lines.encoding import encode_line
from consistency.log.lines.entry import LoggedRequest
from consistency.log.lines.line import decode_line
from consistency.log.sampling import keeps
from consistency.log.selection import EVERYTHING, LogSelection
from consistency.scored import Outcome
from tests.fixtures.scored import INFO, make_request

AT = 1_767_225_600_000_000


def logged(request_id: str = "r-1", *, key: str | None = None, **changes: Any) -> LoggedRequest:
    request = decode_line(encode_line(make_request(request_id, **changes))[:-1])
    return request if key is None else LoggedRequest({**request.fields, "key": key})


@pytest.mark.parametrize(
    ("selection", "kept"),
    [
        ({}, True),
        ({"since_us": AT}, True),
        ({"since_us": AT + 1}, False),
        ({"until_us": AT}, False),
        ({"until_us": AT + 1}, True),
        ({"models": frozenset({"m", "other"})}, True),
        ({"models": frozenset({"other"})}, False),
        ({"versions": frozenset({1})}, True),
        ({"versions": frozenset({2})}, False),
        ({"outcomes": frozenset({Outcome.OK})}, True),
        ({"outcomes": frozenset({Outcome.TIMEOUT, Outcome.DATA_ERROR})}, False),
        ({"request_ids": frozenset({"r-1"})}, True),
        ({"request_ids": frozenset({"r-2"})}, False),
        ({"keys": frozenset({"ann"})}, True),
        ({"keys": frozenset({"bob"})}, False),
        ({"models": frozenset({"m"}), "versions": frozenset({2})}, False),
    ],
)
def test_each_condition_that_is_set_must_hold(selection: dict[str, Any], kept: bool) -> None:
    assert LogSelection(**selection).keeps(logged(key="ann")) is kept


def test_a_request_without_a_key_has_none_of_the_keys() -> None:
    assert not LogSelection(keys=frozenset({"None", ""})).keeps(logged())


def test_a_sample_goes_by_the_key_and_without_one_by_the_id() -> None:
    tenth = LogSelection(sample_ratio=0.1)
    for i in range(300):
        assert tenth.keeps(logged(f"r-{i}", key="ann")) is keeps("ann", 0.1)
        assert tenth.keeps(logged(f"r-{i}")) is keeps(f"r-{i}", 0.1)
    kept = sum(tenth.keeps(logged(f"r-{i}")) for i in range(3000))
    assert 200 < kept < 400


def test_a_span_of_time_can_be_ruled_out() -> None:
    day = LogSelection(since_us=10, until_us=20)
    assert [day.may_keep_between(*span) for span in [(0, 9), (0, 10), (19, 30), (20, 30)]] == [
        False, True, True, False,
    ]  # fmt: skip
    assert EVERYTHING.may_keep_between(0, 0)


def test_it_goes_to_json_and_back() -> None:
    full = LogSelection(
        1, 2, frozenset({"m", "a"}), frozenset({2, 1}), frozenset({Outcome.OK}),
        frozenset({"k"}), frozenset({"r"}), 0.5,
    )  # fmt: skip
    shown = full.to_json()
    assert shown["models"] == ["a", "m"]
    assert LogSelection.from_json(orjson.loads(orjson.dumps(shown))) == full
    assert EVERYTHING.to_json() == {}
    assert LogSelection.from_json({}) == EVERYTHING


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sample_ratio": 0.0}, "sample ratio 0.0: give a share above 0, at most 1"),
        ({"sample_ratio": 1.5}, "sample ratio 1.5"),
        ({"since_us": 5, "until_us": 5}, "nothing lies between them"),
    ],
)
def test_what_selects_nothing_is_a_mistake(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        LogSelection(**changes)


def test_versions_of_other_models_are_told_apart() -> None:
    other = logged(servable=replace(INFO, name="n", version=2))
    assert LogSelection(models=frozenset({"n"}), versions=frozenset({2})).keeps(other)
