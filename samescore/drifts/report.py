"""Writes the drift job's `report.html`: one file, no network, plots over time."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Final

from monitors.drift.judgement import Verdict
from monitors.drift.store import write_if_changed
from samescore import __version__
from samescore.drifts.cause_plots import cause_plots
from samescore.drifts.cause_text import METHOD, UNPROVEN, headline, proof, segment_method
from samescore.drifts.plots import Timeline, gaps_by_window, psi_by_window, scores_by_window
from samescore.drifts.run import DriftRun, Outcome
from samescore.drifts.text import conclusion, warnings_of
from samescore.plotting import Plot

TEMPLATE: Final = "report.html.j2"

HEADLINES: Final = {
    Outcome.NO_DRIFT: "No drift",
    Outcome.DRIFT: "Drift",
    Outcome.NOTHING_TO_JUDGE: "Nothing to judge",
}


def write_report(run: DriftRun) -> Path:
    """Write the page beside the windows, if it has changed.

    Raises:
        MonitorError: it cannot be written.
    """
    path = run.folder / "report.html"
    causes = [] if run.root_cause is None else cause_plots(run.root_cause)
    write_if_changed(path, render(run, draw(run), causes).encode())
    return path


def draw(run: DriftRun) -> list[Plot]:
    """Return the plots; none when no window has rows."""
    if not run.history:
        return []
    timeline = Timeline.of(run.history)
    if not timeline.records:
        return []
    plots = [psi_by_window(timeline), scores_by_window(timeline, run.reference)]
    if any(record.judgement.features for record in timeline.records.values()):
        plots.append(gaps_by_window(timeline))
    return plots


def render(run: DriftRun, plots: list[Plot], causes: Sequence[Plot] = ()) -> str:
    """Return the page: the same bytes for the same run, whenever it is made."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "count": lambda n: f"{n:,}",
        "percent": lambda ratio: f"{ratio:.2%}",
        "psi": lambda value: f"{value:.3f}",
        "score": lambda value: f"{value:.4g}",
        "change": lambda value: f"{value:+.4g}",
        "headline": headline,
        "proof": proof,
        "segment_method": segment_method,
    }
    source = resources.files("samescore.drifts").joinpath(TEMPLATE).read_text(encoding="utf-8")
    measured = [r for r in run.history if r.judgement.measures]
    return environment.from_string(source).render(
        run=run,
        subject=run.subject,
        thresholds=run.job.thresholds,
        headline=HEADLINES[run.outcome],
        bad=run.outcome is Outcome.DRIFT,
        conclusion=conclusion(run),
        warnings=warnings_of(run),
        history=run.history,
        shown=measured[-1] if measured else None,
        drifted=sum(r.verdict is Verdict.DRIFT for r in run.history),
        judged=sum(r.verdict is not Verdict.TOO_FEW_ROWS for r in run.history),
        rows=sum(r.counts.rows for r in run.history),
        plots=plots,
        cause=run.root_cause,
        cause_plots=causes,
        method=METHOD,
        unproven=UNPROVEN,
        revised=run.to_json()["revisions"],
        version=__version__,
    )
