"""What a parity table says, in words: which factor moves the scores, which execution cures it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from consistency.compare import EXACT_DECIMALS, Comparison
from consistency.execution import Execution, ExecutionMode
from consistency.jsontype import Json
from consistency.parity import CellResult, Factor, ParityTable

_WITHIN_A_MACHINE: Final = frozenset({Factor.BATCH, Factor.THREADS})
"""What changes while one machine serves; the other factors are choices of whoever sets it up."""


@dataclass(frozen=True, slots=True)
class Moved:
    """A factor that moves scores when it alone is changed.

    Attributes:
        to: the value that moves the most rows, as a person writes it.
        comparison: with the same batch in the baseline surroundings (for the batch: with the
            reference).
    """

    factor: Factor
    to: str
    comparison: Comparison

    def __str__(self) -> str:
        share = percent(1.0 - self.comparison.agree_ratio)
        largest = f"largest |Δ| {self.comparison.max_abs_diff:.2g}"
        return f"{share} of rows move {self.to} ({largest})"


@dataclass(frozen=True, slots=True)
class Advice:
    """The conclusion.

    Attributes:
        headline: one line.
        findings: what was seen, one sentence each.
        serve_with: the execution to serve with; None when none that was tried agrees.
    """

    headline: str
    findings: tuple[str, ...]
    serve_with: Execution | None

    def to_json(self) -> dict[str, Json]:
        """Return JSON types."""
        return {
            "headline": self.headline,
            "findings": list(self.findings),
            "serve_with": None if self.serve_with is None else str(self.serve_with),
        }


def percent(ratio: float) -> str:
    """Return a share in percent that rounds neither all nor nothing away.

    >>> percent(0.00001), percent(1.0), percent(0.375)
    ('under 0.1%', '100%', '37.5%')
    """
    if 0.0 < ratio < 0.001:
        return "under 0.1%"
    return "100%" if ratio == 1.0 else f"{min(100.0 * ratio, 99.9):.3g}%"


def moves(table: ParityTable, execution: Execution) -> tuple[Moved, ...]:
    """Return the factors that move an execution's scores, each by its worst value."""
    found = []
    for factor in Factor:
        cells = [r for r in table.measured(execution) if _changes_only(table, r, factor)]
        worst = max(cells, key=_badness, default=None)
        if worst is not None and worst.isolated is not None and not worst.isolated.agrees:
            found.append(Moved(factor, _to(table, worst, factor), worst.isolated))
    return tuple(found)


def _changes_only(table: ParityTable, result: CellResult, factor: Factor) -> bool:
    changed = result.cell.surroundings.changes(table.baseline)
    reference = table.of(result.cell.execution)[0].cell
    if factor is Factor.BATCH:
        return not changed and result.cell.batch != reference.batch
    return changed == (factor,)


def _badness(result: CellResult) -> tuple[float, float]:
    found = result.isolated
    return (0.0, 0.0) if found is None else (1.0 - found.agree_ratio, found.max_abs_diff)


def _to(table: ParityTable, result: CellResult, factor: Factor) -> str:
    first = table.of(result.cell.execution)[0].cell.batch
    if factor is Factor.BATCH:
        return f"between batch {first} and {result.cell.batch}"
    was = table.baseline.value(factor)
    return f"between {was} and {result.cell.surroundings.value(factor)}"


def advise(table: ParityTable) -> Advice:
    """Draw the conclusion from a table."""
    findings = [_finding(table, e) for e in table.executions]
    findings += [f"{execution}: not available: {why}" for execution, why in table.without]
    serving = table.serving
    if table.agrees(serving):
        what = f"agrees to {table.decimals} decimals in all {len(table.measured(serving))} cells"
        return Advice(f"{_named(table)}: {what}; serve it as it is", tuple(findings), serving)
    return _mend(table, tuple(findings))


