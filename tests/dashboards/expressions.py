"""What tests ask of PromQL: expressions without Grafana's variables, and the selectors in them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import promql_parser

# A range that nobody writes: that of $__rate_interval can be told from a written one.
RATE_INTERVAL = "130d12h46m4s"
BUILT_IN = {"__rate_interval": RATE_INTERVAL, "__range": "131d", "__interval": "132d"}
VARIABLE = re.compile(r"\$(?:\{(\w+)(?::\w+)?\}|(\w+))")

COUNTER_FUNCTIONS = frozenset({"rate", "irate", "increase"})


@dataclass(frozen=True)
class Node:
    """A part of an expression.

    Attributes:
        parents: from the whole expression down to the node's own parent.
    """

    at: Any
    parents: tuple[Any, ...]

    @property
    def function(self) -> str:
        """The function whose argument this is, if any."""
        parent = self.parents[-1] if self.parents else None
        return parent.func.name if isinstance(parent, promql_parser.Call) else ""


@dataclass(frozen=True)
class Selector:
    """A choice of series.

    Attributes:
        matchers: (label, operator, value).
        function: that is applied to its range, if it has one.
    """

    name: str
    matchers: tuple[tuple[str, str, str], ...]
    is_ranged: bool
    function: str


def substituted(expr: str, values: Mapping[str, str]) -> str:
    """Replace variables as Grafana does; one that is unknown stays."""

    def replace(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        return values.get(name, found[0])

    return VARIABLE.sub(replace, expr)


def parse(expr: str) -> Any:
    """Parse an expression in which Grafana's own variables, and no others, may need replacing."""
    return promql_parser.parse(substituted(expr, BUILT_IN))


def nodes(at: Any, parents: tuple[Any, ...] = ()) -> Iterator[Node]:
    """Yield every part of a parsed expression, from the top."""
    yield Node(at, parents)
    below = [getattr(at, name, None) for name in ("expr", "lhs", "rhs", "param", "vector_selector")]
    below += list(getattr(at, "args", ()))
    for child in below:
        if isinstance(child, promql_parser.Expr):
            yield from nodes(child, (*parents, at))


def selectors(expr: str) -> list[Selector]:
    """Return the selectors of an expression."""
    found = []
    for node in nodes(parse(expr)):
        if isinstance(node.at, promql_parser.VectorSelector):
            ranged = node.parents and isinstance(node.parents[-1], promql_parser.MatrixSelector)
            call = node.parents[-2] if ranged and len(node.parents) > 1 else None
            function = call.func.name if isinstance(call, promql_parser.Call) else ""
            matchers = tuple(
                (m.name, _OPERATORS[str(m.op)], m.value) for m in node.at.matchers.matchers
            )
            found.append(Selector(node.at.name or "", matchers, bool(ranged), function))
    return found


_OPERATORS = {
    "MatchOp.Equal": "=",
    "MatchOp.NotEqual": "!=",
    "MatchOp.Re": "=~",
    "MatchOp.NotRe": "!~",
}
