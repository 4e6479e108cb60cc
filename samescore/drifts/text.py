"""What the drift job tells a person in a terminal."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.table import Table

from monitors.drift.judgement import FALSE_DISCOVERIES, Measure, Verdict
from monitors.drift.plan import Reason
from monitors.drift.record import WindowRecord
from monitors.drift.store import Change
from monitors.drift.windows import gaps, utc_text
from samescore.drifts.cause_text import cause_lines
from samescore.drifts.run import DriftRun, Outcome

_STYLES: Final = {
    Verdict.DRIFT: "bold red",
    Verdict.TOO_FEW_ROWS: "yellow",
    Verdict.NO_DRIFT: "",
}
_WHY: Final = {
    Reason.FIRST: "it was judged for the first time",
    Reason.MORE_ROWS: "since more requests came",
    Reason.SETTINGS: "since thresholds or baseline are others",
    Reason.EARLIER_WINDOW: "since a window before it was judged anew",
    Reason.IMPORTED: "it comes from an earlier release",
}
_MOST_LISTED: Final = 10
_MOST_WINDOWS: Final = 31


def show_run(found: DriftRun) -> None:
    """Print the windows, what this run did to them, and how it ends."""
    console = Console()
    subject = found.subject
    if found.history:
        title = f"{subject.model}/{subject.version}: windows of {found.job.length} by {subject.by}"
        console.print(windows_table(title, found.history[-_MOST_WINDOWS:]))
    earlier = found.earlier + max(len(found.history) - _MOST_WINDOWS, 0)
    if earlier:
        console.print(f"{earlier} earlier windows: samescore drift show {history_option(found)}",
                      markup=False, soft_wrap=True)  # fmt: skip
    did = {c: sum(change is c for change in found.changes.values()) for c in Change}
    told = ", ".join(f"{n} {change.value}" for change, n in did.items())
    console.print(f"windows in the log: {told}; kept in {found.place}", soft_wrap=True)
    console.print(conclusion(found), markup=False, soft_wrap=True,
                  style=_STYLES[_as_verdict(found)])  # fmt: skip
    for line in cause_lines(found.root_cause) if _tells_cause(found) else ():
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    for line in also_moved(found):
        console.print(line, markup=False, soft_wrap=True)


def _tells_cause(found: DriftRun) -> bool:
    """Return whether the root cause is for the terminal: of drift, or because it was asked for."""
    cause = found.root_cause
    asked = cause is not None and bool(cause.attribution or cause.segments)
    return asked or found.outcome is Outcome.DRIFT


def history_option(found: DriftRun) -> str:
    """Return what names the history to another command."""
    return f"{found.job.folder}" if found.job.history is None else f"--history {found.place}"


def _as_verdict(found: DriftRun) -> Verdict:
    if found.outcome is Outcome.NOTHING_TO_JUDGE:
        return Verdict.TOO_FEW_ROWS
    return Verdict(found.outcome.value)


def conclusion(found: DriftRun) -> str:
    """Return the verdict as a sentence."""
    if found.outcome is Outcome.NOTHING_TO_JUDGE:
        return f"nothing to judge: {_why_nothing(found)}"
    which = ", ".join(r.window.label for r in found.deciding)
    if found.outcome is Outcome.NO_DRIFT:
        return f"no drift in {which}"
    moved = [
        f"{r.window.label}: " + ", ".join(_told(m) for m in r.judgement.drifted)
        for r in found.deciding
        if r.verdict is Verdict.DRIFT
    ]
    return "drift (population stability index) in " + ";\n  ".join(moved)


def _told(measure: Measure) -> str:
    because = f" ({measure.reason})" if measure.reason else ""
    return f"{measure.name} {measure.psi:.3g}, {measure.band.value}{because}"


def also_moved(found: DriftRun) -> list[str]:
    """Return what else has moved in windows with an alarm, a line each."""
    told = []
    for record in found.deciding:
        judgement = record.judgement
        others = [m.name for m in judgement.moved if m not in judgement.drifted]
        if others:
            more = ", ..." if len(others) > _MOST_LISTED else ""
            told.append(
                f"{record.window.label}: {_others(len(others))} moved too (at most "
                f"{FALSE_DISCOVERIES:.0%} of the whole list by chance): "
                f"{', '.join(others[:_MOST_LISTED])}{more}"
            )
    return told


def _others(count: int) -> str:
    return "1 other has" if count == 1 else f"{count} others have"


def _why_nothing(found: DriftRun) -> str:
    if found.changes:
        rows = ", ".join(f"{r.window.label} has {r.counts.rows}" for r in found.deciding)
        least = found.job.thresholds.min_rows
        return f"too few rows: {rows}, a verdict needs {least} (--min-rows); or widen the --window"
    if found.waiting:
        return (
            f"no window is over yet, the first ends at {found.waiting[0].end}; wait, or judge it "
            f"as it is with --include-open"
        )
    other = found.skipped.other_models + sum(found.skipped.other_bundles.values())
    name = f"{found.subject.model}/{found.subject.version}"
    if other:
        return f"the log holds no request that this bundle of {name} served, only {other} others"
    return "the log holds no request"


def warnings_of(found: DriftRun) -> list[str]:
    """Return what a reader of the verdict must know, a sentence each."""
    skipped, told = found.skipped, [found.uncalibrated] if found.uncalibrated else []
    if skipped.damaged_lines:
        first = [f"{d.segment} line {d.line} ({d.problem})" for d in skipped.damage]
        more = ", ..." if skipped.damaged_lines > _MOST_LISTED else ""
        told.append(
            f"{skipped.damaged_lines} damaged lines were skipped: "
            f"{', '.join(first[:_MOST_LISTED])}{more}; see samescore log verify"
        )
    if skipped.torn_tails:
        told.append(f"{skipped.torn_tails} torn tails were skipped; they were never answered")
    told += [
        f"{requests} requests were skipped: another bundle of this version served them ({digest})"
        for digest, requests in sorted(skipped.other_bundles.items())
    ]
    untimed = sum(record.counts.untimed for record in found.judged)
    if untimed:
        told.append(f"{untimed} requests without an event time went by their ingest time")
    if found.kept:
        told.append(
            f"the log now holds fewer requests than were counted before, these windows stay as "
            f"they were: {', '.join(w.label for w in found.kept[:_MOST_LISTED])}"
        )
    told += [*_told_lateness(found), *_told_revisions(found), *_told_gaps(found)]
    return told


def _told_lateness(found: DriftRun) -> list[str]:
    told = []
    if found.too_late:
        first = [f"{w.label} ({requests})" for w, requests in found.too_late.items()]
        more = ", ..." if len(first) > _MOST_LISTED else ""
        told.append(
            f"{sum(found.too_late.values())} requests came too late to count, after their window "
            f"was settled: {', '.join(first[:_MOST_LISTED])}{more}; --lateness grants longer"
        )
    if found.behind:
        told.append(
            f"{found.behind} windows are left for the next run: this one ended at --most-windows "
            f"{found.job.most_windows}"
        )
    return told


def _told_revisions(found: DriftRun) -> list[str]:
    """Tell the verdicts that have changed; every other revision is in the history."""
    told = [
        f"{after.record.window.label}: the verdict changed from "
        f"{before.record.verdict.value.replace('_', ' ')} to "
        f"{after.record.verdict.value.replace('_', ' ')}, {_WHY[after.reason]}"
        for before, after in itertools.pairwise(found.revisions)
        if before.record.window == after.record.window
        and before.record.verdict is not after.record.verdict
    ]
    more = len(told) - _MOST_LISTED
    return [*told[-_MOST_LISTED:], *[f"{more} earlier verdicts changed too"] * (more > 0)]


def _told_gaps(found: DriftRun) -> list[str]:
    """Tell the longest gap only: a service that sleeps at night has hundreds."""
    held = gaps(r.window for r in found.history)
    if not held:
        return []
    longest = max(held, key=lambda gap: gap.windows)
    start, end = utc_text(longest.start_s), utc_text(longest.end_s)
    total = sum(gap.windows for gap in held)
    return [f"{total} windows hold no request; the longest gap is from {start} to {end}"]


def windows_table(title: str, records: Sequence[WindowRecord]) -> Table:
    """Return judged windows as a table for the terminal."""
    table = Table(title=title)
    for column in ("window", "rows", "refused", "verdict", "score PSI", "largest feature PSI"):
        left = column in ("window", "verdict", "largest feature PSI")
        table.add_column(column, justify="left" if left else "right")
    for record in records:
        psi = record.judgement.score_psi
        open_yet = "" if record.complete else " (open)"
        table.add_row(
            record.window.label + open_yet,
            f"{record.counts.rows:,}",
            f"{record.counts.refused:,}",
            record.verdict.value.replace("_", " "),
            "-" if psi is None else f"{psi:.3f}",
            _largest(record),
            style=_STYLES[record.verdict],
        )
    return table


def _largest(record: WindowRecord) -> str:
    top = max(record.judgement.features, key=lambda m: m.psi, default=None)
    return "-" if top is None else f"{top.psi:.3f} {top.name} ({top.band.value})"
