"""Writes the parity table as one page: no network, heat maps included."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Final

from consistency.errors import ConfigError
from consistency.parity import CellResult, ParityTable
from consistency.parity_advice import advise, percent, times
from samescore import __version__
from samescore.parity.plots import cost_map, heat_map
from samescore.parity.text import microseconds, reasons, rows_text

TEMPLATE: Final = "report.html.j2"


def write_report(table: ParityTable, path: Path) -> None:
    """Write the page.

    Raises:
        ConfigError: it cannot be written.
    """
    try:
        path.write_text(render(table), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--html {path} cannot be written: {error.strerror}") from error


def render(table: ParityTable) -> str:
    """Return the page."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "percent": percent,
        "times": times,
        "state": _state,
        "microseconds": microseconds,
    }
    source = resources.files("samescore.parity").joinpath(TEMPLATE).read_text(encoding="utf-8")
    effects = dict.fromkeys((r.cell.execution, e) for r in table.results for e in r.effects)
    return environment.from_string(source).render(
        table=table,
        agrees=table.agrees(table.serving),
        advice=advise(table),
        rows=rows_text(table),
        reasons=reasons(table),
        effects=list(effects),
        plots=[heat_map(table), cost_map(table)],
        version=__version__,
    )


def _state(result: CellResult) -> str:
    return result.state.value.replace("_", " ")
