from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FLIGHTS = Path(__file__).parents[2] / "examples" / "flights"


@pytest.fixture(scope="session")
def flights_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All seven models of the flights example, trained in small; a base folder to serve."""
    out = tmp_path_factory.mktemp("flights") / "models"
    command = [sys.executable, str(FLIGHTS / "train.py"), "--out", str(out), "--small", "--more"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out
