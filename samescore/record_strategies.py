"""Hypothesis strategies of raw records: valid ones, and all that a client could send instead.

    from hypothesis import given, strategies as st
    from samescore.record_strategies import hostile_records

    @given(st.lists(hostile_records(pipeline.inputs, examples), min_size=1, max_size=5))
    def test_hostile_records(records):
        check_hostile_records(bound, records, good=examples)

Made from the schema and, where given, from real examples: a generated category is nearly never one
that training saw, so a strategy without examples would test the path of unseen ones alone.
Hypothesis is imported when a strategy is made.
"""

from __future__ import annotations

import datetime as dt
import decimal
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from consistency.jsontype import Json
from consistency.records import MAX_EXACT_INT_IN_FLOAT64, Record
from consistency.schema import Field, FieldType, RecordSchema

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

FLOATS: Final = (
    0.0, -0.0, math.nan, math.inf, -math.inf, 5e-324, -5e-324, 2.2250738585072014e-308,
    1.7976931348623157e308, -1.7976931348623157e308, 3.4028235677973366e38, 1e-45, 0.1, 1 / 3,
    1e16, 9007199254740993.0, 16777217.0, 1e-7, -1e-300,
)  # fmt: skip
"""Edges: zeros, not numbers, subnormal, extreme, beyond float32, not exact in binary."""

INTEGERS: Final = (
    0, -1, 2**24 + 1, 2**31, 2**32, 2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63),
    2**63, 2**64 - 1, 2**64, 10**30, -(10**30),
)  # fmt: skip
"""Edges of float32, int32, float64, int64 and uint64."""

TEXTS: Final = (
    "", " ", "\x00", "\n", "NaN", "null", "None", "NA", "inf", "0", "1.5", "true", "False",
    "\u00e9", "e\u0301",  # one letter, composed and decomposed
    "\u00df", "SS", "\u1e9e",  # sharp s: three spellings of one casefold
    "\u0130", "i\u0307", "\u0131", "\u017f", "\u212a", "\ufb01",  # letters that change by case
    "\u200b", "a\u200bb", "\ufeff", "\u202e",  # invisible
    "\u0661\u0662\u0663", "\uff11\uff12",  # digits of other scripts
    "\U0001f469\u200d\U0001f467", "\U0010ffff", "\ud800",  # joined, the last one, a lone half
    "a" * 5000, "'; DROP TABLE", "../..",
)  # fmt: skip
"""Texts that look missing, look like numbers, differ only in normalisation or letter case, cannot
be seen, or are no Unicode (the lone surrogate)."""

TIMES: Final = (
    "2026-01-01T00:00:00", "2026-01-01", "2026-02-29T00:00:00Z", "2024-02-29T23:59:59.999999Z",
    "2026-06-30T23:59:60Z", "2026-01-01T24:00:00Z", "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59", "1970-01-01T00:00:00Z", "1969-12-31T23:59:59.999999Z",
    "2026-03-29T02:30:00+01:00", "\uff12026-01-01T00:00:00Z", "yesterday", "1767225600",
)  # fmt: skip
"""Without an offset, leap days and seconds, the ends of the calendar, before the epoch."""

_FOREIGN: Final[tuple[Any, ...]] = (  # Any: what Python callers hand in that no JSON is
    np.float64(1.5), np.int64(3), np.bool_(True), decimal.Decimal("1.5"), b"bytes", (1, 2),
    dt.datetime(2026, 1, 1, tzinfo=dt.UTC), 10**400, 1j,
)  # fmt: skip
_EDGES: Final[dict[FieldType, tuple[Json, ...]]] = {
    FieldType.FLOAT64: (*FLOATS, *INTEGERS, 10**400),
    FieldType.INT64: (*INTEGERS, 1.0, True),
    FieldType.BOOL: (True, False, 0, 1, "true", "False"),
    FieldType.STRING: TEXTS,
    FieldType.TIMESTAMP: TIMES,
    FieldType.TOKENS: ([], [""], list(TEXTS), ["a", None], ["a", 1], "a b"),
}
"""Of each type, what is barely valid and what barely is not."""
_LETTERS: Final = 12


def valid_records(
    schema: RecordSchema, examples: Sequence[Record] = ()
) -> SearchStrategy[dict[str, Json]]:
    """Return a strategy of records that keep the schema; extreme where the schema allows it.

    Args:
        schema: the raw record's.
        examples: real records, whose values are drawn as often as made-up ones.
    """
    from hypothesis import strategies as st

    fields = {f.name: _valid(f, _seen(examples, f.name)) for f in schema.fields}
    required = {f.name: fields[f.name] for f in schema.fields if f.required}
    optional = {f.name: fields[f.name] for f in schema.fields if not f.required}
    return st.fixed_dictionaries(required, optional=optional)


