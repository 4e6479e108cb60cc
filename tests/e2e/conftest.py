from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.made_once import made_once

FLIGHTS = Path(__file__).parents[2] / "examples" / "flights"


def train(folder: Path) -> None:
    command = [sys.executable, FLIGHTS / "train.py", "--out", folder, "--small", "--more"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def flights_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All seven models of the flights example, trained in small; a base folder to serve."""
    return made_once(tmp_path_factory, "flights_models", train)
