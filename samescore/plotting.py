"""What all plots share: colours, type, and how one becomes part of a page.

Colours are Okabe and Ito's, which readers with any kind of colour vision can tell apart; blue says
"agrees", vermilion "differs", and nothing is said by colour alone.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK: Final = "#1f2a37"
MUTED: Final = "#667085"
LINE: Final = "#d5dae1"
AGREES: Final = "#0072B2"
DIFFERS: Final = "#D55E00"
STAGE_COLOURS: Final = ("#56B4E9", "#009E73", "#0072B2", "#CC79A7", "#E3E7EC")

_STYLE: Final[dict[Any, Any]] = {  # Any: matplotlib types every key by name
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: the page looks alike everywhere
    "font.size": 9.0,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.color": LINE,
    "ytick.labelcolor": INK,
    "svg.hashsalt": "samescore",  # the same figures make the same file
}


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot of the report.

    Attributes:
        title: what it is.
        look: one sentence that says what to see.
        source: a data URI; the page needs no network.
        marks: how many marks it draws; 0 would be an empty plot.
    """

    title: str
    look: str
    source: str
    marks: int


@contextmanager
def style() -> Iterator[None]:
    """Draw in the report's style within the block."""
    import matplotlib as mpl

    with mpl.rc_context(_STYLE):
        yield


def figure(width: float, height: float) -> Figure:
    """Return an empty figure, sizes in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def plot(title: str, look: str, drawn: Figure, marks: int) -> Plot:
    """Return a figure as part of the page.

    As an image of its own, so that the ids of two drawings on one page cannot meet.
    """
    stream = io.BytesIO()
    with style():  # the salt of the ids is read when the file is written
        drawn.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    encoded = base64.b64encode(stream.getvalue()).decode("ascii")
    return Plot(title, look, f"data:image/svg+xml;base64,{encoded}", marks)


def bare(axes: Axes, *, keep: str = "bottom") -> None:
    """Take away every spine but one, and the marks of the ticks."""
    for side, spine in axes.spines.items():
        spine.set_visible(side == keep)
    axes.tick_params(length=0)
