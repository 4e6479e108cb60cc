"""Replay: score the log again, from its bytes alone, and say where the first difference is.

`core.py` walks the log and compares (no I/O, no clock); `report.py` is what it found; `target.py`
is what it is given to score with. At scale, `units.py` cuts the log, `core.replay_part` replays a
piece anywhere, `partial.py` carries its report home and `merge.py` adds up, exactly.
"""

from consistency.replay.core import BatchPlan, ReplayMode, ReplaySettings, replay
from consistency.replay.report import ModelReport, ReplayReport, StageDifference
from consistency.replay.target import ReplayTarget

__all__ = [
    "BatchPlan",
    "ModelReport",
    "ReplayMode",
    "ReplayReport",
    "ReplaySettings",
    "ReplayTarget",
    "StageDifference",
    "replay",
]
