"""What `import consistency` costs a fresh interpreter."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Iterator
from time import perf_counter

from benchmarks.budgets import measured
from benchmarks.results import Result
from benchmarks.workload import ROOT, Workload, say


def measure(workload: Workload) -> Iterator[Result]:
    """Start an interpreter with and without the import, taking turns."""
    say("import: starting interpreters")
    _seconds("import consistency")  # byte code and disk cache
    with_it, without = [], []
    for _ in range(workload.effort.imports):
        without.append(_seconds("pass"))
        with_it.append(_seconds("import consistency"))
    added = [a - b for a, b in zip(with_it, without, strict=True)]
    bare = statistics.median(without)
    yield measured(
        "import.consistency_s",
        added,
        peer=f"python -c pass, {bare:.3f} s",
        ratio=statistics.median(with_it) / bare,
    )


def _seconds(statement: str) -> float:
    start = perf_counter()
    subprocess.run([sys.executable, "-c", statement], cwd=ROOT, check=True)
    return perf_counter() - start
