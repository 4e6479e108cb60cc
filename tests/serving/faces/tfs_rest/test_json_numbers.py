"""Numbers as upstream's parser reads them."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.faces.tfs_rest.json_errors import JsonError, JsonFault
from serving.faces.tfs_rest.json_numbers import scan_number


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("-0", 0),
        ("-12", -12),
        ("18446744073709551615", 2**64 - 1),
        ("-9223372036854775808", -(2**63)),
        ("18446744073709551616", 18446744073709551616.0),  # beyond 64 bits: a double
        ("-9223372036854775809", -9223372036854775808.0),
        ("1.0", 1.0),
        ("-0.0", -0.0),
        ("0e5", 0.0),
        ("1e2", 100.0),
        ("1E+2", 100.0),
        ("0.1", 0.1),
        ("1e-400", 0.0),
        ("1.79769e+308", 1.79769e308),
        ("0.9406512193742375", 0.9406512193742376),  # rounded twice
        ("NaN.5", 0.5),
        ("Infinitye1", 0.0),  # upstream forgets the word
    ],
)
def test_read_as_upstream(text: str, value: float) -> None:
    found, end = scan_number(text.encode(), 0)
    assert (repr(found), end) == (repr(value), len(text))


@pytest.mark.parametrize(
    ("text", "value", "end"),
    [
        ("NaN", "nan", 3),
        ("-NaN", "nan", 4),
        ("Inf", "inf", 3),
        ("-Infinity]", "-inf", 9),
        ("NaInf", "inf", 5),
        ("01", "0", 1),
        ("1,2", "1", 1),
        ("NaNs", "nan", 3),
    ],
)
def test_special_words_and_ends(text: str, value: str, end: int) -> None:
    found, after = scan_number(text.encode(), 0)
    assert (repr(found), after) == (value, end)


@pytest.mark.parametrize(
    ("text", "fault", "offset"),
    [
        ("", JsonFault.VALUE, 0),
        ("-", JsonFault.VALUE, 1),
        ("+1", JsonFault.VALUE, 0),
        ("Nan", JsonFault.VALUE, 2),
        ("Infinite", JsonFault.VALUE, 7),
        ("1.", JsonFault.FRACTION, 2),
        ("1.e5", JsonFault.FRACTION, 2),
        ("1e", JsonFault.EXPONENT, 2),
        ("1e+", JsonFault.EXPONENT, 3),
        ("1e309", JsonFault.TOO_BIG, 0),
        ("1.5e310", JsonFault.TOO_BIG, 0),
        ("9" * 310, JsonFault.TOO_BIG, 0),
    ],
)
def test_faults(text: str, fault: JsonFault, offset: int) -> None:
    with pytest.raises(JsonError) as caught:
        scan_number(text.encode(), 0)
    assert (caught.value.fault, caught.value.offset) == (fault, offset)


@given(st.floats(allow_nan=False, allow_infinity=False, width=64))
def test_a_double_arrives_within_a_few_bits(value: float) -> None:
    text = repr(value)
    found, end = scan_number(text.encode(), 0)
    assert end == len(text)
    assert math.isclose(found, value, rel_tol=2e-15, abs_tol=1e-322)


@given(st.floats(allow_nan=False, allow_infinity=False, width=64))
def test_exact_reads_every_double(value: float) -> None:
    found, _ = scan_number(repr(value).encode(), 0, exact=True)
    assert repr(float(found)) == repr(value)


@given(st.integers(min_value=0, max_value=10**15 - 1), st.integers(min_value=0, max_value=15))
def test_fifteen_digits_are_always_right(digits: int, places: int) -> None:
    text = f"{digits // 10**places}.{digits % 10**places:0{max(places, 1)}d}"
    found, _ = scan_number(text.encode(), 0)
    assert found == float(Fraction(text))