def hostile_records(schema: RecordSchema, examples: Sequence[Record] = ()) -> SearchStrategy[Json]:
    """Return a strategy of records of which one or more fields are what no client should send.

    Missing, null, NaN, infinite, extreme, subnormal, -0.0, beyond 2**53 and 64 bits, of a wrong
    type, numbers and booleans as texts, texts that differ invisibly, nested junk, keys that are not
    in the schema, records that are no objects; some of them are valid all the same.
    """
    from hypothesis import strategies as st

    valid, junk, strangers = valid_records(schema, examples), _junk(), _keys(schema)
    edges = {f.name: st.sampled_from(_EDGES[f.type]) for f in schema.fields}
    names = st.lists(st.sampled_from(sorted(edges) or [""]), min_size=1, max_size=2, unique=True)

    @st.composite
    def hostile(draw: st.DrawFn) -> Json:
        # drawn by number: one_of would weigh each of the junk's many branches as much as the rest
        how = draw(st.integers(0, 11))
        if how == 11:
            return draw(junk)
        record = dict(draw(valid))
        if how == 10:
            record[draw(strangers)] = draw(junk)
        for name in draw(names) if edges and how < 8 else ():
            if how == 0:
                record.pop(name, None)
            else:
                record[name] = draw(edges[name] if how < 5 else junk)
        return record

    return hostile()


def _junk() -> SearchStrategy[Json]:
    from hypothesis import strategies as st

    leaves = st.one_of(
        st.none(),
        st.booleans(),
        st.sampled_from(FLOATS),
        st.floats(),
        st.sampled_from(INTEGERS),
        st.integers(),
        st.sampled_from(TEXTS),
        st.sampled_from(TIMES),
        st.text(max_size=_LETTERS),
        st.floats().map(repr),
        st.integers().map(str),
        st.sampled_from(_FOREIGN),
    )
    nested = st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
        ),
        max_leaves=6,
    )
    return st.one_of(leaves, leaves, leaves, nested)


def _keys(schema: RecordSchema) -> SearchStrategy[str]:
    """Keys of no field, among them those that only look like one."""
    from hypothesis import strategies as st

    alike = [v for n in schema.names for v in (n.upper(), n + " ", n + "\u200b", "\ufeff" + n)]
    made = st.sampled_from(sorted({*alike, "", "__proto__"})) | st.text(max_size=_LETTERS)
    return made.filter(lambda key: key not in schema.names)


def _seen(examples: Sequence[Record], name: str) -> list[Json]:
    """Return the different present values of a field, by their text: 1, 1.0 and True differ."""
    values = {repr(e[name]): e[name] for e in examples if e.get(name) is not None}
    return list(values.values())[:200]


def _valid(field: Field, seen: Sequence[Json]) -> SearchStrategy[Json]:
    from hypothesis import strategies as st

    made = _MADE[field.type]()
    found = st.one_of(st.sampled_from(seen), made) if seen else made
    return st.none() | found if field.nullable else found


def _floats() -> SearchStrategy[Json]:
    from hypothesis import strategies as st

    exact = st.integers(-MAX_EXACT_INT_IN_FLOAT64, MAX_EXACT_INT_IN_FLOAT64)
    beyond = st.integers(2**64, 10**300).flatmap(lambda v: st.sampled_from([v, -v]))
    finite = st.floats(allow_nan=False, allow_infinity=False)
    edges = st.sampled_from([v for v in FLOATS if not math.isinf(v)])
    return st.one_of(finite, st.floats(-1e3, 1e3), exact, beyond, edges)


def _integers() -> SearchStrategy[Json]:
    from hypothesis import strategies as st

    return st.integers(-1000, 1000) | st.integers(-(2**63), 2**63 - 1)


def _booleans() -> SearchStrategy[Json]:
    from hypothesis import strategies as st

    return st.booleans()


def _strings() -> SearchStrategy[Json]:
    from hypothesis import strategies as st

    unicode = [t for t in TEXTS if t != "\ud800"]
    return st.sampled_from(unicode) | st.text(max_size=_LETTERS)


def _times() -> SearchStrategy[Json]:
    from hypothesis import strategies as st

    minutes = st.integers(-14 * 60, 14 * 60)
    zones = minutes.map(lambda m: dt.timezone(dt.timedelta(minutes=m)))
    moments = st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2200, 1, 1), timezones=zones)  # noqa: DTZ001 - bounds are naive, zones are drawn
    return moments.map(dt.datetime.isoformat)


def _tokens() -> SearchStrategy[Json]:
    from hypothesis import strategies as st

    return st.lists(st.text(max_size=_LETTERS), max_size=4)


_MADE: Final = {
    FieldType.FLOAT64: _floats,
    FieldType.INT64: _integers,
    FieldType.BOOL: _booleans,
    FieldType.STRING: _strings,
    FieldType.TIMESTAMP: _times,
    FieldType.TOKENS: _tokens,
}
