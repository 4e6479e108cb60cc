"""The differences that a report keeps: few, the telling ones, whatever the order they came in.

A report shows each name's largest difference before any name's second. To be able to say so after
any number of parts of a log were added up in any order, a part keeps the `most` largest names with
their `most` largest differences; no more can reach the report, so adding up stays exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from consistency.replay.report import STAGE_ORDER, StageDifference

_Rank: TypeAlias = tuple[float, str, int, str, str, str]


def keep_worst(found: Iterable[StageDifference], most: int) -> list[StageDifference]:
    """Return what of the differences of any stages can still reach a report.

    Args:
        found: in any order.
        most: differences that the report shows of a stage.
    """
    names: dict[tuple[str, str], list[StageDifference]] = {}
    for difference in sorted(found, key=_rank):
        held = names.setdefault((difference.stage, difference.name), [])
        if len(held) < most:
            held.append(difference)
    kept = []
    for stage in STAGE_ORDER:
        # in the order of their largest difference, since `found` was sorted
        of_stage = [held for (of, _), held in names.items() if of == stage]
        kept += [difference for held in of_stage[:most] for difference in held]
    return kept


def shown_worst(kept: Sequence[StageDifference], most: int) -> list[StageDifference]:
    """Return what a report shows: by stage, the largest first.

    Args:
        kept: what `keep_worst` returned.
        most: differences of a stage.
    """
    shown: list[StageDifference] = []
    for stage in STAGE_ORDER:
        ranked: list[tuple[int, _Rank, StageDifference]] = []
        seen: dict[str, int] = {}
        for difference in sorted((d for d in kept if d.stage == stage), key=_rank):
            turn = seen[difference.name] = seen.get(difference.name, -1) + 1
            ranked.append((turn, _rank(difference), difference))
        chosen = sorted(ranked, key=lambda r: r[:2])[:most]
        shown += sorted((d for _, _, d in chosen), key=_rank)
    return shown


def _rank(difference: StageDifference) -> _Rank:
    """Order by size, pairs without one first; what is equal in size is told apart by its place."""
    size = float("-inf") if difference.abs_diff is None else -difference.abs_diff
    d = difference
    return size, d.request_id, d.row, d.name, repr(d.online), repr(d.offline)
