"""The flights pipeline: 30 features for one record, and for a year's worth at once."""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter_ns

from benchmarks.budgets import measured, quantile
from benchmarks.results import Result
from benchmarks.workload import Workload, say


def measure(workload: Workload) -> Iterator[Result]:
    """Measure single records and whole columns, taking turns."""
    pipeline = workload.load("xgboost").pipeline
    assert pipeline is not None
    effort = workload.effort
    singles = [[record] for record in workload.chosen(effort.block * 4)]
    columns = workload.records[: effort.columns]
    say(f"pipeline: {len(singles)} single records, and {len(columns)} at once")
    one, million = [], []
    for _ in range(effort.replays):
        taken = []
        for record in singles:
            start = perf_counter_ns()
            pipeline(record)
            taken.append(perf_counter_ns() - start)
        one.append(quantile(taken, 0.5) / 1e3)
        start = perf_counter_ns()
        pipeline(columns)
        million.append((perf_counter_ns() - start) / len(columns) * 1e6 / 1e9)
    yield measured("pipeline.one_record_us", one)
    yield measured("pipeline.million_rows_s", million, peer=f"scaled from {len(columns)} records")
