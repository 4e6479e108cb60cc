from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from consistency.compare import (
    EXACT_DECIMALS,
    Comparison,
    Tolerance,
    agreed_decimals,
    compare,
    joint,
    ulp_distance,
)
from consistency.errors import ConfigError

NAN, INF = math.nan, math.inf


def agree(a: Any, b: Any, decimals: int = 10) -> bool:
    return compare(np.array([a]), np.array([b]), Tolerance(decimals)).summary.agrees


# ----------------------------------------------------------------------------------------- the rule


@pytest.mark.parametrize(
    ("a", "b", "agrees"),
    [
        (0.0, 5e-11, True),
        (0.0, np.nextafter(5e-11, 1), False),
        (0.0, -5e-11, True),
        (0.0, np.nextafter(-5e-11, -1), False),
        (0.0, 4.9e-11, True),
        (0.0, 5.1e-11, False),
        (0.5, 0.5 + 4e-11, True),
        (0.5, 0.5 + 6e-11, False),
        (1e6, 1e6 + 2e-10, False),
        (1e16, 1e16 + 2, False),
        (1e300, np.nextafter(1e300, INF), False),
        (1e308, -1e308, False),
    ],
)
def test_two_numbers_agree_iff_they_are_at_most_5e_11_apart(
    a: float, b: float, agrees: bool
) -> None:
    assert agree(a, b) is agrees
    assert agree(b, a) is agrees


@pytest.mark.parametrize(
    ("a", "b", "agrees"),
    [
        (NAN, NAN, True),
        (NAN, 0.0, False),
        (NAN, INF, False),
        (INF, INF, True),
        (-INF, -INF, True),
        (INF, -INF, False),
        (INF, 1.7976931348623157e308, False),
    ],
)
def test_what_is_no_finite_number_agrees_only_with_itself(a: float, b: float, agrees: bool) -> None:
    assert agree(a, b) is agrees
    assert agree(b, a) is agrees


def test_any_nan_agrees_with_any_other() -> None:
    quiet, signed = np.array([NAN]), np.array([np.copysign(NAN, -1.0)])
    assert quiet.tobytes() != signed.tobytes()
    found = compare(quiet, signed).summary
    assert found.rows_identical == found.rows_agreeing == 1


@pytest.mark.parametrize(
    ("online", "offline", "identical"),
    [
        pytest.param(-0.0, 0.0, 0, id="C09 negative zero"),
        pytest.param(0.12345678904999999, 0.12345678905, 0, id="C10 one ULP beside a decimal tie"),
        pytest.param(NAN, NAN, 1, id="C14 NaN equals NaN"),
    ],
)
def test_the_catalogues_controls_pass(online: float, offline: float, identical: int) -> None:
    found = compare(np.array([online]), np.array([offline])).summary
    assert found.agrees
    assert found.rows_identical == identical


def test_the_tie_would_fail_as_texts_of_ten_decimals() -> None:
    a, b = 0.12345678904999999, 0.12345678905
    assert f"{a:.10f}" != f"{b:.10f}"
    found = compare(np.array([a]), np.array([b])).summary
    assert found.max_ulps == 1
    assert found.max_abs_diff == pytest.approx(1.4e-17, rel=0.01)


def test_numpys_own_tools_accept_what_this_refuses() -> None:
    online, offline = np.array([0.3]), np.array([0.3 + 1e-9])
    assert np.isclose(online, offline).all()
    np.testing.assert_allclose(online, offline)
    np.testing.assert_array_almost_equal(online, offline)
    assert not compare(online, offline).summary.agrees


@pytest.mark.parametrize("decimals", range(17))
def test_the_limit_is_half_a_unit_of_the_last_decimal(decimals: int) -> None:
    limit = Tolerance(decimals).limit
    assert limit == float(f"5e-{decimals + 1}")
    assert agree(0.0, limit, decimals)
    assert not agree(0.0, np.nextafter(limit, 1), decimals)


@pytest.mark.parametrize("decimals", [-1, 17])
def test_decimals_outside_0_to_16_are_refused(decimals: int) -> None:
    with pytest.raises(ConfigError, match=f"decimals is {decimals}; give 0 to 16"):
        Tolerance(decimals)


# ----------------------------------------------------------------------------------- shapes, dtypes


@pytest.mark.parametrize(
    ("a", "b"), [((2,), (3,)), ((2,), (2, 1)), ((2, 3), (3, 2)), ((0,), (1,)), ((6,), (2, 3))]
)
def test_other_shapes_are_refused_with_both(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError) as caught:
        compare(np.zeros(a), np.zeros(b))
    assert f"online {a}, offline {b}" in str(caught.value)


