"""Sizes and names of the house: what a linter has no rule for."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("consistency", "monitors", "serving", "dashboards", "samescore")
MOST_MODULE_LINES = 400
MOST_FUNCTION_LINES = 40
# A name that says nothing collects everything.
EMPTY_NAMES = frozenset({"util", "utils", "helper", "helpers", "common"})
LEFT_UNDONE = re.compile(r"\b(TODO|FIXME)\b")

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


def modules() -> list[Path]:
    """List every module of the five packages."""
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def functions(source: str) -> Iterator[FunctionNode]:
    """Yield every function and method of a module, nested ones too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, FunctionNode):
            yield node


def function_lines(node: FunctionNode) -> int:
    """Count the lines of a function from its `def` to its end, without those of its docstring."""
    lines = _span(node)
    if ast.get_docstring(node, clean=False) is not None:
        lines -= _span(node.body[0])
    return lines


def _span(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def too_long(source: str) -> list[str]:
    """Name the functions of a module that are longer than the house allows."""
    return [
        f"{node.name} (line {node.lineno}): {function_lines(node)} lines"
        for node in functions(source)
        if function_lines(node) > MOST_FUNCTION_LINES
    ]


def empty_names(path: Path) -> set[str]:
    """Return those parts of a module's path that say nothing."""
    return {part.strip("_") for part in path.with_suffix("").parts} & EMPTY_NAMES


def test_there_are_modules_to_look_at() -> None:
    seen = {path.relative_to(ROOT).parts[0] for path in modules()}
    assert seen == set(PACKAGES)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_is_short_well_named_and_finished(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= MOST_MODULE_LINES
    assert too_long(source) == []
    assert empty_names(path.relative_to(ROOT)) == set()
    assert LEFT_UNDONE.search(source) is None


def test_a_function_is_measured_without_its_docstring() -> None:
    body = "    x = 1\n" * (MOST_FUNCTION_LINES - 1)
    docstring = '    """One.\n\n    Two.\n    """\n'
    assert too_long(f"def f():\n{docstring}{body}") == []
    assert too_long(f"def f():\n{docstring}{body}    x = 2\n") == ["f (line 1): 41 lines"]


def test_a_method_and_a_coroutine_are_measured() -> None:
    body = "        x = 1\n" * MOST_FUNCTION_LINES
    assert len(too_long(f"class C:\n    def f(self):\n{body}")) == 1
    assert len(too_long(f"class C:\n    async def f(self):\n{body}")) == 1


@pytest.mark.parametrize("name", ["utils.py", "common/paths.py", "_helpers.py"])
def test_an_empty_name_is_seen(name: str) -> None:
    assert empty_names(Path("serving") / name)


def test_a_name_may_contain_an_empty_word() -> None:
    assert not empty_names(Path("serving/commonality.py"))


def test_unfinished_work_is_seen() -> None:
    assert LEFT_UNDONE.search("x = 1  # TODO: later")
