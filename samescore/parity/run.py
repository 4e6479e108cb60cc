"""Measures a bundle's parity table, cell by cell."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

from consistency.bundle import Bundle, open_bundle, verify_files
from consistency.compare import Tolerance
from consistency.errors import BackendError, ConfigError
from consistency.execution import Execution, ExecutionMode
from consistency.parity import (
    Cell,
    CellResult,
    CellState,
    Factors,
    Judge,
    OneDnn,
    ParityTable,
    Surroundings,
    executions_to_try,
)
from samescore.parity.facts import VERBOSE
from samescore.parity.models import Model, Models
from samescore.parity.probe import Probes, Verdict
from samescore.parity.process import printed_facts, run_cell
from samescore.parity.rows import Rows, gather
from samescore.parity.spec import CellAnswer, CellSpec, read_scores
from samescore.parity.switches import TORCH_ONEDNN, Switches, settings_for
from serving.loaders import format_named
from serving.loaders.trust.grants import NO_TRUST, ModelTrust

GIB: Final = 2**30
PROBE_ROWS: Final = 64
ROWS_FILE: Final = "rows.parquet"
AS_IS: Final = Execution(ExecutionMode.AS_IS)


@dataclass(frozen=True, slots=True)
class ParityJob:
    """What to measure.

    Attributes:
        bundle: its folder, `<base>/<name>/<version>`.
        factors: the values that are tried.
        executions: beside the bundle's own.
        log: a request log whose features are scored; file: a Parquet file of feature rows. The
            golden rows when neither is given.
        decimals: that must agree.
        jobs: cells side by side; more than one makes costs less honest.
        timeout_seconds: of a cell.
        timing_seconds: spent on timing in each cell.
        memory_bytes: the most that a cell on the CPU may take for its data; 0 for no bound.
        trust: the operator's opt-ins for models that hold Python objects.
    """

    bundle: Path
    factors: Factors = field(default_factory=Factors)
    executions: tuple[Execution, ...] = ()
    log: Path | None = None
    file: Path | None = None
    decimals: int = 10
    jobs: int = 1
    timeout_seconds: float = 120.0
    timing_seconds: float = 0.3
    memory_bytes: int = 16 * GIB
    trust: ModelTrust = NO_TRUST


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be run.

    Attributes:
        models: the model of each execution that can be had.
        without: executions that cannot be had, and why.
        cells: of all executions, those that no switch reaches included.
        switches: of the model's library.
    """

    bundle: Bundle
    rows: Rows
    switches: Switches
    models: Mapping[Execution, Model]
    without: tuple[tuple[Execution, str], ...]
    cells: Mapping[Execution, tuple[Cell, ...]]

    @property
    def count(self) -> int:
        """Cells in all."""
        return sum(map(len, self.cells.values()))


def run_parity(
    job: ParityJob, on_plan: Callable[[Plan], Callable[[], object]] = lambda _: lambda: None
) -> ParityTable:
    """Measure every cell in a process of its own and compare.

    Args:
        job: what to measure.
        on_plan: called once, before the first cell starts; returns what is called after each
            cell, for a progress bar.

    Raises:
        BundleError: no bundle, or one that was changed.
        ConfigError: no rows, or the bundle's model cannot be loaded in the baseline.
        LogError: no such log.
    """
    with tempfile.TemporaryDirectory(prefix="samescore-parity-") as scratch:
        plan = make_plan(job, Path(scratch))
        on_cell = on_plan(plan)
        plan.rows.write(Path(scratch, ROWS_FILE))
        runner = Runner(job, plan, Path(scratch))
        results = [r for e in plan.cells for r in runner.results(e, on_cell)]
    manifest = plan.bundle.manifest
    return ParityTable(
        model=f"{manifest.name}/{manifest.version}",
        decimals=job.decimals,
        serving=manifest.execution,
        baseline=job.factors.baseline,
        rows=plan.rows.count,
        distinct_rows=plan.rows.features.rows,
        rows_from=plan.rows.source,
        results=tuple(results),
        without=plan.without,
    )


def make_plan(job: ParityJob, scratch: Path) -> Plan:
    """Open the bundle, gather the rows and find each execution's model."""
    bundle = open_bundle(job.bundle)
    verify_files(bundle)
    rows = gather(bundle, job.log, job.file, max(job.factors.batches))
    models: dict[Execution, Model] = {}
    without = []
    finder = Models(bundle, scratch, job.timeout_seconds, job.trust)
    for execution in executions_to_try(bundle.manifest.execution, job.executions):
        found = finder.find(execution)
        if isinstance(found, str):
            without.append((execution, found))
        else:
            models[execution] = found
    cells = {execution: job.factors.cells(execution) for execution in models}
    library = format_named(bundle.manifest.model_format).library
    calibrated = bundle.manifest.postprocess.calibration is not None
    switches = Switches.of(library, calibrated=calibrated)
    return Plan(bundle, rows, switches, models, tuple(without), cells)


