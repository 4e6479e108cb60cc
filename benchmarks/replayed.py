"""A replay with clocks around the pipeline and the scorer, in a process of its own.

A child of `logged.py`. By hand, for a profiler: `python -m benchmarks.replayed MODELS LOG`.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter_ns

import orjson

from benchmarks.workload import PACKAGE, BenchmarkError
from consistency.errors import SamescoreError
from consistency.features import FeatureBatch
from consistency.log import RequestLogReader
from consistency.pipeline import WrappedPipeline
from consistency.protocols import Scorer, ScorerInfo
from consistency.records import Record
from consistency.replay import ReplayTarget, replay
from consistency.scored import Outputs
from consistency.snapshots import SNAPSHOT_FOLDER, SnapshotStore
from samescore.replays.targets import BundleTargets


@dataclass(slots=True)
class Clock:
    """Nanoseconds spent inside the pipeline and the scorer."""

    ns: int = 0


def replay_once(log: Path, targets: TimedTargets) -> tuple[float, float]:
    """Replay a log in full mode.

    Returns:
        Microseconds a row: on top of pipeline and scorer, and inside the two.

    Raises:
        BenchmarkError: the log does not agree with the models.
    """
    targets.clock.ns = 0
    start = perf_counter_ns()
    report = replay(RequestLogReader(log), targets)
    total = perf_counter_ns() - start
    if not report.agrees:
        raise BenchmarkError(f"the replay of {log} does not agree; see samescore replay")
    rows = sum(model.rows for model in report.models.values())
    return (total - targets.clock.ns) / rows / 1e3, targets.clock.ns / rows / 1e3


@dataclass(frozen=True, slots=True)
class TimedTargets:
    """The offline side of a replay, its pipelines and scorers timed.

    Attributes:
        inner: finds the targets.
        clock: of all of them together.
    """

    inner: BundleTargets
    clock: Clock = field(default_factory=Clock)
    _made: dict[int, ReplayTarget] = field(default_factory=dict)

    def __call__(
        self, model: tuple[str, int], bundle_digest: str, snapshots: Mapping[str, str]
    ) -> ReplayTarget:
        """Return the timed target; see `Resolve`."""
        target = self.inner(model, bundle_digest, snapshots)
        timed = self._made.get(id(target))
        if timed is None:
            assert target.pipeline is not None
            assert target.scorer is not None
            timed = self._made[id(target)] = dataclasses.replace(
                target,
                pipeline=_TimedPipeline(target.pipeline, self.clock),
                scorer=_TimedScorer(target.scorer, self.clock),
            )
        return timed


@dataclass(frozen=True, slots=True)
class _TimedPipeline(WrappedPipeline):
    clock: Clock

    def __call__(self, records: Sequence[Record]) -> FeatureBatch:
        start = perf_counter_ns()
        made = self.inner(records)
        self.clock.ns += perf_counter_ns() - start
        return made


@dataclass(frozen=True, slots=True)
class _TimedScorer:
    inner: Scorer
    clock: Clock

    @property
    def info(self) -> ScorerInfo:
        return self.inner.info

    def score(self, features: FeatureBatch) -> Outputs:
        start = perf_counter_ns()
        outputs = self.inner.score(features)
        self.clock.ns += perf_counter_ns() - start
        return outputs


def main() -> None:
    """Replay so many times, and once before to load the model; print a JSON list of pairs."""
    parser = argparse.ArgumentParser(description="Replay a log with clocks.")
    parser.add_argument("models", type=Path)
    parser.add_argument("log", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    store = SnapshotStore(options.models / SNAPSHOT_FOLDER)
    targets = TimedTargets(BundleTargets(options.models, store, {PACKAGE}, threads=1))
    try:
        found = [replay_once(options.log, targets) for _ in range(options.rounds + 1)]
    except SamescoreError as error:
        sys.exit(f"error: {error}")
    print(orjson.dumps(found[1:]).decode())


if __name__ == "__main__":
    main()
