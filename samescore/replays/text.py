"""What a replay found, in words and as a table for the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rich.console import Console
from rich.table import Table

from consistency.replay import ReplayReport
from consistency.replay.report import ModelReport
from samescore.replays.run import ReplayRun

MOST_DAMAGE_SHOWN: Final = 20


def show(report: ReplayReport) -> None:
    """Print a report on standard output."""
    console = Console()
    table = Table(title=f"replay: {report.mode}, batch {report.batch}, {report.decimals} decimals")
    for column in ("model", "stage", "rows", "agree", "same bits", "largest |Δ|", "ULPs"):
        left = column in ("model", "stage")
        table.add_column(column, justify="left" if left else "right", no_wrap=True)
    for name, model in report.models.items():
        for stage, found in model.stages.items():
            style = None if found.agrees else "bold red"
            table.add_row(
                name, stage, f"{found.rows:,}", _percent(found.agree_ratio),
                _percent(found.identical_ratio), f"{found.max_abs_diff:.3g}",
                f"{found.max_ulps:,}", style=style,
            )  # fmt: skip
    console.print(table)
    for name, model in report.models.items():
        _show_model(console, name, model)
    for damage in report.damage[:MOST_DAMAGE_SHOWN]:
        console.print(
            f"damaged: {damage.segment} line {damage.line}: {damage.problem} "
            f"({damage.size_bytes} bytes)", style="yellow", markup=False,
        )  # fmt: skip
    if len(report.damage) > MOST_DAMAGE_SHOWN:
        console.print(f"… {report.lost_lines} lines in all cannot be read", style="yellow")
    console.print(conclusion(report), style="bold green" if report.agrees else "bold red")


def _percent(ratio: float) -> str:
    """Never round a share of disagreeing rows away."""
    return "100%" if ratio == 1 else f"{min(ratio, 0.999999):.4%}"


def _show_model(console: Console, name: str, model: ModelReport) -> None:
    if model.rejected:
        console.print(
            f"{name}: {model.rejected_reproduced} of {model.rejected} refusals reproduced"
        )
    if "payload" in model.started_at and model.stages.keys() == {"outputs"}:
        console.print(f"{name}: no feature stage: replayed from the payload to the outputs")
    redacted = redaction_note(model)
    if redacted:
        console.print(f"{name}: {redacted}")
    for reason, count in model.not_replayable.items():
        console.print(f"{name}: {count} requests not replayed ({reason})")
    for feature, found in model.features.items():
        cause = f"{found.finding.cause} ({found.finding.evidence})"
        text = f"{name}: feature {feature!r} differs in {found.rows} rows: {cause}"
        console.print(text, style="red", markup=False)
    if model.first_divergence is not None:
        text = f"{name}: first divergence: {model.first_divergence}"
        console.print(text, style="red", markup=False, soft_wrap=True)


def conclusion(report: ReplayReport) -> str:
    """Return the verdict in a sentence."""
    if not report.models:
        meant = " that was chosen" if report.selection else ""
        return f"nothing was replayed: the log holds no request{meant}; this is no agreement"
    rows = sum(m.rows for m in report.models.values())
    refusals = sum(m.rejected for m in report.models.values())
    if report.agrees and not rows:
        return f"agrees: {refusals:,} refusals are reproduced; nothing was scored"
    if report.agrees:
        return f"agrees: {rows:,} rows to {report.decimals} decimals"
    reproduced = sum(m.rejected_reproduced for m in report.models.values())
    if not rows and refusals == reproduced and not report.lost_lines:
        return "no row was replayed (see above); this is no agreement"
    return f"differs (see above; {rows:,} rows replayed)"


def redaction_note(model: ModelReport) -> str:
    """Return what has to be said when payloads were redacted; empty when none was."""
    started = model.started_at
    if len(started) < 2:
        from_features = "features" in started and "payload" not in model.stages
        return "" if not from_features else "replayed from logged features: no payload was decoded"
    return (
        f"{started['features']:,} of {sum(started.values()):,} requests were replayed from their "
        f"logged features, since their payloads are redacted"
    )


def notes_of(run: ReplayRun) -> Iterator[str]:
    """Yield what a run with a checkpoint has to say of itself."""
    if run.kept:
        yield f"{run.kept} of {run.units} parts of the log were done before and are kept"
    for why, count in run.redone.items():
        yield f"{count} parts that were done before are done again: {why}"
