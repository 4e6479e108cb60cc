"""The plots of a replay's report."""

from __future__ import annotations

from typing import Final

from consistency.compare import EXACT_DECIMALS
from consistency.replay import ReplayReport
from samescore.plotting import (
    AGREES,
    DIFFERS,
    MUTED,
    STAGE_COLOURS,
    Plot,
    bare,
    figure,
    plot,
    style,
)

MOST_FEATURES: Final = 30
_BAR_INCHES: Final = 0.27


def agreement_by_stage(report: ReplayReport) -> Plot:
    """Draw the rows that differ in each stage of each model."""
    bars = [
        (f"{name}  {stage}", found.rows - found.rows_agreeing, found.rows)
        for name, model in report.models.items()
        for stage, found in model.stages.items()
    ]
    with style():
        drawn = figure(9.0, 0.9 + _BAR_INCHES * len(bars))
        axes = drawn.add_subplot()
        for at, (_, differing, rows) in enumerate(bars):
            ratio = differing / rows if rows else 1.0
            axes.barh(at, 1 - ratio, color=AGREES, height=0.7)
            axes.barh(at, ratio, left=1 - ratio, color=DIFFERS, height=0.7)
            text = f"{differing:,} of {rows:,} differ" if differing else f"all {rows:,} agree"
            axes.text(1.01, at, text, va="center", color=DIFFERS if differing else MUTED)
        axes.set_yticks(range(len(bars)), [label for label, _, _ in bars])
        axes.set_xlim(0, 1.25)
        axes.set_xticks([0, 0.5, 1], ["0", "50%", "100%"])
        axes.invert_yaxis()
        bare(axes)
    look = "Blue rows agree, vermilion rows differ. A stage follows from the ones above it."
    return plot("Rows that agree, by stage", look, drawn, 2 * len(bars))


def decimals_of_scores(report: ReplayReport) -> Plot:
    """Draw how many decimals of the scores agree, model by model."""
    found = {n: m.stages["scores"] for n, m in report.models.items() if "scores" in m.stages}
    labels = [*map(str, range(EXACT_DECIMALS)), "same\nbits"]
    width = 0.8 / len(found)
    with style():
        drawn = figure(9.0, 3.0)
        axes = drawn.add_subplot()
        for i, (name, comparison) in enumerate(found.items()):
            at = [d - 0.4 + width * (i + 0.5) for d in range(EXACT_DECIMALS + 1)]
            colour = STAGE_COLOURS[i % len(STAGE_COLOURS)]
            axes.bar(at, comparison.decimals, width=width, color=colour, label=name)
        axes.axvline(report.decimals - 0.5, color=DIFFERS, linewidth=1, linestyle="--")
        axes.set_yscale("symlog", linthresh=1)
        axes.set_ylim(bottom=0)
        axes.set_xticks(range(EXACT_DECIMALS + 1), labels)
        axes.set_xlabel("decimals that agree in the row's worst score")
        axes.set_ylabel("rows, logarithmic")
        axes.legend(frameon=False)
        bare(axes)
    look = f"Rows left of the dashed line do not agree to {report.decimals} decimals."
    return plot("How many decimals of the scores agree", look, drawn, len(found) * len(labels))


def differing_features(report: ReplayReport) -> Plot:
    """Draw the features that differ, those in most rows first."""
    bars = sorted(
        (-m.rows, f"{name}  {feature}", m.finding.proven, m.finding.cause.value)
        for name, model in report.models.items()
        for feature, m in model.features.items()
    )[:MOST_FEATURES]
    with style():
        drawn = figure(9.0, 0.9 + _BAR_INCHES * len(bars))
        axes = drawn.add_subplot()
        for at, (rows, _, proven, cause) in enumerate(bars):
            axes.barh(at, -rows, color=DIFFERS, height=0.7, alpha=1.0 if proven else 0.5)
            axes.text(-rows, at, f"  {-rows:,} rows: {cause}", va="center", color=MUTED)
        axes.set_yticks(range(len(bars)), [label for _, label, _, _ in bars])
        axes.set_xlim(0, -1.45 * bars[0][0])
        axes.invert_yaxis()
        bare(axes)
    look = "Full colour: an experiment proved the cause, in every row. Pale: none did."
    return plot("Features that differ", look, drawn, len(bars))