@pytest.mark.parametrize("shape", [(0,), (0, 3)])
def test_comparing_nothing_is_no_agreement(shape: tuple[int, ...]) -> None:
    found = compare(np.zeros(shape), np.zeros(shape)).summary
    assert found.rows == 0
    assert not found.agrees
    assert found.agree_ratio == found.identical_ratio == 0.0
    assert not Comparison().agrees


def test_a_row_agrees_only_if_all_its_values_do() -> None:
    online = np.array([[1.0, 2.0], [1.0, 2.0], [1.0, 2.0]])
    offline = np.array([[1.0, 2.0], [1.0, 2.1], [1.0 + 1e-12, 2.0]])
    found = compare(online, offline).summary
    assert (found.rows, found.rows_agreeing, found.rows_identical) == (3, 2, 1)


def test_a_tensor_row_is_compared_as_a_whole() -> None:
    online = np.zeros((2, 2, 2))
    offline = online.copy()
    offline[1, 1, 0] = 1.0
    found = compare(online, offline)
    assert found.summary.rows_agreeing == 1
    assert [(d.position, d.column) for d in found.worst(5)] == [(1, 2)]


def test_a_float32_number_is_widened_exactly() -> None:
    score = np.array([0.1], np.float32)
    assert compare(score, score.astype(np.float64)).summary.rows_identical == 1
    # its JSON text, read as float64, is another number
    as_text = np.array([json.loads(str(score[0]))])
    assert not compare(score, as_text).summary.agrees
    assert compare(score, as_text.astype(np.float32)).summary.rows_identical == 1


@pytest.mark.parametrize(
    ("a", "b", "agrees"),
    [
        (2**53, 2**53 + 1, False),
        (2**62, 2**62 + 1, False),
        (-(2**63), -(2**63) + 1, False),
        (2**53 + 1, 2**53 + 1, True),
        (3, 4, False),
        (0, 0, True),
    ],
)
def test_integers_agree_only_when_equal_also_beyond_2_to_the_53(
    a: int, b: int, agrees: bool
) -> None:
    found = compare(np.array([a], np.int64), np.array([b], np.int64))
    assert found.summary.agrees is agrees
    assert found.summary.rows_identical == agrees
    assert len(found.worst(3)) == (not agrees)
    assert not agree(1.0, 2.0, 0)


def test_a_differing_integer_is_shown_with_all_its_digits() -> None:
    (difference,) = compare(np.array([2**53 + 1]), np.array([2**53])).worst(1)
    assert (difference.online, difference.offline) == (2**53 + 1, 2**53)


def test_booleans_are_numbers() -> None:
    found = compare(np.array([True, False]), np.array([True, True])).summary
    assert (found.rows, found.rows_agreeing) == (2, 1)


def test_strings_and_token_lists_agree_only_when_equal() -> None:
    online = np.array(["a", "b", None, None, ["x"], ["x"]], object)
    offline = np.array(["a", "B", None, "", ["x"], ["x", "y"]], object)
    found = compare(online, offline)
    assert found.agreeing[:, 0].tolist() == [True, False, True, False, True, False]
    assert found.summary.rows_agreeing == found.summary.rows_identical == 3
    assert [(d.online, d.offline, d.ulps) for d in found.worst(9)] == [
        ("b", "B", -1), (None, "", -1), (["x"], ["x", "y"], -1)
    ]  # fmt: skip


# -------------------------------------------------------------------------------------- the figures


@pytest.mark.parametrize(
    ("a", "b", "ulps"),
    [
        (1.0, 1.0, 0),
        (1.0, np.nextafter(1, 2), 1),
        (1.0, np.nextafter(1, 0), 1),
        (0.0, -0.0, 0),
        (0.0, 5e-324, 1),
        (-5e-324, 5e-324, 2),
        (1.0, 2.0, 2**52),
        (-1.0, 1.0, 2 * (1023 << 52)),
    ],
)
def test_units_in_the_last_place_count_the_numbers_between(a: float, b: float, ulps: int) -> None:
    assert ulp_distance(np.array([a]), np.array([b])).tolist() == [ulps]
    assert ulp_distance(np.array([b]), np.array([a])).tolist() == [ulps]


def test_the_figures_leave_non_finite_pairs_out() -> None:
    found = compare(np.array([1.0, NAN, INF]), np.array([1.5, 7.0, -INF])).summary
    assert found.max_abs_diff == 0.5
    assert found.max_ulps == 2**51
    assert found.rows_agreeing == 0


