"""The plots of score distributions and of drift."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from samescore.demo.acts.figures import LogFigures
from samescore.plotting import AGREES, INK, MUTED, Plot, bare, figure, plot, style

_BINS: Final = 80
_RIDGE: Final = 0.92
"""A ridge's height, in months."""

_FEATURES: Final = 12
_MAP_TOP: Final = 1.0
"""The index from which a cell is darkest."""

_DARK_FROM: Final = 0.66
_MONTHS: Final = (
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
)  # fmt: skip


def scores_by_month(figures: LogFigures, models: Sequence[str]) -> Plot:
    """Draw each model's distribution of scores, one ridge a month."""
    months = figures.months()
    with style():
        drawn = figure(9.4, 3.6)
        panels = drawn.subplots(1, len(models), sharex=True, sharey=True, squeeze=False)[0]
        for axes, model in zip(panels, models, strict=True):
            for at, month in enumerate(months):
                _ridge(axes, at, figures.scores_of(model, month))
            axes.set_title(model)
            bare(axes)
        panels[0].set_xlim(0, _reach(figures, models))
        panels[0].set_yticks(range(len(months)), [month_name(m) for m in months])
        panels[0].invert_yaxis()
        drawn.supxlabel("score: probability of arriving late", fontsize=9, color=MUTED)
    return plot(
        "Scores by month",
        f"One ridge a month, the tick marks its median. {_moved_most(figures, models)}",
        drawn,
        len(models) * len(months),
    )


def _reach(figures: LogFigures, models: Sequence[str]) -> float:
    """Return a round score that one in 200 exceeds at most."""
    months = figures.months()
    held = [figures.scores_of(model, month) for model in models for month in months]
    return max(math.ceil(10 * float(np.quantile(s, 0.995))) / 10 for s in held if len(s))


def _moved_most(figures: LogFigures, models: Sequence[str]) -> str:
    months = figures.months()
    spans = {}
    for model in models:
        held = (figures.scores_of(model, month) for month in months)
        medians = [float(np.median(scores)) for scores in held if len(scores)]
        spans[model] = (max(medians) - min(medians), min(medians), max(medians))
    model = max(spans, key=lambda m: spans[m][0])
    _, low, high = spans[model]
    return f"The median moves most for {model}: between {low:.2f} and {high:.2f}."


def _ridge(axes: Any, at: int, scores: np.ndarray[Any, Any]) -> None:  # noqa: ANN401 - axes
    if not len(scores):
        return
    density, edges = np.histogram(scores, _BINS, (0.0, 1.0))
    smooth = np.convolve(density, (0.25, 0.5, 0.25), "same")
    height = smooth / smooth.max() * _RIDGE
    middle = (edges[:-1] + edges[1:]) / 2
    axes.fill_between(middle, at, at - height, color=AGREES, alpha=0.28, linewidth=0, zorder=at)
    axes.plot(middle, at - height, color=AGREES, linewidth=0.9, zorder=at)
    median = float(np.median(scores))
    axes.plot([median, median], [at, at - 0.3], color=INK, linewidth=1.3, zorder=at + 0.5)


def psi_by_month(
    scores: Mapping[str, Mapping[str, float]], features: Mapping[str, Mapping[str, float]]
) -> Plot:
    """Draw the population stability index of scores and features as two maps.

    Args:
        scores: by model and month.
        features: by feature and month, the one that moved furthest first.
    """
    shown = dict(list(features.items())[:_FEATURES])
    moved = f"the {len(shown)} of {len(features)} features that moved most"
    blocks = (("score of", scores), (moved, shown))
    with style():
        drawn = figure(9.4, 0.27 * (len(scores) + len(shown)) + 1.2)
        heights = [len(scores), len(shown)]
        panels = drawn.subplots(2, 1, height_ratios=heights, squeeze=False)[:, 0]
        for axes, (title, block) in zip(panels, blocks, strict=True):
            _map(axes, title, block)
        panels[0].set_xticklabels([])
    return plot(
        "Population stability index by month, against the frozen training months",
        f"0 is no change; the darker, the further from January–May. {_furthest(scores, features)}",
        drawn,
        sum(len(row) for _, block in blocks for row in block.values()),
    )


def _furthest(
    scores: Mapping[str, Mapping[str, float]], features: Mapping[str, Mapping[str, float]]
) -> str:
    peaks = {name: max(row.values()) for name, row in features.items()}
    still = sum(peak < 0.1 for peak in peaks.values())
    first, second = list(peaks)[:2]
    tops = {model: max(row.values()) for model, row in scores.items()}
    low, high = min(tops, key=tops.__getitem__), max(tops, key=tops.__getitem__)
    return (
        f"The calendar and the weather move, {first} and {second} most, as seasons do; {still} of "
        f"{len(peaks)} features stay below 0.1. The score of {high} reaches {tops[high]:.2f}, that "
        f"of {low} {tops[low]:.2f}."
    )


def _map(axes: Any, title: str, block: Mapping[str, Mapping[str, float]]) -> None:  # noqa: ANN401
    months = sorted({month for row in block.values() for month in row})
    values = np.array([[row.get(m, np.nan) for m in months] for row in block.values()])
    # The root makes the small differences visible that matter, and lets the large ones saturate.
    shade = np.sqrt(np.minimum(values, _MAP_TOP) / _MAP_TOP)
    axes.imshow(shade, cmap="Blues", vmin=0.0, vmax=1.15, aspect="auto")
    for (y, x), value in np.ndenumerate(values):
        colour = "white" if shade[y, x] > _DARK_FROM else INK
        text = f"{value:.2f}" if value < 10 else f"{value:.0f}"
        axes.text(x, y, text, ha="center", va="center", fontsize=8, color=colour)
    axes.set_title(title, fontweight="normal", color=MUTED, fontsize=8.5)
    axes.set_yticks(range(len(block)), list(block))
    axes.set_xticks(range(len(months)), [month_name(m) for m in months])
    bare(axes, keep="")


def month_name(month: str) -> str:
    """Return a month as people write it.

    >>> month_name("2013-07")
    'Jul 2013'
    """
    year, _, number = month.partition("-")
    return f"{_MONTHS[int(number) - 1]} {year}"
