"""TypeScript finds every board to be what Grafana's own schema says a dashboard is."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dashboards.render import boards
from tests.dashboards.linter import WITHOUT_QUERY, panels

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
SOURCES = ("package.json", "package-lock.json", ".npmrc", "board_types.ts")
TSCONFIG = {
    "compilerOptions": {
        "strict": True,
        "noEmit": True,
        "module": "esnext",
        "moduleResolution": "bundler",
        "target": "es2022",
        "skipLibCheck": True,
        "types": [],
    },
    "include": ["*.ts"],
}


@pytest.fixture(scope="module")
def compiler(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the compiler and Grafana's schema, at the pinned versions."""
    for tool in ("node", "npm"):
        assert shutil.which(tool), f"{tool} is needed: apt-get install nodejs npm"
    folder = tmp_path_factory.mktemp("types")
    for name in SOURCES:
        shutil.copyfile(HERE / name, folder / name)
    ran = subprocess.run(
        ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    (folder / "tsconfig.json").write_text(json.dumps(TSCONFIG))
    return folder


def typescript(board: dict[str, Any]) -> str:
    """Return a program that assigns a board, and the options of its panels, to their types."""
    lines = [
        'import type { Board, Panels } from "./board_types";',
        f"export const board: Board = {json.dumps(board, indent=1)};",
    ]
    for panel in panels(board):
        if panel["type"] in WITHOUT_QUERY:
            continue  # Grafana publishes no types for the options of these
        custom = panel["fieldConfig"]["defaults"].get("custom")
        looks = {"options": panel.get("options", {})} | ({"custom": custom} if custom else {})
        lines.append(
            f'export const panel{panel["id"]}: Panels["{panel["type"]}"] = '
            f"{json.dumps(looks, indent=1)};"
        )
    return "\n".join(lines) + "\n"


def errors(compiler: Path, programs: dict[str, dict[str, Any]]) -> list[str]:
    """Return what the compiler says of boards, by the name of the program."""
    for old in compiler.glob("case_*.ts"):
        old.unlink()
    for name, board in programs.items():
        (compiler / f"case_{name}.ts").write_text(typescript(board), encoding="utf-8")
    ran = subprocess.run(
        ["node", "node_modules/typescript/bin/tsc", "-p", ".", "--pretty", "false"],
        cwd=compiler,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    found = [line for line in ran.stdout.splitlines() if " error " in line]
    assert ran.returncode == (2 if found else 0), ran.stdout + ran.stderr
    return found


def spoiled(change: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    board = copy.deepcopy(dict(next(boards()).content))
    change(board)
    return board


def lines_of(board: dict[str, Any]) -> dict[str, Any]:
    return next(p for p in panels(board) if p["type"] == "timeseries")


BREACHES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "unknown_field": lambda b: b.update(descripton="x"),
    "wrong_type": lambda b: b.update(tags="samescore"),
    "wrong_tooltip": lambda b: b.update(graphTooltip=7),
    "panel_field": lambda b: lines_of(b).update(tittle="x"),
    "variable_type": lambda b: b["templating"]["list"][0].update(type="source"),
    "threshold_mode": lambda b: lines_of(b)["fieldConfig"]["defaults"].update(
        thresholds={"mode": "relative", "steps": []}
    ),
    "panel_option": lambda b: lines_of(b)["options"]["legend"].update(placement="left"),
    "panel_custom": lambda b: lines_of(b)["fieldConfig"]["defaults"]["custom"].update(fill=3),
}


def test_every_board_is_of_grafanas_types(compiler: Path) -> None:
    built = {b.uid.replace("-", "_"): dict(b.content) for b in boards()}
    assert errors(compiler, built) == []


def test_the_compiler_sees_each_breach(compiler: Path) -> None:
    found = errors(compiler, {name: spoiled(change) for name, change in BREACHES.items()})
    assert {line.split("(")[0] for line in found} == {f"case_{name}.ts" for name in BREACHES}
