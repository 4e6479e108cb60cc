"""The plots of agreement and latency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from consistency.compare import Comparison
from samescore.demo.acts.replays import FULL_BATCH, LOGGED
from samescore.demo.telling.summary import END_TO_END
from samescore.plotting import (
    AGREES,
    DIFFERS,
    INK,
    LINE,
    MUTED,
    STAGE_COLOURS,
    Plot,
    bare,
    figure,
    plot,
    style,
)

Json = Mapping[str, Any]  # Any: JSON

REQUIRED_DECIMALS: Final = 10
_REST: Final = "HTTP, log, loopback, client"
_MARKS: Final = {
    "p50 end to end": ("p50", "o", INK),
    "p99 end to end": ("p99", "D", DIFFERS),
}
_STAGES: Final = {
    "decode": "decode",
    "features": "features",
    "backend": "model",
    "postprocess": "post-process",
}


def agreed_decimals(replay: Json) -> Plot:
    """Draw the rows of each model by the decimals that agree in their score.

    Args:
        replay: by model, with the comparison of `stages.scores`.
    """
    counts = {m: _decimals(r["stages"]) for m, r in replay.items()}
    with style():
        drawn = figure(9.4, 0.85 * len(counts) + 0.75)
        rows = drawn.subplots(len(counts), 1, sharex=True, squeeze=False)[:, 0]
        for axes, (model, held) in zip(rows, counts.items(), strict=True):
            _decimals_row(axes, model, held)
        last = len(next(iter(counts.values()))) - 1
        rows[-1].set_xticks(range(last + 1), [*map(str, range(last)), "same\nbits"])
        rows[-1].set_xlabel("decimals in which the online and the offline score agree")
    return plot(
        "Rows by agreed decimals",
        f"Everything right of the line agrees to {REQUIRED_DECIMALS} decimals; "
        f"{_left_of_it(counts)} left of it. Bar heights are logarithmic, the numbers are rows.",
        drawn,
        sum(1 for held in counts.values() for n in held if n),
    )


def _decimals(stages: Json) -> Sequence[int]:
    """Return rows by agreed decimals; none where a replay never came to the scores."""
    held: Sequence[int] = stages.get("scores", Comparison().to_json())["decimals"]
    return held


def _left_of_it(counts: Mapping[str, Sequence[int]]) -> str:
    models = [m for m, held in counts.items() if any(held[:REQUIRED_DECIMALS])]
    return f"only {' and '.join(models)} has rows" if models else "no model has rows"


def _decimals_row(axes: Any, model: str, held: Sequence[int]) -> None:  # noqa: ANN401 - axes
    heights = [np.log10(n) + 0.4 if n else 0.0 for n in held]
    colours = [AGREES if d >= REQUIRED_DECIMALS else DIFFERS for d in range(len(held))]
    axes.bar(range(len(held)), heights, 0.72, color=colours)
    top = max(*heights, 1.0) * 1.45
    for at, (n, height) in enumerate(zip(held, heights, strict=True)):
        if n:
            axes.text(at, height + top * 0.03, f"{n:,}", ha="center", va="bottom", fontsize=8)
    axes.axvline(REQUIRED_DECIMALS - 0.5, color=INK, linewidth=0.9)
    axes.set_ylim(0, top)
    axes.set_yticks([])
    axes.set_ylabel(model, rotation=0, ha="right", va="center", color=INK, labelpad=8)
    bare(axes)


def batch_proof(proof: Json) -> Plot:
    """Draw the float32 network's rows that differ, by the batch size of the replay.

    Args:
        proof: `rows` and `rows_differing_by_batch`.
    """
    differing: dict[str, int] = proof["rows_differing_by_batch"]
    names = [_batch_name(batch) for batch in differing]
    with style():
        drawn = figure(9.4, 0.42 * len(names) + 0.75)
        axes = drawn.subplots()
        values = list(differing.values())
        axes.barh(names, values, 0.6, color=[DIFFERS if v else AGREES for v in values])
        reach = max([*values, 1])
        for at, value in enumerate(values):
            share = value / max(proof["rows"], 1)
            text = f"{value:,} rows  ({share:.1%})" if value else "0 rows: every score as it was"
            colour = INK if value else AGREES
            axes.text(value + reach * 0.012, at, text, va="center", fontsize=8.5, color=colour)
        axes.invert_yaxis()
        axes.set_xlim(0, reach * 1.3)
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.set_xlabel(f"rows whose score differs, of {proof['rows']:,}")
        bare(axes)
    return plot(
        "keras_float32: rows that differ, by the batch size of the replay",
        "Same bytes, same model, same machine: only the batch size changes between the bars. "
        f"At the logged sizes {differing[LOGGED] or 'no'} rows differ, at batches of "
        f"{FULL_BATCH:,} {differing[str(FULL_BATCH)]:,} do.",
        drawn,
        len(values),
    )


def _batch_name(batch: str) -> str:
    if batch == LOGGED:
        return "as logged"
    size = f"batches of {int(batch):,}" if batch != "1" else "one by one"
    return f"{size} (the replay above)" if batch == str(FULL_BATCH) else size


def latency_by_stage(latency: Json) -> Plot:
    """Draw where a single record's time goes, each stage at its median.

    Args:
        latency: by model and stage, percentiles in milliseconds.
    """
    with style():
        drawn = figure(9.4, 0.6 * len(latency) + 1.15)
        axes = drawn.subplots()
        for at, stages in enumerate(latency.values()):
            _stack(axes, at, stages)
        axes.set_yticks(range(len(latency)), list(latency))
        axes.invert_yaxis()
        axes.set_xlim(0, max(s[END_TO_END]["p99"] for s in latency.values()) * 1.16)
        axes.set_xlabel("milliseconds, single records at one connection, as the client saw them")
        axes.grid(axis="x", color=LINE, linewidth=0.6)
        axes.set_axisbelow(True)
        _legend(drawn, axes)
        bare(axes)
    return plot(
        "Where the time of a single record goes",
        "Each segment is a stage's median; the marks are the median and the 99th percentile from "
        "end to end, measured by the client. The grey rest is transport, log line and client.",
        drawn,
        len(latency) * (len(_STAGES) + 3),
    )


def _legend(drawn: Any, axes: Any) -> None:  # noqa: ANN401 - a figure and its axes
    """Explain the stages first, in the order of the data's way, then the marks."""
    held = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    labels = [*_STAGES.values(), _REST, *_MARKS]
    drawn.legend(
        [held[label] for label in labels], labels, loc="outside upper left", ncols=len(labels),
        frameon=False, fontsize=8, handlelength=1.2, columnspacing=1.3, labelcolor=INK,
    )  # fmt: skip


def _stack(axes: Any, at: int, stages: Json) -> None:  # noqa: ANN401 - axes
    left = 0.0
    end_to_end = stages[END_TO_END]
    parts = {label: stages[stage]["p50"] for stage, label in _STAGES.items()}
    parts[_REST] = max(0.0, end_to_end["p50"] - sum(parts.values()))
    for (label, width), colour in zip(parts.items(), STAGE_COLOURS, strict=True):
        axes.barh(at, width, 0.44, left=left, color=colour, label=label)
        left += width
    for label, (name, marker, colour) in _MARKS.items():
        value = end_to_end[name]
        axes.plot(value, at, marker, color=colour, markersize=5, label=label)
        axes.annotate(
            f"{value:.2f}", (value, at), (0, 13), textcoords="offset points", ha="center",
            fontsize=7.5, color=MUTED,
        )  # fmt: skip
