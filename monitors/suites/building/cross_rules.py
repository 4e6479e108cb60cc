"""Expectations across fields, learnt from records: an order, a null that depends on a category.

A relation that held in every record is a rule only where it would be a wonder by chance: if the
fields had nothing to do with each other, some record would have broken it. That leaves out what two
ranges that do not meet say anyway. What is learnt so flags, and refuses nobody until a person makes
it a promise (`samescore suite policy`); sums and keys are promises that the operator names.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Final

import numpy as np

from consistency.errors import ConfigError
from consistency.jsontype import Json
from consistency.schema import FieldType
from monitors.suites.building.batch_rules import ENOUGH
from monitors.suites.building.held_columns import KeyProfile, Mask, Numbers
from monitors.suites.building.profile import FieldProfile
from monitors.suites.levels import Level
from monitors.suites.policy import SuitePolicy
from monitors.suites.specs import BuildSettings, ExpectationSpec

CHANCE: Final = 1e-6
"""Probability, over all relations tried, that independent fields seem related."""
_MAX_FIELDS: Final = 100
_EXACT: Final = 2.0**53


def cross_rules(
    fields: Sequence[FieldProfile], settings: BuildSettings, keys: Sequence[KeyProfile] = ()
) -> Iterator[ExpectationSpec]:
    """Yield what the profiled records meet across fields.

    Raises:
        ConfigError: a named sum or key does not hold, or names no fitting field.
    """
    if settings.cross_columns and all(f.held is not None for f in fields):
        yield from _pairs(fields)
        yield from _conditional_nulls(fields)
    named = {f.spec.name: f for f in fields}
    for names in settings.sums:
        yield _sum(names, _fields(named, names, "--sum"))
    for key in keys:
        _fields(named, key.names, "--unique")
        yield _key(key)


def _pairs(fields: Sequence[FieldProfile]) -> Iterator[ExpectationSpec]:
    numeric = [f for f in fields if f.span is not None and max(map(abs, f.span)) < _EXACT]
    held = [(f, f.numbers) for f in numeric[:_MAX_FIELDS]]
    limit = math.log(CHANCE / max(1, len(held) * (len(held) - 1)))
    found: dict[tuple[str, str], bool] = {}
    for (first, a), (second, b) in combinations(held, 2):
        both = ~(np.isnan(a) | np.isnan(b))
        if both.sum() < ENOUGH:
            continue
        mine, other = a[both], b[both]
        if (mine >= other).all() and _never_below(mine, other) < limit:
            found[first.spec.name, second.spec.name] = bool((mine > other).all())
        elif (mine <= other).all() and _never_below(other, mine) < limit:
            found[second.spec.name, first.spec.name] = bool((mine < other).all())
    names = {name for pair in found for name in pair}
    for (above, below), strictly in found.items():
        # what follows from two other relations is none of its own
        if not any((above, n) in found and (n, below) in found for n in names):
            yield _greater(above, below, strictly=strictly)


def _never_below(above: Numbers, below: Numbers) -> float:
    """Return the log probability that no row has above < below, were the two independent."""
    larger = len(below) - np.searchsorted(np.sort(below), above, side="right")
    share = float(larger.mean()) / len(below)
    return len(above) * math.log1p(-share) if share < 1 else -math.inf


def _greater(above: str, below: str, *, strictly: bool) -> ExpectationSpec:
    kwargs: dict[str, Json] = {
        "column_A": above,
        "column_B": below,
        "ignore_row_if": "either_value_is_missing",
    }
    if not strictly:
        kwargs["or_equal"] = True
    kind = "expect_column_pair_values_a_to_be_greater_than_b"
    return ExpectationSpec(kind, kwargs, policy=SuitePolicy.FLAG)


def _conditional_nulls(fields: Sequence[FieldProfile]) -> Iterator[ExpectationSpec]:
    """Yield "never null where the city is Bonn", for fields that are null elsewhere."""
    sparse = [f for f in fields if 0 < f.present < f.rows][:_MAX_FIELDS]
    groups = [(f, f.members) for f in fields[:_MAX_FIELDS] if f.held is not None]
    tried = max(1, len(sparse) * sum(len(members) for _, members in groups))
    for found in sparse:
        nulls = found.nulls
        for category, members in groups:
            if category is not found:
                always = _always_there(nulls, members, tried)
                if always:
                    yield _there_where(found.spec.name, category, always)


def _always_there(nulls: Mask, members: dict[Json, Mask], tried: int) -> list[Json]:
    """Return the members whose rows are never null, and would be by chance."""
    present = math.log1p(-float(nulls.mean()))
    limit = math.log(CHANCE / tried)
    return [
        m for m, rows in members.items() if rows.sum() * present < limit and not nulls[rows].any()
    ]


def _there_where(name: str, category: FieldProfile, members: list[Json]) -> ExpectationSpec:
    column = {"name": category.spec.name}
    condition: dict[str, Json] = {"type": "comparison", "column": column}
    if category.spec.type is FieldType.BOOL or len(members) == 1:
        condition |= {"operator": "==", "parameter": members[0]}
    else:
        condition |= {"operator": "IN", "parameter": sorted(members)}
    kwargs: dict[str, Json] = {"column": name, "row_condition": condition}
    kind = "expect_column_values_to_not_be_null"
    return ExpectationSpec(kind, kwargs, policy=SuitePolicy.FLAG)


def _fields(
    named: dict[str, FieldProfile], names: Sequence[str], option: str
) -> list[FieldProfile]:
    unknown = [n for n in names if n not in named]
    if unknown:
        raise ConfigError(
            f"{option} {'+'.join(names)}: the records have no field {unknown[0]!r}; "
            f"there are {', '.join(named)}"
        )
    if len(set(names)) < max(2, len(names)):
        raise ConfigError(f"{option} {'+'.join(names)}: name two or more different fields")
    return [named[n] for n in names]


def _sum(names: Sequence[str], fields: Sequence[FieldProfile]) -> ExpectationSpec:
    for one in fields:
        if one.span is None:
            raise ConfigError(f"--sum {'+'.join(names)}: field {one.spec.name!r} holds no numbers")
    columns = [f.numbers for f in fields]
    total = columns[0].copy()
    for column in columns[1:]:  # from left to right, as GX and the guard do
        total += column
    totals = np.unique(total[~np.isnan(total)])
    if len(totals) != 1:
        raise ConfigError(
            f"--sum {'+'.join(names)}: the records have {len(totals)} different sums, from "
            f"{totals.min(initial=math.inf):g} to {totals.max(initial=-math.inf):g}; a rule needs "
            f"the same sum, to the last bit, in each"
        )
    kwargs = {
        "column_list": list(names),
        "sum_total": float(totals[0]),
        "ignore_row_if": "any_value_is_missing",
    }
    return ExpectationSpec("expect_multicolumn_sum_to_equal", kwargs)


def _key(key: KeyProfile, option: str = "--unique") -> ExpectationSpec:
    if key.repeats:
        raise ConfigError(
            f"{option} {'+'.join(key.names)}: {key.repeats} records repeat the values of another "
            f"one; name fields that tell any two records apart"
        )
    kwargs = {"column_list": list(key.names), "ignore_row_if": "any_value_is_missing"}
    return ExpectationSpec("expect_compound_columns_to_be_unique", kwargs, Level.BATCH, rows=2)
