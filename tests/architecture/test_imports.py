"""The arrows of the house hold, and the linter that says so sees every kind of breach."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("consistency", "monitors", "serving", "dashboards", "samescore")


@dataclass(frozen=True, slots=True)
class Breach:
    """One forbidden import: the package it is planted in, and the contract it breaks."""

    importer: str
    imported: str
    contract: str


ARROWS = "samescore > serving | dashboards > monitors > consistency"
BREACHES = (
    Breach("consistency", "serving", ARROWS),
    Breach("consistency", "monitors", ARROWS),
    Breach("monitors", "samescore", ARROWS),
    Breach("serving", "samescore", ARROWS),
    Breach("serving", "dashboards", ARROWS),
    Breach("serving", "monitors", "serving and monitors never import each other"),
    Breach("monitors", "serving", "serving and monitors never import each other"),
    Breach("dashboards", "monitors.psi", "dashboards imports monitors.metrics and nothing else"),
    Breach("dashboards", "consistency", "dashboards imports monitors.metrics and nothing else"),
    Breach("consistency", "pandas", "consistency imports no model library, no pandas"),
    Breach("consistency", "starlette", "consistency imports no model library, no pandas"),
)


def lint_imports(tree: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter in `tree`, on the packages that stand there and on no installed ones."""
    command = "from importlinter.cli import lint_imports_command as run; run()"
    return subprocess.run(
        [sys.executable, "-c", command, "--no-cache", "--no-logo"],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree), "COLUMNS": "300", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """Copy the five packages and the contracts to a place where a test may break them."""
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def plant(house: Path, importer: str, line: str) -> str:
    """Add a module with `line` inside a function of package `importer`; return its name."""
    (house / importer / "planted.py").write_text(f"def breach() -> None:\n    {line}\n")
    return f"{importer}.planted"


def test_the_house_keeps_its_contracts() -> None:
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr
    assert " 0 broken" in result.stdout


@pytest.mark.parametrize("breach", BREACHES, ids=lambda b: f"{b.importer}-imports-{b.imported}")
def test_a_planted_breach_is_seen_and_named(house: Path, breach: Breach) -> None:
    planted = plant(house, breach.importer, f"import {breach.imported}")

    result = lint_imports(house)

    assert result.returncode == 1, result.stdout + result.stderr
    broken = [line for line in result.stdout.splitlines() if " BROKEN" in line]
    assert any(breach.contract in line for line in broken), result.stdout
    assert f"{planted} -> {breach.imported}" in result.stdout


@pytest.mark.parametrize(
    ("importer", "line"),
    [
        ("dashboards", "import monitors.metrics"),
        ("dashboards", "from monitors import metrics"),
        ("serving", "import consistency"),
        ("monitors", "import consistency"),
        ("samescore", "import dashboards, monitors.metrics, pandas, serving"),
    ],
)
def test_an_allowed_import_stays_allowed(house: Path, importer: str, line: str) -> None:
    plant(house, importer, line)
    result = lint_imports(house)
    assert result.returncode == 0, result.stdout + result.stderr
