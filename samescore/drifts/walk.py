"""Judges windows in the order of time, and keeps each with how far the job has come."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Final

import orjson

from monitors.drift.baseline import WindowJudge
from monitors.drift.counting import WindowCounts
from monitors.drift.history import DriftHistory
from monitors.drift.plan import Known, Plan, Reason, Timing, make_plan
from monitors.drift.record import WindowRecord
from monitors.drift.revision import JobState, Judged, Revision
from monitors.drift.store import Change
from monitors.drift.windows import Window
from monitors.thresholds.rolling import windows_back
from samescore.drifts.run import DriftJob

LOOK_BACK: Final = 200
"""Windows before a window on which its verdict may hang. Always as many, wherever a run begins: so
a verdict is the same whether its windows were judged one a night or all at once."""

REJUDGED: Final = 400
"""Windows that are judged again when the settings have changed."""


AT_ONCE: Final = 16
"""Windows that are kept in one transaction: what a killed run has to do again, at most."""


@dataclass(frozen=True, slots=True)
class Walked:
    """What a run did to the windows.

    Attributes:
        state: of the job, after it.
        plan: what was to be done.
        changes: what was done, by window that the log holds.
        behind: windows that are left for the next run.
    """

    state: JobState
    plan: Plan
    changes: dict[Window, Change]
    behind: int


class Walk:
    """Goes through the windows that a run has to judge.

    Args:
        history: where judgements are kept.
        judge: judges a window.
        job: what was asked.
        counted: what the log holds.
        now_s: seconds since the epoch.
        on_window: called once for each window that is judged, for a progress bar.
    """

    def __init__(
        self,
        history: DriftHistory,
        judge: WindowJudge,
        job: DriftJob,
        counted: Mapping[Window, WindowCounts],
        now_s: float,
        on_window: Callable[[], object],
    ) -> None:
        self._history, self._judge, self._job, self._counted = history, judge, job, counted
        self._now_s, self._on_window = now_s, on_window
        then_s = now_s if job.until_s is None else job.until_s
        self._timing = Timing(then_s, job.lateness_s, job.include_open)
        self._settings = settings_of(job)

    def run(self, state: JobState) -> Walked:
        """Judge what has to be judged, and keep it.

        Raises:
            OvertakenError: another run has written in between; read the state again.
            MonitorError: the history cannot be read or written.
        """
        known = self._history.known(state)
        requests = {window: counts.requests for window, counts in self._counted.items()}
        restart_s = self._restart_s(state, known)
        plan = make_plan(known, requests, state.cursor_s, self._timing, restart_s)
        state = self._begin(state, plan)
        now, left = plan.walk[: self._job.most_windows], plan.walk[self._job.most_windows :]
        changes = self._unchanged(plan, known)
        look_back = max(LOOK_BACK, windows_back(self._job.length.seconds))
        earlier = [] if not now else self._history.records(state, look_back, plan.cursor_s)
        for windows in (now[i : i + AT_ONCE] for i in range(0, len(now), AT_ONCE)):
            judged = []
            for window in windows:
                each, record, change = self._window(state, window, plan, earlier)
                if window in self._counted:
                    changes[window] = change
                earlier = [*earlier, record][-look_back:]
                judged.append(each)
                self._on_window()
            state = self._history.keep(state, judged)
        state = self._history.mark(state, plan.settle, plan.too_late)
        return Walked(state, plan, dict(sorted(changes.items())), len(left))

    def _restart_s(self, state: JobState, known: Mapping[Window, Known]) -> int | None:
        if state.settings == self._settings or not known:
            return None
        return list(known)[-REJUDGED:][0].start_s

    def _begin(self, state: JobState, plan: Plan) -> JobState:
        cursor_s = state.cursor_s if plan.cursor_s is None else plan.cursor_s
        if (cursor_s, self._settings) == (state.cursor_s, state.settings):
            return state
        return self._history.begin(state, cursor_s, self._settings)

    def _unchanged(self, plan: Plan, known: Mapping[Window, Known]) -> dict[Window, Change]:
        waiting = set(plan.waiting)
        held = (w for w in self._counted if w in known and w not in waiting)
        return dict.fromkeys(held, Change.UNCHANGED)

    def _window(
        self, state: JobState, window: Window, plan: Plan, earlier: list[WindowRecord]
    ) -> tuple[Judged, WindowRecord, Change]:
        before = self._history.standing(state, window)
        settled = self._timing.settles(window)
        record = self._judged(state, window, before, plan, earlier)
        if before is not None and _same(before.record, record):
            return Judged(window, None, settled), before.record, Change.UNCHANGED
        revision = Revision(
            number=1 if before is None else before.number + 1,
            reason=self._reason(before, fresh=window in plan.fresh),
            judged_at_s=self._now_s,
            settled=settled,
            too_late=0 if before is None else before.too_late,
            latest=True,
            settings=self._settings,
            record=record,
        )
        change = Change.NEW if before is None else Change.CHANGED
        return Judged(window, revision, settled), record, change

    def _judged(
        self,
        state: JobState,
        window: Window,
        before: Revision | None,
        plan: Plan,
        earlier: list[WindowRecord],
    ) -> WindowRecord:
        if before is None or window in plan.fresh:
            counts, complete = self._counted[window], self._timing.is_over(window)
        else:
            counts, complete = before.record.counts, before.record.complete
        judgement = self._judge.judge(window, counts, earlier)
        return WindowRecord(
            state.subject, window, complete, counts, self._job.thresholds, judgement
        )

    def _reason(self, before: Revision | None, *, fresh: bool) -> Reason:
        """Return why a window is judged: it follows from what is kept, not from this run's way."""
        if before is None:
            return Reason.FIRST
        if fresh:
            return Reason.MORE_ROWS
        changed = before.settings != self._settings
        return Reason.SETTINGS if changed else Reason.EARLIER_WINDOW


def settings_of(job: DriftJob) -> str:
    """Return all that decides a verdict besides the counts, as JSON."""
    settings = asdict(job.thresholds) | {"baseline": job.baseline.value}
    return orjson.dumps(settings, option=orjson.OPT_SORT_KEYS).decode()


def _same(first: WindowRecord, second: WindowRecord) -> bool:
    return orjson.dumps(first.to_json()) == orjson.dumps(second.to_json())
