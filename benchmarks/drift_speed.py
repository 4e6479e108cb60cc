"""Counts a million rows against the frozen reference: in memory, from Parquet, and its memory."""

from __future__ import annotations

import ctypes
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final

import numpy as np

from benchmarks.budgets import measured
from benchmarks.drift_peers import FOLDER, python_of, seconds_of
from benchmarks.results import Result
from benchmarks.workload import QUICK, Workload, say
from monitors.psi import population_stability_index
from monitors.reference import Counts, ReferenceSet
from monitors.tables import parquet_counts, table_counts

if TYPE_CHECKING:
    import pandas as pd

FLOATS: Final = 50
STRINGS: Final = 5
ROWS: Final = 1_000_000
_QUICK_ROWS: Final = 100_000
_ROUNDS: Final = 5


def measure(workload: Workload) -> Iterator[Result]:
    """Time counting and indices, beside peers where they have been installed."""
    rows = _QUICK_ROWS if workload.effort is QUICK else ROWS
    say(f"drift: {rows:,} rows of {FLOATS} floats and {STRINGS} strings")
    frame, reference = frame_of(rows, seed=2), reference_of(100_000)
    path = workload.scratch / "window.parquet"
    frame.to_parquet(path, index=False, compression="zstd")
    memory = [_seconds(lambda: indices(reference, table_counts(reference, frame)))
              for _ in range(_ROUNDS)]  # fmt: skip
    disk = [_seconds(lambda: indices(reference, parquet_counts(reference, path)))
            for _ in range(_ROUNDS)]  # fmt: skip
    extra = _extra_mb(workload.scratch, reference, rows)
    peer = _peers(workload, path, rows)
    yield measured("drift.memory_s", memory, peer=peer)
    yield measured("drift.parquet_s", disk)
    yield measured("drift.extra_mb", [extra], peer="above the data, in a process of its own")
    states = [8 * len(r.training_counts) for r in reference.measures.values()]
    yield measured("drift.state_bytes_per_feature", states, peer="largest; int64 counts of the "
                   "buckets", take=max)  # fmt: skip


def frame_of(rows: int, seed: int) -> pd.DataFrame:
    """Return the data as people have them: a pandas data frame."""
    import pandas as pd

    rng = np.random.default_rng(seed)
    columns: dict[str, object] = {f"f{i}": rng.normal(size=rows) for i in range(FLOATS)}
    names = np.array([f"category {i}" for i in range(30)], object)
    for i in range(STRINGS):
        columns[f"s{i}"] = pd.Series(names[rng.integers(0, 30, rows)], dtype="str")
    return pd.DataFrame(columns)


def reference_of(rows: int) -> ReferenceSet:
    """Return the frozen reference of such data."""
    frame = frame_of(rows, seed=1)
    columns = {name: frame[name].to_numpy() for name in frame.columns}
    return ReferenceSet.build(columns, np.random.default_rng(0).random(rows))


def indices(reference: ReferenceSet, counts: dict[str, Counts]) -> dict[str, float]:
    """Return each feature's index."""
    return {
        name: population_stability_index(reference.features[name].training_counts, each)
        for name, each in counts.items()
    }


def _seconds(work: Callable[[], object]) -> float:
    start = perf_counter()
    work()
    return perf_counter() - start


def _extra_mb(scratch: Path, reference: ReferenceSet, rows: int) -> float:
    """Return by how much a process grows while it counts, above its data."""
    held = scratch / "reference.json"
    held.write_bytes(reference.to_bytes())
    command = [sys.executable, "-m", "benchmarks.drift_speed", str(held), str(rows)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def _peers(workload: Workload, current: Path, rows: int) -> str:
    """Return what peers take for the same, if an environment with them has been made."""
    python = python_of(workload.scratch.parent / FOLDER)
    if not python.exists():
        return "peers not measured; python -m benchmarks --peers installs them"
    say("drift: peers")
    reference = workload.scratch / "reference.parquet"
    frame_of(rows, seed=1).to_parquet(reference, index=False)
    found = seconds_of(python, reference, current)
    told = (f"{n}: {t:.1f} s" if isinstance(t, float) else f"{n}: {t}" for n, t in found.items())
    return ", ".join(told)


def _main() -> None:
    reference = ReferenceSet.from_bytes(Path(sys.argv[1]).read_bytes())
    frame = frame_of(int(sys.argv[2]), seed=2)
    small = frame.head(5_000)
    indices(reference, table_counts(reference, small))  # imports and thread pools
    # What was freed since the data were made must go back first, or its reuse would hide growth;
    # and the peak so far may be that of making them.
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before = _peak_kb()
    indices(reference, table_counts(reference, frame))
    print(max(_peak_kb() - before, 0) / 1024)


def _peak_kb() -> int:
    status = Path("/proc/self/status").read_text()
    found = next((line for line in status.splitlines() if line.startswith("VmHWM:")), None)
    return int(found.split()[1]) if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    _main()
