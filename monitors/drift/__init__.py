"""The drift job's parts: windows of a request log, counted, judged, kept and exported.

`windows.py` cuts time, `counting.py` counts a log in the buckets of a frozen reference,
`judgement.py` decides; these three are pure. `record.py` is a judged window, `store.py` keeps one
file for each, `exposition.py` turns the last one into Prometheus metrics. `samescore.drifts.job`
puts them together.
"""

from monitors.drift.counting import WindowCounter, WindowCounts
from monitors.drift.judgement import Judgement, Thresholds, Verdict, judge
from monitors.drift.record import WindowRecord
from monitors.drift.store import Change, WindowStore
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
    "WindowStore",
    "judge",
]
