from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.made_models import onnx_network

pytestmark = pytest.mark.slow  # importing onnxruntime takes a moment

ROOT = Path(__file__).parents[4]
LOAD = """
import sys
from pathlib import Path
from serving.loaders import load_scorer
load_scorer("onnx", Path(sys.argv[1]))
"""


def test_a_model_is_loaded_without_telemetry(tmp_path: Path) -> None:
    """With it the runtime leaves a session file and an id of the machine behind."""
    model, home = tmp_path / "model", tmp_path / "home"
    model.mkdir()
    home.mkdir()
    (model / "model.onnx").write_bytes(onnx_network())
    # These two keep the runtime quiet by themselves.
    environment = {k: v for k, v in os.environ.items() if k not in ("ORT_DISABLE_TELEMETRY", "CI")}
    for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"):
        environment[name] = str(home)
    command = [sys.executable, "-c", LOAD, str(model)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert [p.name for p in home.rglob("*")] == []
