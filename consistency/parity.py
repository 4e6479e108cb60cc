"""Does a model answer alike whatever the batch, the threads, the CPU and the device?

A cell is one way to compute the same rows. Two comparisons are made of each: with the reference
cell of its execution, which says whether a client could see the difference, and with the cell of
the same batch in the baseline surroundings, which changes one factor only and so says which one
moved the scores. Nothing here runs a model or reads a clock.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from consistency.compare import Comparison, Tolerance, compare
from consistency.execution import Execution
from consistency.jsontype import Json
from consistency.scored import Scores


class OneDnn(StrEnum):
    """Whether a library may use oneDNN's kernels."""

    ON = "on"
    OFF = "off"


class Isa(StrEnum):
    """The newest CPU instructions that libraries may use; `default` is all that the CPU has."""

    DEFAULT = "default"
    AVX512 = "avx512"
    AVX2 = "avx2"
    AVX = "avx"
    SSE4 = "sse4"


class Factor(StrEnum):
    """What a cell can change."""

    BATCH = "batch"
    THREADS = "threads"
    ONEDNN = "onednn"
    ISA = "isa"
    DEVICE = "device"


class CellState(StrEnum):
    """What became of a cell.

    measured: it has scores. not_applicable: the library has no such switch, or it changed nothing.
    not_available: this machine or this model has no such thing. failed: it crashed or timed out.
    """

    MEASURED = "measured"
    NOT_APPLICABLE = "not_applicable"
    NOT_AVAILABLE = "not_available"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a model computes in, its batch apart.

    Attributes:
        device: `cpu`, `cuda` or `cuda:N`.
    """

    threads: int = 1
    onednn: OneDnn = OneDnn.ON
    isa: Isa = Isa.DEFAULT
    device: str = "cpu"

    def changes(self, other: Surroundings) -> tuple[Factor, ...]:
        """Return the factors in which the two differ."""
        factors = (Factor.THREADS, Factor.ONEDNN, Factor.ISA, Factor.DEVICE)
        return tuple(f for f in factors if getattr(self, f) != getattr(other, f))

    def value(self, factor: Factor) -> str:
        """Return a factor's value as a person writes it.

        >>> Surroundings(threads=2).value(Factor.THREADS)
        '2 threads'
        """
        held = getattr(self, factor)
        if factor is Factor.THREADS:
            return f"{held} thread{'' if held == 1 else 's'}"
        return f"oneDNN {held}" if factor is Factor.ONEDNN else str(held)

    def describe(self, baseline: Surroundings) -> str:
        """Return what sets these surroundings apart from the baseline, `baseline` if nothing."""
        return ", ".join(map(self.value, self.changes(baseline))) or "baseline"


@dataclass(frozen=True, slots=True)
class Cell:
    """One way to compute.

    Attributes:
        batch: rows that reach the model at once, 1 or more.
    """

    execution: Execution
    surroundings: Surroundings
    batch: int

    def to_json(self) -> dict[str, Json]:
        """Return JSON types."""
        around = self.surroundings
        return {
            "execution": str(self.execution),
            "batch": self.batch,
            "threads": around.threads,
            "onednn": around.onednn.value,
            "isa": around.isa.value,
            "device": around.device,
        }


@dataclass(frozen=True, slots=True)
class Factors:
    """The values that are tried; the first of each makes the baseline.

    Attributes:
        crossed: every combination. Otherwise each factor is changed by itself: all batches in the
            baseline, and the first and the last of them in each of the other surroundings.
    """

    batches: tuple[int, ...] = (1, 7, 64, 1024)
    threads: tuple[int, ...] = (1, 2)
    onednn: tuple[OneDnn, ...] = (OneDnn.ON, OneDnn.OFF)
    isas: tuple[Isa, ...] = (Isa.DEFAULT, Isa.AVX2, Isa.SSE4)
    devices: tuple[str, ...] = ("cpu",)
    crossed: bool = False

    @property
    def baseline(self) -> Surroundings:
        """The surroundings that everything is compared with."""
        return Surroundings(self.threads[0], self.onednn[0], self.isas[0], self.devices[0])

    def surroundings(self) -> tuple[Surroundings, ...]:
        """Return all surroundings, the baseline first."""
        every = itertools.product(self.threads, self.onednn, self.isas, self.devices)
        found = dict.fromkeys(Surroundings(*values) for values in every)
        most = 4 if self.crossed else 1
        return tuple(s for s in found if len(s.changes(self.baseline)) <= most)

    def cells(self, execution: Execution) -> tuple[Cell, ...]:
        """Return the cells of an execution; the first is its reference."""
        batches = tuple(dict.fromkeys(self.batches))
        edges = batches if self.crossed else tuple(dict.fromkeys((batches[0], batches[-1])))
        first, *others = self.surroundings()
        baseline = tuple(Cell(execution, first, b) for b in batches)
        return baseline + tuple(Cell(execution, s, b) for s in others for b in edges)


@dataclass(frozen=True, slots=True)
class SwitchEffect:
    """What a library's own switch did, by the library's own account.

    Attributes:
        switch: the setting, as `NAME=value`.
        before: what the library said without it; after: with it. Equal when nothing changed.
    """

    switch: str
    before: str
    after: str

    @property
    def took_effect(self) -> bool:
        """Whether the library computes in another way than before."""
        return self.before != self.after


@dataclass(frozen=True, slots=True)
class CellResult:
    """What a cell gave.

    Attributes:
        comparison: with the reference cell of the same execution; None unless measured.
        isolated: with the cell of the same batch in the baseline surroundings; for a cell in
            these, the same as `comparison`. None unless both were measured.
        seconds_per_row: the shortest pass over all rows, by the number of rows; None unless
            measured.
        reason: why it was not measured.
        effects: what the switches of these surroundings did.
    """

    cell: Cell
    state: CellState
    comparison: Comparison | None = None
    isolated: Comparison | None = None
    seconds_per_row: float | None = None
    reason: str = ""
    effects: tuple[SwitchEffect, ...] = ()


@dataclass(slots=True)
class Judge:
    """Compares the scores of an execution's cells, and holds the baseline's scores of each batch.

    Attributes:
        reference: the cell that the others are compared with.
        scores: of the reference and of the other batches in its surroundings, by batch.
    """

    tolerance: Tolerance
    reference: Cell
    scores: dict[int, Scores] = field(default_factory=dict)

    def judge(self, cell: Cell, scores: Scores, seconds_per_row: float) -> CellResult:
        """Return a cell's result, a failure when there is nothing to compare it with.

        The reference must come first, and cells in its surroundings before others of their batch.
        """
        in_baseline = cell.surroundings == self.reference.surroundings
        if in_baseline:
            self.scores[cell.batch] = scores
        expected = self.scores.get(self.reference.batch)
        if expected is None or expected.shape != scores.shape:
            held = None if expected is None else expected.shape
            why = f"scores have shape {scores.shape}, the reference cell's {held or 'are missing'}"
            return CellResult(cell, CellState.FAILED, reason=why)
        found = compare(scores, expected, self.tolerance).summary
        alone = self.scores.get(cell.batch)
        return CellResult(
            cell,
            CellState.MEASURED,
            found,
            None if alone is None else self._isolated(found, scores, alone, in_baseline),
            seconds_per_row,
        )

    def _isolated(
        self, found: Comparison, scores: Scores, alone: Scores, in_baseline: bool
    ) -> Comparison:
        return found if in_baseline else compare(scores, alone, self.tolerance).summary


@dataclass(frozen=True, slots=True)
class ParityTable:
    """The whole table.

    Attributes:
        model: `name/version`.
        decimals: that must agree.
        serving: the execution that the bundle is served with.
        baseline: the surroundings that others are compared with.
        rows: compared in each cell; distinct_rows: different ones among them.
        rows_from: where they come from, in words.
        results: in the order of the plan; of each execution the reference first.
        without: executions that cannot be had, and why.
    """

    model: str
    decimals: int
    serving: Execution
    baseline: Surroundings
    rows: int
    distinct_rows: int
    rows_from: str
    results: tuple[CellResult, ...]
    without: tuple[tuple[Execution, str], ...] = ()

    @property
    def executions(self) -> tuple[Execution, ...]:
        """The executions with cells, the serving one first."""
        return tuple(dict.fromkeys(r.cell.execution for r in self.results))

    def of(self, execution: Execution) -> tuple[CellResult, ...]:
        """Return an execution's results, the reference first."""
        return tuple(r for r in self.results if r.cell.execution == execution)

    def measured(self, execution: Execution) -> tuple[CellResult, ...]:
        """Return an execution's measured cells."""
        return tuple(r for r in self.of(execution) if r.state is CellState.MEASURED)

    def failed(self, execution: Execution) -> tuple[CellResult, ...]:
        """Return an execution's cells that crashed or timed out."""
        return tuple(r for r in self.of(execution) if r.state is CellState.FAILED)

    def agrees(self, execution: Execution) -> bool:
        """Whether every cell agrees with the reference; a failed cell does not.

        A reference with nothing beside it is no agreement.
        """
        cells = self.measured(execution)
        all_agree = all(r.comparison is not None and r.comparison.agrees for r in cells)
        return len(cells) > 1 and all_agree and not self.failed(execution)

    def cost(self, result: CellResult) -> float | None:
        """Return a cell's time per row over that of serving at the same batch in the baseline.

        None when one of the two was not measured.
        """
        return self._ratio(result.seconds_per_row, self._serving_cell(result.cell.batch))

    def costs(self, execution: Execution) -> dict[int, float]:
        """Return an execution's cost in the baseline surroundings by batch, where it is known."""
        cells = [r for r in self.measured(execution) if r.cell.surroundings == self.baseline]
        return {r.cell.batch: c for r in cells if (c := self.cost(r)) is not None}

    def _serving_cell(self, batch: int) -> CellResult | None:
        wanted = Cell(self.serving, self.baseline, batch)
        return next((r for r in self.results if r.cell == wanted), None)

    @staticmethod
    def _ratio(seconds: float | None, base: CellResult | None) -> float | None:
        if seconds is None or base is None or not base.seconds_per_row:
            return None
        return seconds / base.seconds_per_row

    def to_json(self) -> dict[str, Json]:
        """Return JSON types: the agreement of each execution, and every cell."""
        return {
            "model": self.model,
            "decimals": self.decimals,
            "serving": str(self.serving),
            "agrees": self.agrees(self.serving),
            "rows": self.rows,
            "distinct_rows": self.distinct_rows,
            "rows_from": self.rows_from,
            "executions": {str(e): self.agrees(e) for e in self.executions},
            "without": {str(e): why for e, why in self.without},
            "cells": [self._cell_json(r) for r in self.results],
        }

    def _cell_json(self, result: CellResult) -> dict[str, Json]:
        found, alone = result.comparison, result.isolated
        return {
            **result.cell.to_json(),
            "state": result.state.value,
            "reason": result.reason,
            "agrees": None if found is None else found.agrees,
            "against_reference": None if found is None else found.to_json(),
            "against_same_batch": None if alone is None else alone.to_json(),
            "seconds_per_row": result.seconds_per_row,
            "cost": self.cost(result),
            "switches": [
                {"switch": e.switch, "before": e.before, "after": e.after} for e in result.effects
            ],
        }


def with_effects(result: CellResult, effects: Iterable[SwitchEffect]) -> CellResult:
    """Return a result that knows what its switches did."""
    return replace(result, effects=tuple(effects))


def executions_to_try(serving: Execution, wanted: Sequence[Execution]) -> tuple[Execution, ...]:
    """Return the serving execution and the wanted ones, each once."""
    return tuple(dict.fromkeys((serving, *wanted)))