@dataclass(slots=True)
class Runner:
    """Runs an execution's cells and judges them."""

    job: ParityJob
    plan: Plan
    scratch: Path
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def results(self, execution: Execution, on_cell: Callable[[], object]) -> list[CellResult]:
        """Return the results of an execution's cells, the reference first."""
        cells = self.plan.cells[execution]
        judge = Judge(Tolerance(self.job.decimals), cells[0])
        verdicts = self._verdicts(self.plan.models[execution], cells)
        # What others are compared with comes first: the reference, then the baseline's batches.
        baseline = [c for c in cells[1:] if c.surroundings == cells[0].surroundings]
        others = [c for c in cells if c.surroundings != cells[0].surroundings]
        found = {}
        for group in ([cells[0]], baseline, others):
            with ThreadPoolExecutor(self.job.jobs) as pool:
                asked = pool.map(lambda c: self._measure(c, verdicts[c.surroundings]), group)
                for cell, done in zip(group, asked, strict=True):
                    found[cell] = done if isinstance(done, CellResult) else self._judge(
                        judge, cell, *done, verdicts[cell.surroundings]
                    )  # fmt: skip
                    on_cell()
            self._insist(found[cells[0]])
        return [found[cell] for cell in cells]

    def _verdicts(self, model: Model, cells: Sequence[Cell]) -> dict[Surroundings, Verdict]:
        probes = Probes(
            self.plan.switches, self.job.factors.baseline, lambda s: self._probe(model, s)
        )
        return {s: probes.verdict(s) for s in dict.fromkeys(c.surroundings for c in cells)}

    def _insist(self, reference: CellResult) -> None:
        """Refuse to go on without what the served execution's cells are compared with."""
        is_served = reference.cell.execution == self.plan.bundle.manifest.execution
        if is_served and reference.state is CellState.NOT_AVAILABLE:
            raise ConfigError(f"nothing can be compared: {reference.reason}")

    def _measure(self, cell: Cell, verdict: Verdict) -> CellResult | tuple[CellAnswer, Path]:
        if verdict.state is not CellState.MEASURED:
            return CellResult(cell, verdict.state, reason=verdict.reason, effects=verdict.effects)
        spec = self._spec(self.plan.models[cell.execution], cell, timed=True)
        return self._run(spec, cell.surroundings), spec.folder

    def _judge(
        self, judge: Judge, cell: Cell, answer: CellAnswer, folder: Path, verdict: Verdict
    ) -> CellResult:
        try:
            if answer.error:
                state = CellState.NOT_AVAILABLE if answer.refused else CellState.FAILED
                return CellResult(cell, state, reason=answer.error, effects=verdict.effects)
            result = judge.judge(cell, read_scores(folder), answer.seconds_per_row)
        except BackendError as error:
            result = CellResult(cell, CellState.FAILED, reason=str(error))
        finally:
            shutil.rmtree(folder)
        return replace(result, effects=verdict.effects)

    def _probe(self, model: Model, around: Surroundings) -> CellAnswer:
        """Ask the libraries what they run, on few rows and with all that they print."""
        batch = min(PROBE_ROWS, max(self.job.factors.batches))
        spec = self._spec(model, Cell(AS_IS, around, batch), timed=False)
        answer = self._run(spec, around, VERBOSE)
        facts = (answer.facts or {}) | printed_facts(spec)
        shutil.rmtree(spec.folder)
        return replace(answer, facts=facts)

    def _run(
        self, spec: CellSpec, around: Surroundings, more: Mapping[str, str] = MappingProxyType({})
    ) -> CellAnswer:
        settings = settings_for(self.plan.switches.all, around)
        settings.pop(TORCH_ONEDNN, None)
        return run_cell(spec, settings | dict(more), self.job.timeout_seconds)

    def _spec(self, model: Model, cell: Cell, *, timed: bool) -> CellSpec:
        folder, around = self.scratch / f"cell-{next(self._numbers)}", cell.surroundings
        folder.mkdir()
        return CellSpec(
            bundle=self.job.bundle.resolve(),
            model_format=model.model_format,
            model=model.folder.resolve(),
            rows=self.scratch / ROWS_FILE,
            copies=self.plan.rows.copies,
            execution=str(cell.execution),
            batch=cell.batch,
            threads=around.threads,
            device=around.device,
            onednn=around.onednn is OneDnn.ON,
            timing_seconds=self.job.timing_seconds if timed else 0.0,
            # CUDA reserves far more addresses than it uses
            memory_bytes=self.job.memory_bytes if around.device == "cpu" else 0,
            folder=folder,
            trust_types=tuple(sorted(self.job.trust.types)),
            allow_pickle=self.job.trust.allow_pickle,
        )
