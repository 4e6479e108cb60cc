"""The closing table, and the verdict in one line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from samescore.demo.stage import FLOAT32_MODEL


def close(console: Console, summary: dict[str, Any]) -> None:  # Any: JSON
    """Print what the demo found."""
    console.print()
    console.print(_table(summary))
    console.print(
        f"sent {summary['sent']:,} · answered {summary['answered']:,} · "
        f"logged {summary['logged']:,}",
        highlight=False,
    )
    console.print(f"{FLOAT32_MODEL}: {summary[FLOAT32_MODEL]['evidence']}", highlight=False)
    fault = summary["fault"]
    if fault["detected"]:
        cause = summary["fault_details"]["finding"].get("cause", "unproven")
        console.print(
            f"planted fault: found at stage {fault['stage']}, {fault['feature']} ({cause})",
            highlight=False,
        )
    text, style = alarm_in_words(summary["alarm"])
    console.print(f"alarm: {text}", style=style, highlight=False)
    for problem in summary["problems"]:
        console.print(f"WRONG: {problem}", style="bold red", markup=False)
    total = sum(summary["seconds"].values())
    if not summary["problems"]:
        console.print(
            f"All that must agree agrees, and the fault was found. {total:.0f} s.",
            style="bold green",
            highlight=False,
        )


def alarm_in_words(alarm: Mapping[str, Any]) -> tuple[str, str]:  # Any: JSON
    """Return what became of the alarm, and the style to say it in.

    Args:
        alarm: the `alarm` of `summary.json`.
    """
    name, others = alarm["alert"], ", ".join(alarm["others"])
    if not alarm["available"]:
        return "not shown, Prometheus is not installed", "yellow"
    if not alarm["fired"]:
        return f"{name} did not fire; {others or 'no other alert'} did", "bold red"
    if not alarm["resolved"]:
        return f"{name} fired, and did not resolve", "bold red"
    text = (
        f"{name} fired {alarm['seconds_to_fire']:.1f} s after the fault began, resolved "
        f"{alarm['seconds_to_resolve']:.1f} s after it ended; {others or 'no other alert'} fired"
    )
    return text, "bold red" if others or alarm["seconds_to_fire"] < 0 else "green"


def _table(summary: dict[str, Any]) -> Table:  # Any: JSON
    table = Table(title="offline against online, to ten decimals", box=SIMPLE_HEAD, pad_edge=False)
    for column in ("model", "rows", "agree", "same bits", "largest |Δ|", "p50 ms", "p99 ms"):
        table.add_column(column, justify="left" if column == "model" else "right", no_wrap=True)
    for name, model in summary["models"].items():
        agrees = model["agree_ratio"] == 1.0
        table.add_row(
            name,
            f"{model['rows']:,}",
            percent(model["agree_ratio"]),
            percent(model["bit_identical_ratio"]),
            f"{model['max_abs_diff']:.2g}",
            milliseconds(model["p50_ms"]),
            milliseconds(model["p99_ms"]),
            style="green" if agrees else "yellow",
        )
    return table


def percent(ratio: float) -> str:
    """Never round a disagreeing row away.

    >>> percent(1.0), percent(0.9999999)
    ('100%', '99.9999%')
    """
    return "100%" if ratio == 1.0 else f"{min(ratio, 0.999999):.4%}"


def milliseconds(value: float | None) -> str:
    """Return milliseconds with two digits behind the point."""
    return "–" if value is None else f"{value:.2f}"
