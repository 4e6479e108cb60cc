"""`assert_same_scores`: the rule, the forms that scores come in, and the message of a red test."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pytest

from consistency.errors import ConfigError
from samescore import ScoresDifferError, assert_same_scores

NAN, INF = math.nan, math.inf
RNG = np.random.default_rng(11)
SCORES = RNG.random(200)


def differ(online: Any, offline: Any, **more: Any) -> ScoresDifferError:
    with pytest.raises(ScoresDifferError) as caught:
        assert_same_scores(online, offline, **more)
    return caught.value


# ---- the rule -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("online", "offline"),
    [
        (0.5, 0.5),
        ([0.1, NAN], [0.1 + 4.9e-11, NAN]),
        ([INF, -INF], [INF, -INF]),
        ([0.0], [-0.0]),
        ([1, 2], [1.0, 2.0]),
        ([0.12345678905], [0.12345678905 + 1.4e-17]),
    ],
)
def test_agrees(online: Any, offline: Any) -> None:
    assert assert_same_scores(online, offline).agrees


@pytest.mark.parametrize(
    ("online", "offline"),
    [
        ([0.1], [0.1 + 5.1e-11]),
        ([NAN], [0.0]),
        ([0.0], [NAN]),
        ([INF], [1e308]),
        ([INF], [-INF]),
        ([INF], [NAN]),
        ([1.0, 2.0], [1.0]),
        ([[1.0], [2.0]], [1.0, 2.0]),
        ([], []),
        (np.empty((0, 3)), np.empty((0, 3))),
        ({}, {}),
        ({"a": []}, {"a": []}),
    ],
)
def test_differs(online: Any, offline: Any) -> None:
    assert isinstance(differ(online, offline), AssertionError)


def test_decimals_is_a_parameter() -> None:
    assert assert_same_scores([0.1], [0.1004], decimals=3).rows_agreeing == 1
    differ([0.1], [0.1006], decimals=3)
    with pytest.raises(ConfigError, match="decimals is 17"):
        assert_same_scores([0.1], [0.1], decimals=17)


def test_figures_are_returned() -> None:
    found = assert_same_scores(SCORES, SCORES + 1e-12)
    assert (found.rows, found.rows_agreeing) == (200, 200)
    assert found.rows_identical == 0
    assert 0 < found.max_abs_diff < 2e-12


# ---- float32 on the way -------------------------------------------------------------------------

NARROW = SCORES.astype(np.float32)


@pytest.mark.parametrize(
    "text",
    [
        orjson.dumps(NARROW, option=orjson.OPT_SERIALIZE_NUMPY),
        json.dumps(NARROW.astype(float).tolist()).encode(),
        ("[" + ",".join(f"{v:.9g}" for v in NARROW) + "]").encode(),
    ],
)
def test_printed_float32_is_rounded_to_float32_before_it_is_widened(text: bytes) -> None:
    printed = orjson.loads(text)
    assert assert_same_scores(printed, NARROW, decimals=7).agrees
    assert assert_same_scores(printed, NARROW).rows_identical == 200
    assert assert_same_scores(NARROW, printed).rows_identical == 200


def test_a_float64_score_is_not_rounded_to_hide_a_difference() -> None:
    found = differ(SCORES, NARROW)
    assert found.comparison.rows_agreeing < 10
    assert "cast to float32" in found.hint


def test_the_caller_may_say_what_the_numbers_were() -> None:
    assert assert_same_scores(SCORES, NARROW, source_dtype="float32").rows_identical == 200
    printed = orjson.loads(orjson.dumps(NARROW, option=orjson.OPT_SERIALIZE_NUMPY))
    differ(printed, NARROW, source_dtype="float64")
    with pytest.raises(ConfigError, match="source_dtype is 'float16'"):
        assert_same_scores([0.1], [0.1], source_dtype="float16")  # type: ignore[arg-type]


# ---- what scores come in ------------------------------------------------------------------------


def test_tensors() -> None:
    torch = pytest.importorskip("torch")
    online = torch.tensor(SCORES, requires_grad=True)
    assert assert_same_scores(online, SCORES).rows_identical == 200


def test_series_are_aligned_by_their_index() -> None:
    offline = pd.Series(SCORES, index=[f"r{i}" for i in range(200)])
    shuffled = offline.sample(frac=1, random_state=4)
    assert assert_same_scores(shuffled, offline).rows_identical == 200
    shuffled.iloc[7] += 1e-6
    found = differ(shuffled, offline)
    assert f"index {shuffled.index[7]!r}" in str(found)
    assert found.comparison.rows_agreeing == 199


def test_a_series_against_an_array_goes_by_position() -> None:
    series = pd.Series(SCORES, index=np.arange(200)[::-1])
    assert assert_same_scores(series, SCORES.tolist()).rows_identical == 200
    assert assert_same_scores(SCORES.tolist(), series).rows_identical == 200


def test_frames_are_aligned_by_index_and_columns() -> None:
    offline = pd.DataFrame({"p": SCORES, "q": 1 - SCORES})
    online = offline[["q", "p"]].iloc[::-1]
    assert assert_same_scores(online, offline).rows == 400
    online = online.assign(q=online["q"] + 1e-6)
    assert differ(online, offline).name == "q"


@pytest.mark.parametrize(
    ("online", "offline", "said"),
    [
        (pd.Series([1.0, 2.0]), pd.Series([1.0]), r"index differ: 1 only online \(first 1\)"),
        (pd.Series([1.0], ["a"]), pd.Series([1.0], ["b"]), "1 only offline .first 'b'.; 0 on both"),
        (pd.Series([1.0, 2.0], [0, 0]), pd.Series([1.0], [0]), "index 0 is twice in online"),
        (pd.DataFrame({"p": [1.0]}), pd.DataFrame({"q": [1.0]}), "columns differ"),
        ({"a": [1.0]}, {"b": [1.0]}, "names differ: 1 only online"),
    ],
)
def test_other_rows_or_names_are_a_difference(online: Any, offline: Any, said: str) -> None:
    with pytest.raises(ScoresDifferError, match=said):
        assert_same_scores(online, offline)


def test_dicts_are_compared_name_by_name() -> None:
    both = {"p": SCORES, "q": SCORES.reshape(-1, 2)}
    assert assert_same_scores(both, dict(reversed(both.items()))).rows == 300
    found = differ({**both, "q": both["q"] + 1e-3}, both)
    assert found.name == "q"
    assert str(found).startswith("scores 'q' differ: 0 of 100 rows agree to 10 decimals")
    assert "row 0, column 0" in str(found)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["0.5"], "holds '0.5', which is no number"),
        ([None], "holds None, which is no number"),
        ([[1.0], [1.0, 2.0]], "is ragged"),
        ("0.5", "no number"),
        (pd.Series(["a"]), "no number"),
    ],
)
def test_what_holds_no_numbers_is_a_mistake_and_no_difference(given: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=f"online .*{said}"):
        assert_same_scores(given, [0.5])
    with pytest.raises(ConfigError, match=f"offline .*{said}"):
        assert_same_scores([0.5], given)


# ---- the message --------------------------------------------------------------------------------


def test_the_message_says_where_how_much_and_how_many() -> None:
    offline = [0.25, 0.7, 0.1, 0.3]
    online = [0.25, 0.7 + 1e-6, 0.1 + 3e-4, NAN]
    found = differ(online, offline, request_ids=["q1", "q2", "q3", "q4"])
    lines = str(found).splitlines()
    assert lines[0] == "scores differ: 1 of 4 rows agree to 10 decimals"
    assert lines[1] == f"  first: row 1 (request q2): online {online[1]!r}, offline 0.7"
    assert lines[2] == f"         |Δ| {abs(online[1] - 0.7)!r}, 9007199255 ULP"
    assert "rows by agreed decimals: 0: 1, 3: 1, 5: 1, same bits: 1" in lines[3]
    assert lines[-1].startswith("  likely cause: ")
    assert found.difference is not None
    assert (found.difference.position, found.difference.ulps) == (1, 9007199255)


def test_request_ids_must_fit() -> None:
    with pytest.raises(ConfigError, match="1 request_ids for 2 rows"):
        assert_same_scores([0.1, 0.2], [0.1, 0.3], request_ids=["a"])


@pytest.mark.parametrize(
    ("online", "said"),
    [
        (np.round(SCORES, 4), "storage_rounding: the offline value rounded to 4 decimals"),
        (NARROW.astype(np.float64), "storage_precision: the offline value cast to float32"),
        (SCORES[::-1], "misaligned rows: both sides hold the same scores in another order"),
        (np.append(0.4, SCORES[:-1]), "misaligned rows: online lags offline by one row"),
        (np.append(SCORES[1:], 0.4), "misaligned rows: offline lags online by one row"),
        (1 - SCORES, "the other class: online is 1 - offline"),
        (np.where(SCORES > 0.5, NAN, SCORES), "NaN only online"),
        (SCORES * (1 + 3e-7), "unproven, but every difference is a few units of float32"),
        (SCORES + 0.01, "unproven: "),
    ],
)
def test_the_likely_cause(online: Any, said: str) -> None:
    assert differ(online, SCORES).hint.startswith(said)


def test_the_cause_is_found_on_either_side() -> None:
    found = differ(SCORES, np.round(SCORES, 4))
    assert found.hint == (
        "storage_rounding: the online value rounded to 4 decimals equals the offline one, "
        "bit for bit"
    )


def test_integers_have_no_cause_of_storage() -> None:
    assert "no floating-point numbers" in differ([1, 2], [1, 3]).hint
