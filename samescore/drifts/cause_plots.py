"""The plots of the root cause: contributions, the way back, and segments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from monitors.drift.attribution import Attribution
from samescore.drifts.causes import RootCause, SegmentCause
from samescore.plotting import AGREES, DIFFERS, INK, LINE, MUTED, Plot, bare, figure, plot, style

_WIDTH: Final = 9.4
_MOST_BARS: Final = 12
_MOST_SEGMENTS: Final = 24
_NORMAL_95: Final = 1.96

Axes = Any  # matplotlib is imported where it draws


def cause_plots(found: RootCause) -> list[Plot]:
    """Return the plots of what is known."""
    plots = []
    if found.attribution is not None and found.attribution.causes:
        plots.append(_attribution_plot(found, found.attribution))
    elif found.ranking:
        plots.append(_ranking_plot(found))
    plots += [segments_plot(name, causes) for name, causes in found.segments.items() if causes]
    return plots


def _attribution_plot(found: RootCause, attribution: Attribution) -> Plot:
    causes = attribution.causes[:_MOST_BARS]
    steps = attribution.steps[:_MOST_BARS]
    with style():
        drawn = figure(_WIDTH, 0.3 * max(len(causes), len(steps) + 1) + 1.1)
        left, right = drawn.subplots(1, 2)
        _bars(
            left,
            [c.name for c in causes],
            [c.contribution for c in causes],
            [c.proven for c in causes],
            [c.error for c in causes],
        )
        left.set_title(f"contribution to the mean {found.output}", fontweight="normal",
                       color=MUTED, fontsize=8.5)  # fmt: skip
        _way_back(right, attribution)
    return plot(
        f"What moved the {found.output} in {found.record.window.label}",
        "Left: each feature's part in the change of the mean score; filled bars are proven, hollow "
        "ones are not. Right: the score's index, from above, while features are put back one after "
        "the other; what is left at the bottom is no single feature's doing.",
        drawn,
        len(causes) + len(steps),
    )


def _ranking_plot(found: RootCause) -> Plot:
    ranking = found.ranking[:_MOST_BARS]
    with style():
        drawn = figure(_WIDTH, 0.3 * len(ranking) + 1.0)
        names, changes = [r.name for r in ranking], [r.change for r in ranking]
        _bars(drawn.subplots(), names, changes, [False] * len(ranking), None)
    return plot(
        f"What may have moved the {found.output} in {found.record.window.label} (unproven)",
        "By how much each feature's change of shares would move the mean score, if features were "
        "independent. Hollow bars: nobody has asked the model.",
        drawn,
        len(ranking),
    )


def _bars(
    axes: Axes,
    names: Sequence[str],
    values: Sequence[float],
    filled: Sequence[bool],
    errors: Sequence[float] | None,
) -> None:
    at = np.arange(len(names))
    colours = [DIFFERS if value > 0 else AGREES for value in values]
    faces = [colour if full else "none" for colour, full in zip(colours, filled, strict=True)]
    axes.barh(at, values, color=faces, edgecolor=colours, height=0.62, linewidth=1.2)
    if errors is not None:
        axes.errorbar(values, at, xerr=[_NORMAL_95 * e for e in errors], fmt="none", ecolor=INK,
                      elinewidth=0.9)  # fmt: skip
    axes.axvline(0, color=LINE, linewidth=0.9, zorder=0)
    axes.set_yticks(at, names)
    axes.invert_yaxis()
    axes.margins(x=0.08)
    axes.locator_params(axis="x", nbins=5)
    bare(axes, keep="bottom")


def _way_back(axes: Axes, attribution: Attribution) -> None:
    steps = attribution.steps[:_MOST_BARS]
    names = ["as it is", *(f"+ {step.name}" for step in steps)]
    values = [attribution.psi, *(step.psi for step in steps)]
    at = np.arange(len(names))
    axes.plot(values, at, color=INK, marker="o", markersize=4.5, linewidth=1.1)
    for value, y in zip(values, at, strict=True):
        axes.annotate(f"{value:.3f}", (value, y), xytext=(7, 0), textcoords="offset points",
                      va="center", fontsize=8, color=MUTED)  # fmt: skip
    axes.set_yticks(at, names)
    axes.invert_yaxis()
    axes.set_xlim(0, max([*values, 0.01]) * 1.2)
    axes.set_title("index of the score, features put back", fontweight="normal", color=MUTED,
                   fontsize=8.5)  # fmt: skip
    bare(axes, keep="bottom")


def segments_plot(name: str, causes: Sequence[SegmentCause]) -> Plot:
    """Draw each segment's change of the mean score, beside what is usual for it."""
    shown = [each.shift for each in causes[:_MOST_SEGMENTS]]
    at = np.arange(len(shown))
    with style():
        drawn = figure(_WIDTH, 0.27 * len(shown) + 1.0)
        axes = drawn.subplots()
        axes.barh(at, [2 * _NORMAL_95 * s.spread for s in shown], height=0.5, color=LINE,
                  left=[-_NORMAL_95 * s.spread for s in shown], zorder=1)  # fmt: skip
        for moved, colour, marker in ((True, DIFFERS, "D"), (False, MUTED, "o")):
            chosen = [i for i, s in enumerate(shown) if s.moved is moved]
            axes.scatter([shown[i].change for i in chosen], chosen, color=colour, marker=marker,
                         s=26, zorder=2)  # fmt: skip
        axes.axvline(0, color=MUTED, linewidth=0.8, zorder=0)
        axes.set_yticks(at, [f"{s.name} ({s.rows:,})" for s in shown])
        axes.invert_yaxis()
        axes.set_xlabel("change of the mean score")
        bare(axes, keep="bottom")
    more = len(causes) - len(shown)
    return plot(
        f"Which segments moved: {name}",
        "The change of each segment's mean score against its own windows before; the bar is what "
        "95% of its windows do without drift. Diamonds are called moved. Rows in brackets."
        + (f" {more} further segments are not drawn." if more > 0 else ""),
        drawn,
        len(shown),
    )
