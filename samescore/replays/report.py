"""Makes a replay's `report.html`: one file, no network, plots of what agrees and how far."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from typing import Final

from consistency.replay import ReplayReport
from samescore import __version__
from samescore.plotting import Plot
from samescore.replays.plots import agreement_by_stage, decimals_of_scores, differing_features
from samescore.replays.text import conclusion, redaction_note

TEMPLATE: Final = "report.html.j2"


def render_report(report: ReplayReport) -> str:
    """Return the page: the same bytes for the same report, whenever it is made."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"count": lambda n: f"{n:,}", "size": lambda value: f"{value:.3g}"}
    source = resources.files("samescore.replays").joinpath(TEMPLATE).read_text(encoding="utf-8")
    models = report.models.values()
    scores = [m.stages["scores"] for m in models if "scores" in m.stages]
    return environment.from_string(source).render(
        report=report,
        headline=_headline(report),
        conclusion=conclusion(report),
        warnings=list(_warnings(report)),
        requests=sum(m.requests for m in models),
        rows=sum(m.rows for m in models),
        differing=sum(c.rows - c.rows_agreeing for c in scores),
        plots=_plots(report),
        version=__version__,
    )


def _headline(report: ReplayReport) -> str:
    if not report.models:
        return "Nothing was replayed"
    return "Same scores" if report.agrees else "Scores or features differ"


def _warnings(report: ReplayReport) -> Iterator[str]:
    if report.lost_lines:
        yield f"{report.lost_lines:,} lines of the log cannot be read; they may have been answered"
    for name, model in report.models.items():
        note = redaction_note(model)
        if note:
            yield f"{name}: {note}"
        for reason, count in model.not_replayable.items():
            yield f"{name}: {count:,} requests were not replayed ({reason})"


def _plots(report: ReplayReport) -> list[Plot]:
    if not any(model.stages for model in report.models.values()):
        return []
    plots = [agreement_by_stage(report)]
    if any("scores" in model.stages for model in report.models.values()):
        plots.append(decimals_of_scores(report))
    if any(model.features for model in report.models.values()):
        plots.append(differing_features(report))
    return plots
