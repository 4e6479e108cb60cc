"""The drift job's parts: windows of a request log, counted, judged, kept and exported.

`windows.py` cuts time, `counting.py` counts a log in the buckets of a frozen reference,
`judgement.py` and `baseline.py` decide, `plan.py` says which windows a run has to judge; these are
pure. `record.py` is a judged window; `history.py` keeps every judgement in a database (`database`,
`tables`, `rows` and `revision` are its parts). `exposition.py` turns the last one into Prometheus
metrics. `samescore.drifts.job` puts them together.
"""

from monitors.drift.counting import WindowCounter, WindowCounts
from monitors.drift.judgement import Judgement, Thresholds, Verdict, judge
from monitors.drift.record import WindowRecord
from monitors.drift.store import Change
from monitors.drift.windows import TimeBasis, Window, WindowLength

__all__ = [
    "Change",
    "Judgement",
    "Thresholds",
    "TimeBasis",
    "Verdict",
    "Window",
    "WindowCounter",
    "WindowCounts",
    "WindowLength",
    "WindowRecord",
    "judge",
]
