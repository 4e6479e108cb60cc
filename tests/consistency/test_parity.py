from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from consistency.compare import Tolerance
from consistency.execution import Execution
from consistency.parity import (
    Cell,
    CellResult,
    CellState,
    Factor,
    Factors,
    Isa,
    Judge,
    OneDnn,
    ParityTable,
    Surroundings,
    SwitchEffect,
    executions_to_try,
)
from consistency.parity_advice import advise, agreed_by_all, holds_on_one_machine, moves

AS_IS, PADDED, FLOAT64 = map(Execution.parse, ("as_is", "padded:16", "float64"))
FACTORS = Factors(
    batches=(1, 64), threads=(1, 2), onednn=(OneDnn.ON,), isas=(Isa.DEFAULT, Isa.SSE4)
)
SCORES = np.linspace(0.1, 0.9, 8)

Moves = Callable[[Cell], float]


def steady(_: Cell) -> float:
    return 0.0


def by_batch(cell: Cell) -> float:
    return 1e-7 * (cell.batch > 1)


def by_isa(cell: Cell) -> float:
    return 1e-7 * (cell.surroundings.isa is Isa.SSE4)


def scores_of(cell: Cell, moved: Moves) -> NDArray[np.float64]:
    """Move the first two of eight rows."""
    return SCORES + np.where(np.arange(8) < 2, moved(cell), 0.0)


def table(
    how: Mapping[Execution, Moves],
    factors: Factors = FACTORS,
    seconds: Callable[[Cell], float] = lambda _: 1e-6,
) -> ParityTable:
    results = []
    for execution, moved in how.items():
        cells = factors.cells(execution)
        judge = Judge(Tolerance(), cells[0])
        results += [judge.judge(c, scores_of(c, moved), seconds(c)) for c in cells]
    serving = next(iter(how))
    return ParityTable("net/1", 10, serving, factors.baseline, 8, 8, "golden", tuple(results))


# -------------------------------------------------------------------------------------------- cells


def test_each_factor_is_changed_by_itself_at_the_first_and_the_last_batch() -> None:
    factors = Factors(batches=(1, 7, 64), onednn=(OneDnn.ON, OneDnn.OFF))
    cells = factors.cells(AS_IS)
    assert cells[0] == Cell(AS_IS, factors.baseline, 1)
    assert [c.batch for c in cells if c.surroundings == factors.baseline] == [1, 7, 64]
    others = [c for c in cells if c.surroundings != factors.baseline]
    assert {len(c.surroundings.changes(factors.baseline)) for c in others} == {1}
    assert {c.batch for c in others} == {1, 64}
    assert len(cells) == len(set(cells)) == 3 + 4 * 2


def test_crossed_factors_give_every_combination() -> None:
    factors = Factors(batches=(1, 7), threads=(1, 2), isas=(Isa.DEFAULT, Isa.AVX2), crossed=True)
    assert len(factors.cells(AS_IS)) == 2 * 2 * 2 * 2


def test_a_value_given_twice_is_tried_once() -> None:
    factors = Factors((1, 1), (1, 1), (OneDnn.ON,), (Isa.DEFAULT,))
    assert len(factors.cells(AS_IS)) == 1


def test_surroundings_say_what_sets_them_apart() -> None:
    around = Surroundings(threads=2, onednn=OneDnn.OFF, isa=Isa.AVX2)
    assert around.describe(Surroundings()) == "2 threads, oneDNN off, avx2"
    assert Surroundings().describe(Surroundings()) == "baseline"
    assert around.changes(Surroundings()) == (Factor.THREADS, Factor.ONEDNN, Factor.ISA)


def test_the_serving_execution_is_always_tried() -> None:
    assert executions_to_try(PADDED, (AS_IS, PADDED)) == (PADDED, AS_IS)


# ------------------------------------------------------------------------------------------ judging


def test_a_cell_is_compared_with_the_reference_and_with_the_same_batch() -> None:
    judge = Judge(Tolerance(), Cell(AS_IS, Surroundings(), 1))
    around = Surroundings(threads=2)
    judge.judge(Cell(AS_IS, Surroundings(), 1), SCORES, 1.0)
    judge.judge(Cell(AS_IS, Surroundings(), 64), SCORES + 1e-7, 1.0)
    found = judge.judge(Cell(AS_IS, around, 64), SCORES + 1e-7, 1.0)
    assert found.comparison is not None
    assert found.isolated is not None
    assert not found.comparison.agrees
    assert found.isolated.agrees, "the threads are not to blame for what the batch does"


def test_without_a_reference_nothing_agrees() -> None:
    judge = Judge(Tolerance(), Cell(AS_IS, Surroundings(), 1))
    found = judge.judge(Cell(AS_IS, Surroundings(), 64), SCORES, 1.0)
    assert found.state is CellState.FAILED
    assert "reference" in found.reason


def test_scores_of_another_shape_are_a_failure() -> None:
    judge = Judge(Tolerance(), Cell(AS_IS, Surroundings(), 1))
    judge.judge(Cell(AS_IS, Surroundings(), 1), SCORES, 1.0)
    found = judge.judge(Cell(AS_IS, Surroundings(), 7), SCORES[:-1], 1.0)
    assert found.state is CellState.FAILED


# ------------------------------------------------------------------------------------------ verdict


def test_equal_scores_agree_bit_for_bit() -> None:
    found = table({AS_IS: steady})
    assert found.agrees(AS_IS)
    assert moves(found, AS_IS) == ()
    advice = advise(found)
    assert advice.serve_with == AS_IS
    assert "bit for bit" in advice.findings[0]
    assert "net/1 served as is: agrees to 10 decimals in all 6 cells" in advice.headline