def test_the_histogram_counts_rows_by_the_decimals_of_their_worst_value() -> None:
    online = np.array([[0.0, 0.0]] * 6)
    offline = np.array(
        [[0.0, 0.0], [-0.0, 0.0], [4e-11, 1e-15], [6e-11, 0.0], [0.3, 4e-11], [NAN, 0.0]]
    )
    held = {i: n for i, n in enumerate(compare(online, offline).summary.decimals) if n}
    assert held == {EXACT_DECIMALS: 1, 16: 1, 10: 1, 9: 1, 0: 2}


@pytest.mark.parametrize("decimals", range(1, 17))
def test_decimals_are_counted_as_the_tolerance_counts_them(decimals: int) -> None:
    limit = Tolerance(decimals).limit
    assert agreed_decimals(np.array([limit, np.nextafter(limit, 1)])).tolist() == [
        decimals, decimals - 1
    ]  # fmt: skip


def test_the_worst_values_come_non_finite_first_then_largest_first() -> None:
    online = np.array([0.0, 1.0, 2.0, 3.0, NAN, 5.0])
    offline = np.array([1e-9, 1.0, 2.5, 2.0, 4.0, 5.0 + 1e-12])
    found = compare(online, offline)
    assert [d.position for d in found.worst(10)] == [4, 3, 2, 0]
    assert [d.position for d in found.worst(2)] == [4, 3]
    assert found.worst(0) == []
    worst = found.worst(2)
    assert math.isnan(worst[0].abs_diff)
    assert worst[0].ulps == -1
    assert worst[1].abs_diff == 1.0
    assert worst[1].ulps == 2**51
    assert type(worst[1].online) is float


def test_differences_of_one_size_come_in_row_order() -> None:
    found = compare(np.zeros(5), np.ones(5))
    assert [d.position for d in found.worst(3)] == [0, 1, 2]


def test_figures_survive_the_way_through_json() -> None:
    found = compare(np.array([0.1, 0.2, NAN]), np.array([0.1, 0.2 + 1e-11, NAN])).summary
    assert Comparison.from_json(json.loads(json.dumps(found.to_json()))) == found
    assert found.to_json()["agree_ratio"] == 1.0
    assert found.to_json()["bit_identical_ratio"] == 2 / 3


# --------------------------------------------------------------------------------------------- laws

VALUES = st.one_of(
    st.sampled_from([0.0, -0.0, NAN, INF, -INF, 5e-11, 5.1e-11, 1.0, 1.0 + 4e-11, 1e308, -1e308]),
    st.floats(width=64),
)
PAIRS = st.integers(1, 3).flatmap(
    lambda width: st.integers(1, 12).flatmap(
        lambda rows: st.tuples(
            hnp.arrays(np.float64, (rows, width), elements=VALUES),
            hnp.arrays(np.float64, (rows, width), elements=VALUES),
            hnp.arrays(np.bool_, (rows, width)),
            st.integers(0, rows),
        )
    )
)


@given(PAIRS)
def test_parts_add_up_to_the_whole(pair: tuple[Any, Any, Any, int]) -> None:
    online, other, same, cut = pair
    offline = np.where(same, online, other)
    whole = compare(online, offline).summary
    parts = [
        compare(online[part], offline[part]).summary for part in (slice(cut), slice(cut, None))
    ]
    assert parts[0] + parts[1] == whole
    assert sum(whole.decimals) == whole.rows


@given(PAIRS)
def test_columns_joined_are_the_rows_compared_at_once(pair: tuple[Any, Any, Any, int]) -> None:
    online, other, same, _ = pair
    offline = np.where(same, online, other)
    columns = [compare(a, b) for a, b in zip(online.T, offline.T, strict=True)]
    assert joint(columns) == compare(online, offline).summary


@given(PAIRS)
def test_swapping_the_sides_changes_no_figure(pair: tuple[Any, Any, Any, int]) -> None:
    online, offline, _, _ = pair
    assert compare(online, offline).summary == compare(offline, online).summary


@given(hnp.arrays(np.float64, st.tuples(st.integers(1, 9), st.integers(1, 3)), elements=VALUES))
def test_anything_agrees_with_itself_bit_for_bit(values: Any) -> None:
    found = compare(values, values.copy()).summary
    assert found.rows_identical == found.rows_agreeing == found.rows
    assert found.decimals[EXACT_DECIMALS] == found.rows
    assert (found.max_abs_diff, found.max_ulps) == (0.0, 0)


@given(st.floats(-1e6, 1e6), st.floats(-1e-9, 1e-9), st.integers(0, 16))
def test_the_rule_is_the_one_line_of_the_design(a: float, step: float, decimals: int) -> None:
    b = a + step
    assert agree(a, b, decimals) is (abs(a - b) <= float(f"5e-{decimals + 1}"))
