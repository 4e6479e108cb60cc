from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from benchmarks.budgets import MEASURED
from benchmarks.workload import ROOT

# It takes a minute with nothing else running; more than this means that it hangs.
LIMIT_SECONDS = 600


def bench(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *map(str, arguments)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            output, errors = process.communicate(timeout=LIMIT_SECONDS)
        finally:
            process.terminate()  # not kill: it stops the servers that it started
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    done = bench("--only", "serving.vibes")
    assert done.returncode == 2
    assert "serving.added_p50_us" in done.stderr


@pytest.mark.slow
def test_a_quick_run_measures_every_name(tmp_path: Path) -> None:
    # Models first, and one name only: what trains is not what is to be quick.
    trained = bench("--quick", "--only", "pipeline", "--out", tmp_path)
    assert trained.returncode == 0, trained.stderr
    only = orjson.loads((tmp_path / "results.json").read_bytes())
    assert [r["name"] for r in only] == [n for n in MEASURED if n.startswith("pipeline.")]

    done = bench("--quick", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    results = orjson.loads((tmp_path / "results.json").read_bytes())
    assert [r["name"] for r in results] == list(MEASURED)
    assert all(r["spread"][0] <= r["value"] <= r["spread"][1] for r in results)
    assert all((r["budget"] is None) == (r["within_budget"] is None) for r in results)
    assert all(r["name"] in done.stdout for r in results)
    assert "training" not in done.stderr
    assert not (tmp_path / "scratch").exists()
