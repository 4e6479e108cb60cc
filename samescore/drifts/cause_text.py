"""What was found of a root cause, in sentences: for the terminal and for the page."""

from __future__ import annotations

from typing import Final

from monitors.drift.attribution import Attribution, Cause
from monitors.thresholds.segments import FALSE_SHARE, SegmentShift
from samescore.drifts.causes import RootCause, SegmentCause

_MOST_NAMED: Final = 3

METHOD: Final = (
    "The training distribution of a feature was put back into the window's rows, as few and as "
    "little changed as possible, the model scored them anew, and the score's index was watched. "
    "Contributions are Shapley values over the orders in which features can be put back; they add "
    "up to what all of them together change. A cause is proven when putting back this feature "
    "alone made the index fall by more than sampling does."
)
UNPROVEN: Final = (
    "Told from counts: the change of a feature's shares, times the mean score of training in each "
    "of its buckets; and how its index goes with the score's over the windows. Features that go "
    "together tell of the same change twice. It ranks, it does not prove."
)


def cause_lines(found: RootCause | None) -> list[str]:
    """Return what is known of a root cause, a line each."""
    if found is None:
        return []
    lines = [f"root cause of the {found.output} in {found.record.window.label}:"]
    if found.attribution is not None:
        lines += _attribution_lines(found.attribution)
    else:
        named = ", ".join(f"{r.name} {r.change:+.3g}" for r in found.ranking[:_MOST_NAMED])
        lines += [f"  unproven, by counts: {named or 'no feature tells'} ({found.why_not})"]
    for name, causes in found.segments.items():
        lines += _segment_lines(name, causes)
    return lines


def headline(attribution: Attribution) -> str:
    """Return what putting features back did, as a sentence."""
    if not attribution.causes:
        return (
            f"No feature differs from training by more than sampling does; the index of the score "
            f"is {attribution.psi:.3f}."
        )
    if attribution.psi <= attribution.noise_psi:
        return (
            f"The index of the score, {attribution.psi:.3f}, is no more than sampling makes of it: "
            f"there is nothing to explain ({attribution.rows:,} rows scored anew)."
        )
    last = attribution.steps[-1]
    names = ", ".join(step.name for step in attribution.steps)
    return (
        f"Putting back {names} brings the index of the score from {attribution.psi:.3f} to "
        f"{last.psi:.3f}, and its mean from {attribution.mean:.4g} to {last.mean:.4g} "
        f"({attribution.rows:,} rows scored anew)."
    )


def proof(cause: Cause, psi: float) -> str:
    """Return what putting back one feature alone showed.

    Args:
        cause: the feature.
        psi: the score's index before.
    """
    if cause.proven:
        return f"proven: alone it brings the index from {psi:.3f} to {cause.psi_alone:.3f}"
    return f"unproven: alone it leaves the index at {cause.psi_alone:.3f}"


def segment_method(causes: tuple[SegmentCause, ...]) -> str:
    """Return how segments were compared."""
    windows = max((each.shift.windows for each in causes), default=0)
    days = (
        f"Each segment's mean score against its own up to {windows} windows before"
        if windows
        else "Each segment's rows against its own rows before; how windows vary is not known, so "
        "this finds too much"
    )
    return (
        f"{days}; of the segments called moved, at most {FALSE_SHARE:.0%} are expected not to have "
        f"(Benjamini and Yekutieli)."
    )


def _attribution_lines(found: Attribution) -> list[str]:
    if found.psi <= found.noise_psi:
        return [f"  {headline(found)}"]
    named = [
        f"  {c.name}: {c.contribution:+.4g} of the mean; {proof(c, found.psi)}"
        for c in found.causes[:_MOST_NAMED]
    ]
    return [f"  {headline(found)}", *named]


def _segment_lines(name: str, causes: tuple[SegmentCause, ...]) -> list[str]:
    moved = [each for each in causes if each.shift.moved]
    told = [f"  by {name}: the score moved in {len(moved)} of {len(causes)} segments"]
    named = [f"    {shift_text(each.shift)}; {_of_segment(each)}" for each in moved[:_MOST_NAMED]]
    return told + named


def shift_text(shift: SegmentShift) -> str:
    """Return how a segment's mean score moved."""
    return f"{shift.name}: {shift.before:.4g} to {shift.after:.4g} ({shift.rows:,} rows)"


def _of_segment(cause: SegmentCause) -> str:
    attribution = cause.attribution
    if attribution is not None and attribution.causes and attribution.causes[0].proven:
        first = attribution.causes[0]
        return f"{first.name} {first.contribution:+.3g}, proven"
    if not cause.ranking:
        return "no feature tells"
    return f"{cause.ranking[0].name} {cause.ranking[0].change:+.3g}, unproven"
