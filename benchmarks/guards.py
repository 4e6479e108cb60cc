"""A suite as a guard: what it costs a row, beside Great Expectations on one row.

The suite is learnt from the flights as `samescore suite build` does it, and judges later flights.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from time import perf_counter_ns
from typing import Any

from benchmarks.budgets import measured
from benchmarks.results import Result
from benchmarks.workload import Workload, say
from consistency.bundle import open_bundle
from consistency.jsontype import Json
from consistency.protocols import Decoded
from consistency.records import Record
from monitors.suites import SuiteGuard, SuitePolicy, compile_suite
from monitors.suites.checking import frame_of
from monitors.suites.gx import ephemeral_context
from samescore.suites import build_suite

_MODEL = "xgboost"


def measure(workload: Workload) -> Iterator[Result]:
    """Judge single rows, the guard and Great Expectations taking turns."""
    schema = open_bundle(workload.bundle(_MODEL)).manifest.inputs
    assert schema is not None
    suite = build_suite(schema, workload.records[: workload.effort.columns], _MODEL)
    guard = SuiteGuard(_MODEL, compile_suite(suite), SuitePolicy.FLAG)
    servable = workload.load(_MODEL).info
    chosen = workload.chosen(workload.effort.block * 10)
    say(f"guard: {len(guard.suite.rules)} rules, {len(chosen)} single rows; GX: one row")
    judge_one = _gx(suite)
    ours, peers = [], []
    for i in range(workload.effort.replays):
        held = [Decoded(records=[record]) for record in chosen]
        start = perf_counter_ns()
        for decoded in held:
            guard.check(decoded, servable)
        ours.append((perf_counter_ns() - start) / len(held) / 1e3)
        start = perf_counter_ns()
        judge_one(chosen[i])
        peers.append((perf_counter_ns() - start) / 1e3)
    peer = statistics.median(peers)
    yield measured(
        "guard.compiled_us_per_row",
        ours,
        peer=f"Great Expectations, the same {len(guard.suite.rules)} rules on one row: "
        f"{peer / 1e3:.0f} ms",
        ratio=statistics.median(ours) / peer,
    )


def _gx(suite: dict[str, Json]) -> Callable[[Record], Any]:
    """Return what validates one record, context and suite made beforehand, warmed up."""
    context = ephemeral_context()
    import great_expectations as gx  # behind the first import, which silences its warnings

    source = context.data_sources.add_pandas("bench")
    batches = source.add_dataframe_asset("bench").add_batch_definition_whole_dataframe("bench")
    held = context.suites.add(gx.ExpectationSuite(**suite))
    columns = [str(e["kwargs"]["column"]) for e in suite["expectations"]]

    def judge(record: Record) -> Any:  # noqa: ANN401 - a result of GX
        batch = batches.get_batch({"dataframe": frame_of([record], columns)})
        return batch.validate(held)

    judge(dict.fromkeys(columns))
    return judge
