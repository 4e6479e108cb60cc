from __future__ import annotations

import numpy as np
import pytest

from monitors.drift.counting import WindowCounts
from monitors.drift.judgement import Thresholds, judge
from monitors.drift.record import Subject, WindowRecord
from monitors.drift.windows import TimeBasis, Window
from monitors.reference import ReferenceSet


@pytest.fixture
def record() -> WindowRecord:
    """A window of 300 rows whose feature has drifted."""
    rng = np.random.default_rng(8)
    reference = ReferenceSet.build({"x": rng.normal(size=1_000)}, rng.random(1_000))
    counts = WindowCounts(
        requests=12,
        refused=2,
        untimed=1,
        rows=300,
        features=reference.counts({"x": rng.normal(3.0, size=300)}),
        unseen={"x": 4},
        scores=reference.score_counts(rng.random(300)),
    )
    thresholds = Thresholds(effect_psi=0.2)
    return WindowRecord(
        Subject("flights", 3, "b" * 64, "r" * 64, TimeBasis.EVENT),
        Window(1_767_225_600, 86_400),
        True,
        counts,
        thresholds,
        judge(counts, reference, thresholds),
    )
