"""The heat maps of the parity page: an execution's agreement, and its cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from consistency.execution import Execution
from consistency.parity import Cell, CellResult, CellState, ParityTable, Surroundings
from consistency.parity_advice import percent, times
from samescore.plotting import AGREES, DIFFERS, INK, LINE, MUTED, Plot, bare, figure, plot, style

_WIDTH: Final = 9.4
_WORDS: Final = {
    CellState.NOT_APPLICABLE: "no such switch",
    CellState.NOT_AVAILABLE: "not available",
    CellState.FAILED: "failed",
}

Axes = Any  # matplotlib is imported where it draws


def heat_map(table: ParityTable) -> Plot:
    """Draw every cell by its share of agreeing rows, executions side by side."""
    return _map(
        table,
        f"Rows that agree to {table.decimals} decimals with the first cell of their execution",
        "Blue agrees, orange does not, deeper orange is more rows. A cell without a number was not"
        " measured: the library has no such switch, or it changed nothing.",
        _agreement,
        _agreement_shade,
    )


def cost_map(table: ParityTable) -> Plot:
    """Draw every cell by its time per row."""
    return _map(
        table,
        "Time per row, against serving at the same batch in the baseline",
        "Purple is slower, white as fast. Measured on this machine, with what else it did.",
        lambda r: "" if (cost := table.cost(r)) is None else times(cost),
        lambda r: _cost_shade(table.cost(r) or 1.0),
    )


def _map(
    table: ParityTable,
    title: str,
    look: str,
    text: Callable[[CellResult], str],
    shade: Callable[[CellResult], tuple[str, float]],
) -> Plot:
    results = {r.cell: r for r in table.results}
    around = tuple(dict.fromkeys(r.cell.surroundings for r in table.results))
    batches = tuple(sorted({r.cell.batch for r in table.results}))
    marks = 0
    with style():
        drawn = figure(_WIDTH, 0.34 * len(around) + 1.1)
        panels = drawn.subplots(1, len(table.executions), sharey=True, squeeze=False)[0]
        for axes, execution in zip(panels, table.executions, strict=True):
            _frame(axes, table, execution, around, batches)
            for y, place in enumerate(around):
                for x, batch in enumerate(batches):
                    result = results.get(Cell(execution, place, batch))
                    if result is not None:
                        _draw(axes, (x, y), text(result), shade(result), result)
                        marks += result.state is CellState.MEASURED
    return plot(title, look, drawn, marks)


def _frame(
    axes: Axes,
    table: ParityTable,
    execution: Execution,
    around: tuple[Surroundings, ...],
    batches: tuple[int, ...],
) -> None:
    served = " (served)" if execution == table.serving else ""
    axes.set_title(f"{execution}{served}")
    axes.set_xticks(range(len(batches)), [f"{b:,}" for b in batches])
    axes.set_yticks(range(len(around)), [s.describe(table.baseline) for s in around])
    axes.set_xlabel("batch")
    axes.set_xlim(-0.5, len(batches) - 0.5)
    axes.set_ylim(len(around) - 0.5, -0.5)
    bare(axes, keep="")


def _draw(
    axes: Axes, at: tuple[int, int], text: str, shade: tuple[str, float], result: CellResult
) -> None:
    from matplotlib.patches import Rectangle

    colour, depth = shade
    measured = result.state is CellState.MEASURED
    corner = (at[0] - 0.47, at[1] - 0.46)
    axes.add_patch(Rectangle(corner, 0.94, 0.92, facecolor="none", edgecolor=LINE, linewidth=0.6))
    if measured:
        axes.add_patch(Rectangle(corner, 0.94, 0.92, color=colour, alpha=depth, linewidth=0))
    said = text if measured else _WORDS[result.state]
    ink = (MUTED if result.state is not CellState.FAILED else DIFFERS) if not measured else INK
    axes.text(*at, said, ha="center", va="center", fontsize=8 if measured else 6, color=ink)


def _agreement(result: CellResult) -> str:
    return "" if result.comparison is None else percent(result.comparison.agree_ratio)


def _agreement_shade(result: CellResult) -> tuple[str, float]:
    found = result.comparison
    if found is None or found.agrees:
        return AGREES, 0.3
    return DIFFERS, 0.25 + 0.65 * (1.0 - found.agree_ratio)


def _cost_shade(cost: float) -> tuple[str, float]:
    return "#CC79A7", float(np.clip(np.log2(max(cost, 1.0)) / 5.0, 0.0, 0.85))
