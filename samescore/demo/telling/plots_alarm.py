"""The plot of the alarm: what came in, and what Prometheus made of it."""

from __future__ import annotations

from itertools import groupby
from typing import Any, Final

from samescore.demo.acts.alarm_states import AlertState, Timeline
from samescore.plotting import AGREES, DIFFERS, INK, LINE, MUTED, Plot, bare, figure, plot, style

_COLOURS: Final = {
    AlertState.INACTIVE: "#E3E7EC",
    AlertState.PENDING: "#E69F00",
    AlertState.FIRING: DIFFERS,
}
_LETTERS: Final = {
    AlertState.INACTIVE: MUTED,
    AlertState.PENDING: INK,
    AlertState.FIRING: "white",
}


def alarm_over_time(timeline: Timeline, threshold: float) -> Plot:
    """Draw the ratio of unseen categories and, below it, the state of the alert.

    Args:
        timeline: at least one look.
        threshold: the ratio above which the alert begins to count.
    """
    looks = timeline.looks
    with style():
        drawn = figure(9.4, 3.1)
        top, below = drawn.subplots(2, 1, sharex=True, height_ratios=(5, 1))
        known = [(k.seconds, k.ratio) for k in looks if k.ratio is not None]
        top.step(*zip(*known, strict=True), where="post", color=AGREES, linewidth=1.6)
        _threshold(top, threshold, looks[0].seconds)
        _fault(top, timeline)
        top.set_ylim(0, max(0.3, *(1.25 * ratio for _, ratio in known)))
        top.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        top.set_title(
            "scored rows with an unseen category, of the feature with most", fontweight="normal"
        )
        bare(top)
        _states(below, timeline)
        below.set_xlim(looks[0].seconds, looks[-1].seconds)
        below.set_xlabel("seconds")
    return plot("The alert, from the first look to the last", _look(timeline), drawn, len(known))


def _threshold(axes: Any, threshold: float, begin: float) -> None:  # noqa: ANN401 - axes
    axes.axhline(threshold, color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
    axes.text(
        begin, threshold, f" threshold {threshold:.0%}", ha="left", va="bottom", fontsize=8,
        color=MUTED, in_layout=False,
    )  # fmt: skip


def _fault(axes: Any, timeline: Timeline) -> None:  # noqa: ANN401 - axes
    axes.axvspan(timeline.began, timeline.ended, color=LINE, alpha=0.45, linewidth=0)
    middle = (timeline.began + timeline.ended) / 2
    axes.text(
        middle, 0.97, "fault", ha="center", va="top", fontsize=8, color=MUTED,
        transform=axes.get_xaxis_transform(), in_layout=False,
    )  # fmt: skip


def _states(axes: Any, timeline: Timeline) -> None:  # noqa: ANN401 - axes
    """Draw a strip, one piece for each time that the alert was in one state."""
    pieces = [
        (state, next(iter(group)).seconds)
        for state, group in groupby(timeline.looks, lambda look: look.state)
    ]
    ends = [begin for _, begin in pieces[1:]] + [timeline.looks[-1].seconds]
    for (state, begin), end in zip(pieces, ends, strict=True):
        axes.barh(0, end - begin, 1.0, left=begin, color=_COLOURS[state])
        axes.text(
            (begin + end) / 2, 0, state.value, ha="center", va="center", fontsize=8,
            color=_LETTERS[state], in_layout=False,
        )  # fmt: skip
    axes.set_yticks([0], ["alert"])
    bare(axes)


def _look(timeline: Timeline) -> str:
    fire, resolve = timeline.seconds_to_fire, timeline.seconds_to_resolve
    if fire is None:
        return "The alert never fired."
    text = f"The alert is quiet, then pending, then fires {fire:.1f} s after the fault began"
    if resolve is None:
        return f"{text}; it did not resolve."
    return f"{text}; the window forgets the fault, and {resolve:.1f} s after its end it is quiet."
