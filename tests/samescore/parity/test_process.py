from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from consistency.bundle import open_bundle
from samescore.parity.process import clean_environment, run_cell
from samescore.parity.rows import gather
from samescore.parity.spec import CellAnswer, CellSpec, read_scores
from tests.fixtures.tiny import Tiny

MIB = 2**20


def spec(tiny: Tiny, folder: Path, **changes: object) -> CellSpec:
    folder.mkdir()
    rows = gather(open_bundle(tiny.bundle), None, None, 1)
    rows.write(folder / "rows.parquet")
    values: dict[str, object] = {
        "bundle": tiny.bundle,
        "model_format": "xgboost",
        "model": tiny.bundle,
        "rows": folder / "rows.parquet",
        "copies": 2,
        "execution": "as_is",
        "batch": 7,
        "threads": 1,
        "device": "cpu",
        "onednn": True,
        "timing_seconds": 0.01,
        "memory_bytes": 0,
        "folder": folder,
    }
    return CellSpec(**(values | changes))  # type: ignore[arg-type]


def test_a_cell_scores_what_this_process_scores(tiny: Tiny, tmp_path: Path) -> None:
    answer = run_cell(spec(tiny, tmp_path / "cell"), {}, 60.0)
    assert answer.error == ""
    assert answer.seconds_per_row > 0
    assert answer.dtype == "float32"
    golden = open_bundle(tiny.bundle).golden().scores
    scores = read_scores(tmp_path / "cell")
    assert scores.shape == (80,)
    assert np.array_equal(scores[:40], golden)


def test_a_cell_that_takes_too_long_is_ended(tiny: Tiny, tmp_path: Path) -> None:
    answer = run_cell(spec(tiny, tmp_path / "cell"), {}, 0.05)
    assert answer.error == "no answer within 0.05 s"


def test_a_cell_that_needs_too_much_memory_fails_with_a_reason(tiny: Tiny, tmp_path: Path) -> None:
    answer = run_cell(spec(tiny, tmp_path / "cell", memory_bytes=8 * MIB), {}, 60.0)
    assert answer.error
    assert not answer.refused


def test_a_cell_that_is_killed_says_by_what(tiny: Tiny, tmp_path: Path) -> None:
    # OMP_WAIT_POLICY and the like pass; a preloaded library that cannot be read does not matter,
    # so the process is made to end itself by the one switch that Python itself heeds.
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    answer = run_cell(spec(tiny, tmp_path / "cell"), {"PYTHONPATH": str(site)}, 60.0)
    assert answer.error.startswith("killed by SIGKILL")


def test_a_device_that_the_model_cannot_use_is_a_refusal(tiny: Tiny, tmp_path: Path) -> None:
    answer = run_cell(spec(tiny, tmp_path / "cell", device="cuda:99"), {}, 60.0)
    assert answer.error
    assert answer.refused


def test_the_environment_is_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    environment = clean_environment(2, "cpu")
    assert "ATEN_CPU_CAPABILITY" not in environment
    assert environment["OMP_NUM_THREADS"] == "2"
    assert "CUBLAS_WORKSPACE_CONFIG" not in environment
    assert clean_environment(1, "cuda")["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


def test_a_spec_and_an_answer_survive_their_files(tiny: Tiny, tmp_path: Path) -> None:
    made = spec(tiny, tmp_path / "cell", trust_types=("a.B",), allow_pickle=True)
    assert CellSpec.from_bytes(made.to_bytes()) == made
    assert made.trust.types == {"a.B"}
    answer = CellAnswer(error="why", refused=True, facts={"numpy": "X"})
    answer.write(tmp_path / "cell")
    assert CellAnswer.read(tmp_path / "cell") == answer
    assert CellAnswer.read(tmp_path) is None
