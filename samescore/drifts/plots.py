"""The plots of the drift job's page: indices, scores and gaps in the data, window by window."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from monitors.drift.judgement import Measure
from monitors.drift.record import WindowRecord
from monitors.drift.windows import Window
from monitors.reference import NumericReference, ReferenceSet
from samescore.plotting import AGREES, DIFFERS, INK, LINE, MUTED, Plot, bare, figure, plot, style

MOST_WINDOWS: Final = 60
MOST_FEATURES: Final = 24
_MOST_LINES: Final = 5
_MOST_WITH_NUMBERS: Final = 14
"""Columns beyond which numbers in the cells could not be read."""

_MOST_TICKS: Final = 12
_DARKEST_PSI: Final = 1.0
_DARK_FROM: Final = 0.66
_FULL_SHIFT: Final = 0.2
"""The change of a range's share from which its cell is darkest."""

_WIDTH: Final = 9.4
_LINE_COLOURS: Final = (AGREES, DIFFERS, "#009E73", "#CC79A7", "#B8860B")
_LINE_MARKERS: Final = ("o", "D", "s", "^", "v")

Axes = Any  # matplotlib is imported where it draws


@dataclass(frozen=True, slots=True)
class Timeline:
    """The latest windows side by side, those without a request included.

    Attributes:
        windows: neighbours, the earliest first.
        records: those that were judged and have rows.
    """

    windows: tuple[Window, ...]
    records: Mapping[Window, WindowRecord]

    @classmethod
    def of(cls, history: Sequence[WindowRecord]) -> Timeline:
        """Return the timeline that ends with the last window of a history of at least one."""
        last, first = history[-1].window, history[0].window
        length = last.length_s
        begin = max(first.start_s, last.start_s - (MOST_WINDOWS - 1) * length)
        windows = tuple(Window(s, length) for s in range(begin, last.end_s, length))
        held = {r.window: r for r in history if r.judgement.measures}
        return cls(windows, {w: held[w] for w in windows if w in held})

    def measures(self, name: str) -> list[Measure | None]:
        """Return a feature's or a score's comparison in each window."""
        by_window = {
            w: next((m for m in r.judgement.measures if m.name == name), None)
            for w, r in self.records.items()
        }
        return [by_window.get(w) for w in self.windows]

    def ticks(self, axes: Axes) -> None:
        """Label the windows below the axes, as many as fit."""
        step = -(-len(self.windows) // _MOST_TICKS)
        at = range(0, len(self.windows), step)
        labels = [self.windows[i].label.replace(" ", "\n") for i in at]
        axes.set_xticks(at, labels, fontsize=8)
        axes.set_xlim(-0.5, len(self.windows) - 0.5)


def psi_by_window(timeline: Timeline) -> Plot:
    """Draw every index as a cell, what moved furthest first; drift is framed."""
    scores, features = _names_by_peak(timeline)
    names = [*scores, *features[:MOST_FEATURES]]
    held = [timeline.measures(name) for name in names]
    values = np.array([[np.nan if m is None else m.psi for m in row] for row in held])
    with style():
        drawn = figure(_WIDTH, 0.27 * len(names) + 0.8)
        axes = drawn.subplots()
        shade = np.sqrt(np.minimum(values, _DARKEST_PSI) / _DARKEST_PSI)
        axes.imshow(shade, cmap="Blues", vmin=0.0, vmax=1.15, aspect="auto")
        _numbers(axes, values, shade, _psi_text)
        for (y, x), _ in np.ndenumerate(values):
            measure = held[y][x]
            if measure is not None and measure.drifted and measure.decides:
                _frame(axes, x, y)
        axes.axhline(len(scores) - 0.5, color=INK, linewidth=0.9)
        axes.set_yticks(range(len(names)), names)
        timeline.ticks(axes)
        bare(axes, keep="")
    shown = f"the {MOST_FEATURES} of {len(features)} features that moved most"
    return plot(
        "Population stability index by window, against the frozen training sample",
        f"Scores above the line, below it {shown if len(features) > MOST_FEATURES else 'features'}."
        " 0 is no change, darker is further; a framed cell has drifted and decides, an"
        " empty column had no request.",
        drawn,
        int(np.isfinite(values).sum()),
    )


def _names_by_peak(timeline: Timeline) -> tuple[list[str], list[str]]:
    peaks: dict[str, float] = {}
    scores: dict[str, None] = {}
    for record in timeline.records.values():
        scores |= dict.fromkeys(m.name for m in record.judgement.scores)
        for measure in record.judgement.features:
            peaks[measure.name] = max(peaks.get(measure.name, 0.0), measure.psi)
    return list(scores), sorted(peaks, key=lambda name: -peaks[name])


def scores_by_window(timeline: Timeline, reference: ReferenceSet) -> Plot:
    """Draw the share of rows in each range of the score; the first column is the training sample.

    Of several outputs the one is drawn whose index is the largest.
    """
    output, name = _output_that_moved(timeline)
    frozen = reference.scores[output]
    training = frozen.training_counts / frozen.training_counts.sum()
    shares = np.full((training.size, len(timeline.windows)), np.nan)
    for x, window in enumerate(timeline.windows):
        if window in timeline.records:
            counts = timeline.records[window].counts.scores[output]
            shares[:, x] = counts / counts.sum()
    rows = np.flatnonzero((training > 0) | (np.nan_to_num(shares) > 0).any(axis=1))
    labels = [label for i, label in enumerate(score_ranges(frozen)) if i in set(rows.tolist())]
    with style():
        drawn = figure(_WIDTH, 0.27 * len(rows) + 1.0)
        _scores(drawn, timeline, training[rows], shares[rows], labels, name)
    return plot(
        f"Distribution of the {name} by window",
        "Share of the rows in each range of the score, in percent. The ranges are those of the "
        "training sample, the column on the left. Purple holds fewer rows than there, orange more.",
        drawn,
        int(np.isfinite(shares).sum()),
    )


def _scores(
    drawn: Any,  # noqa: ANN401 - a figure
    timeline: Timeline,
    training: NDArray[np.float64],
    shares: NDArray[np.float64],
    labels: Sequence[str],
    name: str,
) -> None:
    columns = len(timeline.windows)
    left, right = drawn.subplots(1, 2, sharey=True, width_ratios=(max(1, columns / 14), columns))
    moved = shares - training[:, None]
    for axes, values, shift in ((left, training[:, None], 0 * training[:, None]),
                                (right, shares, moved)):  # fmt: skip
        axes.imshow(shift, cmap="PuOr_r", vmin=-_FULL_SHIFT, vmax=_FULL_SHIFT, aspect="auto")
        shade = np.where(np.isfinite(values), np.minimum(np.abs(shift) / _FULL_SHIFT, 1.0), 0.0)
        _numbers(axes, 100 * values, shade, lambda value: f"{value:.0f}")
        bare(axes, keep="")
    left.set_yticks(range(len(labels)), labels)
    left.set_ylabel(name)
    left.set_xticks([0], ["training"], fontsize=8)
    left.invert_yaxis()
    timeline.ticks(right)
    right.tick_params(labelleft=False)


def score_ranges(reference: NumericReference) -> list[str]:
    """Return a label for each bucket of the score."""
    edges = [f"{edge:.3g}" for edge in reference.edges]
    if not edges:
        return ["-inf", "finite", "inf", "NaN"]
    inner = [f"{low} – {high}" for low, high in itertools.pairwise(edges)]
    return ["-inf", f"below {edges[0]}", *inner, f"from {edges[-1]}", "inf", "NaN"]


def _output_that_moved(timeline: Timeline) -> tuple[int, str]:
    peaks: dict[str, float] = {}
    for record in timeline.records.values():
        for measure in record.judgement.scores:
            peaks[measure.name] = max(peaks.get(measure.name, 0.0), measure.psi)
    name = max(peaks, key=lambda n: peaks[n])
    return list(peaks).index(name), name


def gaps_by_window(timeline: Timeline) -> Plot:
    """Draw how the shares of missing values and of unseen categories changed."""
    _, features = _names_by_peak(timeline)
    panels = (("missing values", "missing_change"), ("unseen categories", "unseen_change"))
    marks = 0
    with style():
        drawn = figure(_WIDTH, 3.9)
        rows = drawn.subplots(2, 1, sharex=True)
        for axes, (title, attribute) in zip(rows, panels, strict=True):
            marks += _change_lines(axes, timeline, features, attribute)
            axes.set_title(title, fontweight="normal", color=MUTED, fontsize=8.5)
        timeline.ticks(rows[-1])
        drawn.supylabel("change against training, percentage points", fontsize=9, color=MUTED)
    return plot(
        "Missing values and unseen categories",
        f"How the share of rows has changed against the training sample; the {_MOST_LINES} "
        "features that changed most in each. A flat line at 0 is as it was.",
        drawn,
        marks,
    )


def _change_lines(axes: Axes, timeline: Timeline, features: Sequence[str], attribute: str) -> int:
    lines = {}
    for name in features:
        held = timeline.measures(name)
        lines[name] = [np.nan if m is None else 100 * getattr(m, attribute) for m in held]
    reach = {name: float(np.nanmax(np.abs(line))) for name, line in lines.items()}
    moved = [n for n in sorted(reach, key=lambda n: -reach[n]) if reach[n] > 0][:_MOST_LINES]
    at = range(len(timeline.windows))
    for name, colour, marker in zip(moved, _LINE_COLOURS, _LINE_MARKERS, strict=False):
        axes.plot(at, lines[name], color=colour, marker=marker, markersize=3.5, linewidth=1.1,
                  label=name)  # fmt: skip
    axes.axhline(0, color=LINE, linewidth=0.9, zorder=0)
    if moved:
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8,
                    labelcolor=INK, handlelength=1.6)  # fmt: skip
    else:
        axes.text(0.5, 0.5, "none in any window, as in training", ha="center", va="bottom",
                  transform=axes.transAxes, color=MUTED)  # fmt: skip
        axes.set_ylim(-1, 1)
    bare(axes, keep="left")
    return len(timeline.records) * max(len(moved), 1)


def _numbers(
    axes: Axes,
    values: NDArray[np.float64],
    shade: NDArray[np.float64],
    text: Any,  # noqa: ANN401
) -> None:
    if values.shape[1] > _MOST_WITH_NUMBERS:
        return
    for (y, x), value in np.ndenumerate(values):
        if np.isfinite(value):
            colour = "white" if shade[y, x] > _DARK_FROM else INK
            axes.text(x, y, text(value), ha="center", va="center", fontsize=8, color=colour)


def _psi_text(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"


def _frame(axes: Axes, x: int, y: int) -> None:
    from matplotlib.patches import Rectangle

    inset = 0.06
    box = Rectangle((x - 0.5 + inset, y - 0.5 + inset), 1 - 2 * inset, 1 - 2 * inset,
                    fill=False, edgecolor=DIFFERS, linewidth=1.2)  # fmt: skip
    axes.add_patch(box)
