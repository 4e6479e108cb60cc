"""`import consistency` stays cheap: nothing heavy comes along, from its front door or behind it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

# Libraries that no module of consistency may load at import …
FOREIGN = (
    "jinja2",
    "keras",
    "lightgbm",
    "matplotlib",
    "pandas",
    "prometheus_client",
    "scipy",
    "sklearn",
    "starlette",
    "tensorflow",
    "torch",
    "uvicorn",
    "xgboost",
)
# … and parts of pyarrow that are only wanted when a file is read.
COSTLY_PARTS = ("pyarrow.dataset", "pyarrow.pandas_compat")

EVERY_MODULE = """
import importlib, pkgutil, consistency
for module in pkgutil.walk_packages(consistency.__path__, "consistency."):
    importlib.import_module(module.name)
"""


def loaded_by(statements: str) -> set[str]:
    """Return the names of all modules that `statements` load in a fresh interpreter."""
    program = f"{statements}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr
    return set(json.loads(result.stdout))


@pytest.fixture(scope="module")
def loaded_by_consistency() -> set[str]:
    return loaded_by("import consistency")


@pytest.fixture(scope="module")
def loaded_by_every_module() -> set[str]:
    return loaded_by(EVERY_MODULE)


def test_the_probe_sees_what_is_loaded(loaded_by_every_module: set[str]) -> None:
    assert "wave" in loaded_by("import wave")
    assert {"consistency", "consistency.compare"} <= loaded_by_every_module


@pytest.mark.parametrize("module", FOREIGN + COSTLY_PARTS)
def test_importing_consistency_does_not_load(module: str, loaded_by_consistency: set[str]) -> None:
    assert module not in loaded_by_consistency


@pytest.mark.parametrize("module", FOREIGN)
def test_no_module_of_consistency_loads(module: str, loaded_by_every_module: set[str]) -> None:
    assert module not in loaded_by_every_module