def test_a_difference_below_ten_decimals_agrees_and_is_told() -> None:
    found = table({AS_IS: lambda c: 1e-13 * (c.batch > 1)})
    assert found.agrees(AS_IS)
    assert "largest |Δ| 1e-13" in advise(found).findings[0]


def test_a_lone_reference_is_no_agreement() -> None:
    alone = table({AS_IS: steady}, Factors((1,), (1,), (OneDnn.ON,), (Isa.DEFAULT,)))
    assert not alone.agrees(AS_IS)
    assert "nothing to compare" in advise(alone).headline


def test_a_failed_cell_is_no_agreement_and_an_impossible_one_is_no_objection() -> None:
    good = table({AS_IS: steady})
    for state, agrees in ((CellState.FAILED, False), (CellState.NOT_APPLICABLE, True)):
        cell = Cell(AS_IS, Surroundings(threads=64), 1)
        more = (*good.results, CellResult(cell, state, reason="why"))
        found = ParityTable("net/1", 10, AS_IS, good.baseline, 8, 8, "golden", more)
        assert found.agrees(AS_IS) is agrees
        assert ("1 of 7 cells failed" in advise(found).headline) is not agrees


def test_the_factor_that_moves_is_named_with_its_worst_value() -> None:
    (batch,) = moves(table({AS_IS: by_batch}), AS_IS)
    assert batch.factor is Factor.BATCH
    assert str(batch) == "25% of rows move between batch 1 and 64 (largest |Δ| 1e-07)"
    (isa,) = moves(table({AS_IS: by_isa}), AS_IS)
    assert isa.factor is Factor.ISA
    assert "between default and sse4" in str(isa)
    by_size = {1: 0.0, 7: 1e-9, 16: 1e-6, 64: 1e-7}
    several = Factors((1, 7, 16, 64), (1,), (OneDnn.ON,), (Isa.DEFAULT,))
    (worst,) = moves(table({AS_IS: lambda c: by_size[c.batch]}, several), AS_IS)
    assert str(worst) == "25% of rows move between batch 1 and 16 (largest |Δ| 1e-06)"


def test_the_cure_is_named_with_its_cost() -> None:
    found = table(
        {AS_IS: by_batch, FLOAT64: steady},
        seconds=lambda c: {AS_IS: 1e-6, FLOAT64: 2.9e-6}[c.execution],
    )
    advice = advise(found)
    assert advice.serve_with == FLOAT64
    assert "serve with execution float64 (cost ×2.9)" in advice.headline


def test_the_cheaper_of_two_cures_comes_first() -> None:
    found = table(
        {AS_IS: by_batch, FLOAT64: steady, PADDED: steady},
        seconds=lambda c: {AS_IS: 1e-6, FLOAT64: 3e-6, PADDED: 1.4e-6}[c.execution],
    )
    assert advise(found).serve_with == PADDED
    assert "execution padded:16 (cost ×1.4); or, execution float64" in advise(found).headline


def test_a_cure_that_needs_like_machines_says_so() -> None:
    found = table({AS_IS: by_batch, PADDED: by_isa})
    assert not found.agrees(PADDED)
    assert holds_on_one_machine(found, PADDED)
    advice = advise(found)
    assert advice.serve_with == PADDED
    assert "as long as all machines and their settings are alike" in advice.headline


def test_without_a_cure_it_says_what_all_cells_agree_to() -> None:
    found = table({AS_IS: by_batch})
    advice = advise(found)
    assert advice.serve_with is None
    assert "none of the executions tried (as_is) agrees" in advice.headline
    assert "all of its cells agree to 6" in advice.headline
    assert agreed_by_all(found.results) == 6


def test_an_execution_that_cannot_be_had_is_told() -> None:
    held = table({AS_IS: steady})
    why = ((FLOAT64, "it computes in float32 by design"),)
    found = ParityTable("t/1", 10, AS_IS, held.baseline, 8, 8, "golden", held.results, why)
    assert "float64: not available: it computes in float32 by design" in advise(found).findings


# --------------------------------------------------------------------------------------------- cost


def test_a_cost_is_the_time_over_that_of_serving_at_the_same_batch() -> None:
    took = {(AS_IS, 1): 4e-6, (AS_IS, 64): 2e-6, (FLOAT64, 1): 12e-6, (FLOAT64, 64): 10e-6}
    found = table({AS_IS: steady, FLOAT64: steady}, seconds=lambda c: took[c.execution, c.batch])
    assert found.costs(FLOAT64) == {1: pytest.approx(3.0), 64: pytest.approx(5.0)}
    assert {found.cost(r) for r in found.of(AS_IS)} == {1.0}


def test_json_holds_every_cell_and_no_verdict_where_there_is_none() -> None:
    held = table({AS_IS: by_batch})
    effect = SwitchEffect("A=1", "old", "old")
    skipped = CellResult(
        Cell(AS_IS, Surroundings(onednn=OneDnn.OFF), 1),
        CellState.NOT_APPLICABLE,
        reason="no switch",
        effects=(effect,),
    )
    more = (*held.results, skipped)
    value = ParityTable("t/1", 10, AS_IS, held.baseline, 8, 8, "golden", more).to_json()
    assert value["agrees"] is False
    assert len(value["cells"]) == 7
    assert value["cells"][-1]["agrees"] is None
    assert value["cells"][-1]["switches"] == [{"switch": "A=1", "before": "old", "after": "old"}]
    assert not effect.took_effect
