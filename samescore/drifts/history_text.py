"""What the history of a drift job tells a person in a terminal, and a machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.table import Table

from consistency.jsontype import Json
from monitors.drift.judgement import Verdict, band
from monitors.drift.plan import Reason
from monitors.drift.revision import Point, Revision
from monitors.drift.windows import utc_text
from samescore.drifts.run import window_summary

_BAR_WIDTH: Final = 24
_LONGEST_BAR_PSI: Final = 1.0
_REASONS: Final = {
    Reason.FIRST: "first",
    Reason.MORE_ROWS: "more rows",
    Reason.SETTINGS: "settings",
    Reason.EARLIER_WINDOW: "window before",
    Reason.IMPORTED: "imported",
}


def revisions_table(title: str, revisions: Sequence[Revision]) -> Table:
    """Return judgements as a table: those that stand no more are dim."""
    table = Table(title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("window", "no.", "judged at", "why", "rows", "late rows", "verdict"):
        left = column not in ("no.", "rows")
        wraps = column in ("judged at", "why", "late rows")  # a figure must not be cut off
        table.add_column(column, justify="left" if left else "right", no_wrap=not wraps)
    for each in revisions:
        record = each.record
        style = "bold red" if record.verdict is Verdict.DRIFT else ""
        table.add_row(
            record.window.label,
            str(each.number),
            (_judged_at(each) or "-").replace("T", " ")[:16],
            _REASONS[each.reason],
            f"{record.counts.rows:,}",
            _late(each),
            record.verdict.value.replace("_", " "),
            style=style if each.latest else "dim",
        )
    return table


def revision_json(revision: Revision) -> dict[str, Json]:
    """Return a judgement without its counts, as JSON types."""
    return window_summary(revision.record) | {
        "revision": revision.number,
        "latest": revision.latest,
        "reason": revision.reason.value,
        "judged_at": _judged_at(revision),
        "settled": revision.settled,
        "too_late": revision.too_late,
    }


def trend_table(title: str, points: Sequence[Point]) -> Table:
    """Return a feature over time; the bar is full at an index of 1."""
    table = Table(title=title)
    for column in ("window", "PSI", "", "band", "missing", "unseen", "verdict"):
        left = column in ("window", "", "band", "verdict")
        table.add_column(column, justify="left" if left else "right")
    for point in points:
        psi = point.psi
        told = f"drift {point.reason}".strip() if point.drifted else ""
        table.add_row(
            point.window.label,
            "-" if psi is None else f"{psi:.3f}",
            "" if psi is None else _bar(psi),
            "" if psi is None else band(psi).value,
            _percent(point.missing_ratio),
            _percent(point.unseen_ratio),
            told,
            style="bold red" if point.drifted else "",
        )
    return table


def point_summary(point: Point) -> dict[str, Json]:
    """Return a feature in one window as JSON types."""
    return {
        "start": point.window.start,
        "end": point.window.end,
        "psi": point.psi,
        "drifted": point.drifted,
        "missing_ratio": point.missing_ratio,
        "unseen_ratio": point.unseen_ratio,
        "reason": point.reason,
    }


def _late(revision: Revision) -> str:
    if not revision.latest:
        return "-"
    if revision.too_late:
        return f"{revision.too_late:,} too late"
    return "settled" if revision.settled else "still taken"


def _judged_at(revision: Revision) -> str | None:
    imported = revision.reason is Reason.IMPORTED
    return None if imported else utc_text(int(revision.judged_at_s))


def _bar(psi: float) -> str:
    return "█" * round(_BAR_WIDTH * min(psi / _LONGEST_BAR_PSI, 1.0))


def _percent(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2%}"
