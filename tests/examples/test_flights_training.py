"""The flights example: its measures, and its training run in small."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from consistency.snapshots import SnapshotStore

EXAMPLE = Path(__file__).parents[2] / "examples" / "flights"


@pytest.fixture(scope="module")
def measures() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLE)
        import flights_measures

        yield flights_measures


def test_auc_counts_pairs_and_halves_ties(measures: ModuleType) -> None:
    rng = np.random.default_rng(3)
    score = rng.integers(0, 20, 300) / 20
    late = (rng.random(300) < 0.3).astype(np.float64)
    above = score[late == 1.0][:, None] - score[late == 0.0][None, :]
    by_pairs = ((above > 0) + 0.5 * (above == 0)).mean()
    assert measures.auc(score, late) == pytest.approx(by_pairs, abs=1e-12)


def test_platt_scaling_finds_the_distortion_again(measures: ModuleType) -> None:
    rng = np.random.default_rng(4)
    logit = rng.normal(0.0, 1.5, 200_000)
    late = (rng.random(200_000) < 1 / (1 + np.exp(-(0.7 * logit - 0.4)))).astype(np.float64)
    raw = 1 / (1 + np.exp(-logit))
    platt = measures.fit_platt(raw, late)
    assert platt.slope == pytest.approx(0.7, abs=0.03)
    assert platt.intercept == pytest.approx(-0.4, abs=0.03)
    assert measures.log_loss(platt(raw), late) < measures.log_loss(raw, late)


@pytest.mark.slow
def test_small_training_bundles_four_models(tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLE / "train.py"), "--out", str(tmp_path), "--small"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    manifests = {
        p.parts[-4]: json.loads(p.read_text()) for p in tmp_path.glob("*/1/samescore/manifest.json")
    }
    assert {name: m["execution"] for name, m in manifests.items()} == {
        "xgboost": "as_is",
        "lightgbm": "as_is",
        "keras_float32": "as_is",
        "keras_float64": "float64",
    }
    for manifest in manifests.values():
        assert 0.55 < manifest["metrics"]["auc"] < 0.85
    assert SnapshotStore(tmp_path / ".snapshots").current("weather") is not None


@pytest.mark.slow
def test_a_useless_number_of_rows_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLE / "train.py"), "--out", str(tmp_path), "--rows", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--rows is 0" in done.stderr