def _mend(table: ParityTable, findings: tuple[str, ...]) -> Advice:
    what = _trouble(table, table.serving)
    others = [e for e in table.executions if e != table.serving]
    cures = sorted((e for e in others if table.agrees(e)), key=lambda e: _worst_cost(table, e))
    partial = [e for e in others if e not in cures and holds_on_one_machine(table, e)]
    advice = [f"execution {e}{_cost(table, e)}" for e in cures]
    if partial:
        like = "if all machines and their settings are alike, " if cures else ""
        advice.append(f"{like}{' or '.join(f'{e}{_cost(table, e)}' for e in partial)}")
    if not advice:
        return Advice(f"{_named(table)}: {what}; {_nothing_helps(table)}", findings, None)
    alike = "" if cures else ", as long as all machines and their settings are alike"
    text = f"{_named(table)}: {what}; serve with {'; or, '.join(advice)}{alike}"
    return Advice(text, findings, (cures or partial)[0])


def holds_on_one_machine(table: ParityTable, execution: Execution) -> bool:
    """Whether neither the batch nor the number of threads moves a score, and nothing failed."""
    cells = [
        r
        for r in table.measured(execution)
        if not set(r.cell.surroundings.changes(table.baseline)) - _WITHIN_A_MACHINE
    ]
    agree = all(r.comparison is not None and r.comparison.agrees for r in cells)
    return len(cells) > 1 and agree and not table.failed(execution)


def _nothing_helps(table: ParityTable) -> str:
    decimals = agreed_by_all(table.measured(table.serving))
    tried = ", ".join(map(str, table.executions))
    promise = f" (all of its cells agree to {decimals})" if decimals else ""
    another = any(e.mode is ExecutionMode.PADDED for e in table.executions)
    padded = "padded:N with another N" if another else "padded:N"
    return (
        f"none of the executions tried ({tried}) agrees: try {padded}, export the model in float64,"
        " or bundle it anew with fewer gate_decimals, so that everyone can see what is promised"
        f"{promise}"
    )


def agreed_by_all(results: Iterable[CellResult]) -> int:
    """Return the number of decimals to which every row of every cell agrees; 17 means bit equal."""
    found = [r.comparison.decimals for r in results if r.comparison is not None]
    lowest = [next(d for d, rows in enumerate(c) if rows) for c in found if any(c)]
    return min(lowest, default=0)


def _finding(table: ParityTable, execution: Execution) -> str:
    cells = table.measured(execution)
    cost = _cost(table, execution)
    if table.agrees(execution):
        largest = max((r.comparison.max_abs_diff for r in cells if r.comparison), default=0.0)
        bits = agreed_by_all(cells) == EXACT_DECIMALS
        how = "bit for bit" if bits else f"largest |Δ| {largest:.2g}"
        return f"{execution}{cost}: every row agrees in all {len(cells)} cells ({how})"
    return f"{execution}{cost}: {_trouble(table, execution)}"


def _trouble(table: ParityTable, execution: Execution) -> str:
    said = [str(m) for m in moves(table, execution)]
    failed = table.failed(execution)
    if failed:
        said.append(f"{len(failed)} of {len(table.of(execution))} cells failed")
    if not said and len(table.measured(execution)) <= 1:
        said.append("nothing to compare: no cell beside the reference was measured")
    return "; ".join(said) or "no single factor moves it, but together they do"


def _named(table: ParityTable) -> str:
    return f"{table.model} served {_plainly(table.serving)}"


def _plainly(execution: Execution) -> str:
    return "as is" if execution.mode is ExecutionMode.AS_IS else f"with execution {execution}"


def _worst_cost(table: ParityTable, execution: Execution) -> float:
    return max(table.costs(execution).values(), default=float("inf"))


def _cost(table: ParityTable, execution: Execution) -> str:
    costs = table.costs(execution)
    if not costs or execution == table.serving:
        return ""
    return f" (cost {cost_range(costs)})"


def cost_range(costs: Mapping[int, float]) -> str:
    """Return the span of the cost over the batch sizes.

    >>> cost_range({1: 0.9, 64: 1.42})
    '×0.9 at batch 1 to ×1.4 at batch 64'
    """
    low, high = min(costs, key=lambda b: costs[b]), max(costs, key=lambda b: costs[b])
    if times(costs[low]) == times(costs[high]):
        return times(costs[low])
    return f"{times(costs[low])} at batch {low} to {times(costs[high])} at batch {high}"


def times(cost: float) -> str:
    """Return a cost factor as a person writes it.

    >>> times(0.943), times(144.8)
    ('×0.9', '×145')
    """
    return f"×{cost:.0f}" if cost >= 10 else f"×{cost:.1f}"
