"""Adds up the reports of parts of a log; exact, and the same in whatever order they come."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from consistency.compare import Comparison
from consistency.diagnose import Cause, Finding
from consistency.protocols import Damage
from consistency.replay.report import (
    MOST_DAMAGE_LISTED,
    STAGE_ORDER,
    FeatureMismatch,
    ModelReport,
    ReplayReport,
)
from consistency.replay.worst import keep_worst, shown_worst

SEVERAL_CAUSES = Finding(Cause.UNPROVEN, "no single intervention explains every row")
"""What is said of a feature when no one cause holds in every part of the log."""


def add_mismatch(found: dict[str, FeatureMismatch], name: str, more: FeatureMismatch) -> None:
    """Add rows in which a feature differs to those that are known."""
    held = found.get(name)
    if held is None:
        found[name] = more
        return
    held.rows += more.rows
    held.max_abs_diff = max(held.max_abs_diff, more.max_abs_diff)
    if held.finding != more.finding:
        held.finding = SEVERAL_CAUSES


def add_model(to: ModelReport, part: ModelReport, most: int) -> None:
    """Add what a part found on a model version.

    Args:
        to: is changed.
        part: not settled yet.
        most: differences that the report shows of a stage.
    """
    to.requests += part.requests
    to.rows += part.rows
    to.rejected += part.rejected
    to.rejected_reproduced += part.rejected_reproduced
    for stage, found in part.stages.items():
        to.stages[stage] = to.stages.get(stage, Comparison()) + found
    for name, mismatch in part.features.items():
        copied = FeatureMismatch(mismatch.rows, mismatch.max_abs_diff, mismatch.finding)
        add_mismatch(to.features, name, copied)
    add_counts(to.not_replayable, part.not_replayable)
    add_counts(to.started_at, part.started_at)
    to.worst = keep_worst([*to.worst, *part.worst], most)


def add_counts(to: dict[str, int], more: Mapping[str, int]) -> None:
    """Add counts by name."""
    for name, count in more.items():
        to[name] = to.get(name, 0) + count


def settle_model(report: ModelReport, most: int) -> None:
    """Bring a finished report into its one order: the data's way, then size, then name."""
    report.stages = {s: report.stages[s] for s in STAGE_ORDER if s in report.stages}
    ranked = sorted(report.features.items(), key=lambda item: (-item[1].rows, item[0]))
    report.features = dict(ranked)
    report.not_replayable = dict(sorted(report.not_replayable.items()))
    report.started_at = {s: report.started_at[s] for s in STAGE_ORDER if s in report.started_at}
    report.worst = shown_worst(report.worst, most)


def first_damage(damage: Iterable[Damage]) -> tuple[Damage, ...]:
    """Return the damaged lines that a report lists, in the order of the log."""
    return tuple(sorted(damage, key=lambda d: (d.segment, d.line))[:MOST_DAMAGE_LISTED])


class ReportSum:
    """The sum of the reports of a log's parts.

    Args:
        like: a report with the settings of the replay, such as that of an empty log.
        most: differences that the report shows of a stage of a model.
    """

    def __init__(self, like: ReplayReport, most: int) -> None:
        self._like = like
        self._most = most
        self._models: dict[str, ModelReport] = {}
        self._damage: tuple[Damage, ...] = ()
        self._lost_lines = 0

    def add(self, part: ReplayReport) -> None:
        """Add a part; it is not settled, and its damage has the line numbers of the segment."""
        for name, found in part.models.items():
            add_model(self._models.setdefault(name, ModelReport()), found, self._most)
        self._damage = first_damage((*self._damage, *part.damage))
        self._lost_lines += part.lost_lines

    def settled(self) -> ReplayReport:
        """Return the report; the sum is used up."""
        for report in self._models.values():
            settle_model(report, self._most)
        like = self._like
        return ReplayReport(
            like.mode, like.batch, like.decimals, dict(sorted(self._models.items(), key=_version)),
            self._damage, self._lost_lines, like.selection,
        )  # fmt: skip


def _version(item: tuple[str, ModelReport]) -> tuple[str, int]:
    name, _, version = item[0].rpartition("/")
    return name, int(version)
