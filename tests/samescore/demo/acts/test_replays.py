"""The proof that the batch size makes the float32 network differ."""

from __future__ import annotations

from consistency.compare import Comparison
from consistency.diagnose import Cause
from samescore.demo.acts.replays import explain


def compared(differing: int) -> Comparison:
    return Comparison(100, 100 - differing, 100 - differing)


def test_a_mismatch_that_vanishes_at_the_logged_sizes_is_proven() -> None:
    found = explain({"logged": compared(0), "1": compared(40), "4096": compared(3)})
    assert found.finding.cause is Cause.BATCH_VARIANCE
    assert found.to_json()["rows_differing"] == 3
    assert found.to_json()["rows_differing_by_batch"] == {"logged": 0, "1": 40, "4096": 3}


def test_a_mismatch_that_stays_is_not() -> None:
    found = explain({"logged": compared(1), "1": compared(40), "4096": compared(3)})
    assert found.finding.cause is Cause.UNPROVEN


def test_a_mismatch_at_another_size_only_is_proven_there() -> None:
    found = explain({"logged": compared(0), "1": compared(40), "4096": compared(0)})
    assert found.finding.cause is Cause.BATCH_VARIANCE
    assert "at batch 1 40 of 100" in found.finding.evidence


def test_no_mismatch_at_all_is_no_proof() -> None:
    found = explain({"logged": compared(0), "1": compared(0), "4096": compared(0)})
    assert found.finding.cause is Cause.UNPROVEN
