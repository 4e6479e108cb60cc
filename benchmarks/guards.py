"""A suite as a guard: what it costs a row, beside Great Expectations on the same rows.

The suite is learnt from the flights as `samescore suite build` does it, and judges later flights:
one record at a time, as requests come, and a batch at once, as a check of a log does. Great
Expectations is given its best case: context, suite and data source are made beforehand, and for the
batch the frame too; the guard gets no such help. Both judge the same row-level rules.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from time import perf_counter_ns
from typing import Any

from benchmarks.budgets import measured
from benchmarks.results import Result
from benchmarks.workload import Workload, say
from consistency.bundle import open_bundle
from consistency.jsontype import Json
from consistency.protocols import Decoded
from consistency.records import Record
from consistency.scored import ServableInfo
from monitors.suites import SuiteGuard, SuitePolicy, compile_suite
from monitors.suites.whole.checking import columns_read, frame_of
from monitors.suites.whole.gx import ephemeral_context, import_gx
from samescore.suites import build_suite

_MODEL = "xgboost"
_BATCH = 10_000


def measure(workload: Workload) -> Iterator[Result]:
    """Judge single rows and a batch, the guard and Great Expectations taking turns."""
    guard, suite = _compiled(workload)
    servable = workload.load(_MODEL).info
    rounds = workload.effort.replays
    chosen = workload.chosen(workload.effort.block * 10)
    batch = [chosen[i % len(chosen)] for i in range(_BATCH)]
    say(f"guard: {len(guard.suite.rules)} rules, {len(chosen)} single rows, a batch of {_BATCH}")
    peer = _Peer(suite)
    ours, theirs = _in_turns(
        rounds, lambda: _singly(guard, servable, chosen), lambda i: peer.judge([chosen[i]])
    )
    one, other = statistics.median(ours), statistics.median(theirs)
    what = f"Great Expectations, the same {len(guard.suite.rules)} rules"
    yield measured(
        "guard.compiled_us_per_row", ours, peer=f"{what} on one row: {other / 1e3:.0f} ms",
        ratio=one / other,
    )  # fmt: skip
    yield measured(
        "guard.vs_gx_one_row", [b / a for a, b in zip(ours, theirs, strict=True)],
        peer=f"{what} on one row: {other / 1e3:.0f} ms; the guard: {one:.1f} us",
    )  # fmt: skip
    yield _over_a_batch(guard, servable, batch, peer, rounds)


def _over_a_batch(
    guard: SuiteGuard, servable: ServableInfo, batch: list[Record], peer: _Peer, rounds: int
) -> Result:
    """Give the guard's time for a row of a batch, and Great Expectations' beside it."""
    frame = peer.frame(batch)

    def together() -> float:
        start = perf_counter_ns()
        guard.check(Decoded(records=batch), servable)
        return (perf_counter_ns() - start) / len(batch) / 1e3

    ours, theirs = _in_turns(rounds, together, lambda _: peer.judge_frame(frame) / len(batch))
    return measured(
        "guard.batch_us_per_row",
        ours,
        peer=f"Great Expectations, ready-made frame of {len(batch)} rows: "
        f"{statistics.median(theirs):.2f} us a row",
        ratio=statistics.median(ours) / statistics.median(theirs),
    )


def _compiled(workload: Workload) -> tuple[SuiteGuard, dict[str, Json]]:
    """Return the guard, and the suite of exactly the rules that it runs."""
    schema = open_bundle(workload.bundle(_MODEL)).manifest.inputs
    assert schema is not None
    suite = build_suite(schema, workload.records[: workload.effort.columns], _MODEL)
    compiled = compile_suite(suite)
    rows = [suite["expectations"][r.position] for r in compiled.rules]
    alone = {**suite, "expectations": rows}
    return SuiteGuard(_MODEL, compile_suite(alone), SuitePolicy.FLAG), alone


def _in_turns(
    rounds: int, ours: Callable[[], float], theirs: Callable[[int], float]
) -> tuple[list[float], list[float]]:
    """Return microseconds of both, one value a round."""
    mine, others = [], []
    for i in range(rounds):
        mine.append(ours())
        others.append(theirs(i))
    return mine, others


def _singly(guard: SuiteGuard, servable: ServableInfo, chosen: Sequence[Record]) -> float:
    held = [Decoded(records=[record]) for record in chosen]
    start = perf_counter_ns()
    for decoded in held:
        guard.check(decoded, servable)
    return (perf_counter_ns() - start) / len(held) / 1e3


class _Peer:
    """Great Expectations, warmed up, context and suite made beforehand."""

    def __init__(self, suite: dict[str, Json]) -> None:
        context = ephemeral_context()
        gx = import_gx()
        self._columns = columns_read(suite)
        source = context.data_sources.add_pandas("bench")
        asset = source.add_dataframe_asset("bench")
        self._batches = asset.add_batch_definition_whole_dataframe("bench")
        self._suite = context.suites.add(gx.ExpectationSuite(**suite))
        self.judge([dict.fromkeys(self._columns)])

    def frame(self, records: list[Record]) -> Any:  # noqa: ANN401 - a pandas frame
        """Return records as the frame that is judged."""
        return frame_of(records, self._columns)

    def judge(self, records: list[Record]) -> float:
        """Return the microseconds for some records, the making of their frame included."""
        start = perf_counter_ns()
        self._validate(self.frame(records))
        return (perf_counter_ns() - start) / 1e3

    def judge_frame(self, frame: Any) -> float:  # noqa: ANN401 - a pandas frame
        """Return the microseconds for a ready-made frame."""
        start = perf_counter_ns()
        self._validate(frame)
        return (perf_counter_ns() - start) / 1e3

    def _validate(self, frame: Any) -> None:  # noqa: ANN401 - a pandas frame
        self._batches.get_batch({"dataframe": frame}).validate(self._suite)
