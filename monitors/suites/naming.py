"""The short name of a rule: in metrics, flags, the report, and when two suites are merged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from consistency.jsontype import Json

_LONGEST: Final = 120
"""Characters of a name: a metric's label has to stay short."""


def rule_name(kind: str, columns: Sequence[str], condition: object = None) -> str:
    """Return fields, rule and condition in short.

    >>> rule_name("expect_column_values_to_be_in_set", ["city"])
    'city:be_in_set'
    >>> rule_name("expect_column_pair_values_a_to_be_greater_than_b", ["a", "b"], "c == 1")
    'a,b:a_greater_than_b if c == 1'
    >>> rule_name("expect_table_row_count_to_be_between", [])
    'table:row_count_to_be_between'
    """
    short = kind.removeprefix("expect_")
    for prefix in ("column_pair_values_", "column_values_", "column_", "table_"):
        if short.startswith(prefix):
            short = short.removeprefix(prefix)
            break
    short = short.removeprefix("to_").replace("a_to_be_greater", "a_greater")
    if kind.startswith("expect_column_pair"):
        short = short.replace("be_equal", "pair_equal").replace("be_in_set", "pair_in_set")
    where = "" if condition is None else f" if {condition}"
    name = f"{','.join(columns) or 'table'}:{short}{where}"
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"


def columns_of(kwargs: dict[str, Json]) -> tuple[str, ...]:
    """Return the fields that an expectation's arguments name.

    >>> columns_of({"column_A": "a", "column_B": "b"}), columns_of({"column": "x"})
    (('a', 'b'), ('x',))
    """
    if kwargs.get("column") is not None:
        return (str(kwargs["column"]),)
    if kwargs.get("column_A") is not None:
        return (str(kwargs["column_A"]), str(kwargs.get("column_B")))
    held = kwargs.get("column_list")
    return tuple(map(str, held)) if isinstance(held, (list, tuple)) else ()
