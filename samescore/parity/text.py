"""The parity table in a terminal."""

from __future__ import annotations

from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from consistency.parity import CellResult, CellState, ParityTable
from consistency.parity_advice import Advice, advise, percent, times

_STYLES: Final = {CellState.FAILED: "bold red", CellState.NOT_APPLICABLE: "dim"}
_SHORT: Final = {
    CellState.NOT_APPLICABLE: "n/a",
    CellState.NOT_AVAILABLE: "none",
    CellState.FAILED: "failed",
}


def show(table: ParityTable) -> None:
    """Print the table and what to do."""
    console = Console()
    console.print(f"{table.model}: {rows_text(table)}", soft_wrap=True, markup=False)
    console.print(_grid(table))
    _show_advice(console, table, advise(table))


def rows_text(table: ParityTable) -> str:
    """Return which rows every cell scored."""
    rows = f"{table.rows:,} {table.rows_from} rows in each cell"
    if table.distinct_rows == table.rows:
        return rows
    copies = table.rows // table.distinct_rows
    return f"{rows} ({table.distinct_rows:,} different ones, {copies} times in other orders)"


def _grid(table: ParityTable) -> Table:
    title = f"agreement with the first cell of each execution, {table.decimals} decimals"
    grid = Table(title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("execution", "surroundings"):
        grid.add_column(column, no_wrap=True)
    for column in ("batch", "agree", "same bits", "max |Δ|", "µs/row", "cost"):
        grid.add_column(column, justify="right", no_wrap=True)
    for execution in table.executions:
        for result in table.of(execution):
            grid.add_row(*_row(table, result), style=style_of(result))
        grid.add_section()
    return grid


def style_of(result: CellResult) -> str:
    """Return how a cell's line is printed."""
    if result.comparison is not None and not result.comparison.agrees:
        return "red"
    return _STYLES.get(result.state, "")


def _row(table: ParityTable, result: CellResult) -> list[str]:
    cell, found = result.cell, result.comparison
    where = [str(cell.execution), cell.surroundings.describe(table.baseline), str(cell.batch)]
    if found is None:
        return [*where, _SHORT[result.state], "", "", "", ""]
    cost = table.cost(result)
    return [
        *where,
        percent(found.agree_ratio),
        percent(found.identical_ratio),
        f"{found.max_abs_diff:.2g}",
        microseconds(result),
        "" if cost is None else times(cost),
    ]


def microseconds(result: CellResult) -> str:
    """Return a measured cell's time per row."""
    taken = 1e6 * (result.seconds_per_row or 0.0)
    return f"{taken:.0f}" if taken >= 100 else f"{taken:.3g}"


def _show_advice(console: Console, table: ParityTable, advice: Advice) -> None:
    for line in (*reasons(table), *advice.findings):
        console.print(line, soft_wrap=True, markup=False, highlight=False)
    style = "bold green" if table.agrees(table.serving) else "bold red"
    console.print(advice.headline, soft_wrap=True, markup=False, highlight=False, style=style)


def reasons(table: ParityTable) -> list[str]:
    """Return why cells were not measured, each reason once."""
    found: dict[str, None] = {}
    for result in table.results:
        if result.reason:
            state = result.state.value.replace("_", " ")
            around = result.cell.surroundings.describe(table.baseline)
            where = f"{result.cell.execution}, {around}"
            if result.state is CellState.FAILED:
                where += f", batch {result.cell.batch}"
            found[f"{where}: {state}: {result.reason}"] = None
    return list(found)
