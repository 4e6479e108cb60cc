"""Real text that every machine with the pinned packages has: the docstrings of numpy and scipy.

They are read from the packages' source files, and no code of theirs is run.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path
from typing import Final

SOURCES: Final = ("numpy", "scipy")
"""The label of a text is its place here."""

SHORTEST: Final = 60
LONGEST: Final = 600
HELD_OUT: Final = 0.2


@dataclass(frozen=True, slots=True)
class Document:
    """One docstring.

    Attributes:
        text: its first characters, as written.
        label: 0 numpy, 1 scipy.
        held_out: whether its file belongs to the part that training does not see.
    """

    text: str
    label: int
    held_out: bool


def documents() -> list[Document]:
    """Return every docstring of both packages, tests left out, in the order of files and lines."""
    return [
        Document(text, label, _held_out(path.name))
        for label, name in enumerate(SOURCES)
        for path in _files(name)
        for text in _docstrings(path)
    ]


def _files(package: str) -> Iterator[Path]:
    held = distribution(package)
    names = [str(name) for name in held.files or () if str(name).endswith(".py")]
    for name in sorted(names):
        if name.startswith(package + "/") and "/tests/" not in name:
            yield Path(str(held.locate_file(name)))


def _docstrings(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.Module)):
            text = ast.get_docstring(node)
            if text and len(text) >= SHORTEST:
                yield text[:LONGEST]


def _held_out(file: str) -> bool:
    """Decide by file, or texts that repeat each other would stand on both sides."""
    return hashlib.sha256(file.encode()).digest()[0] < 256 * HELD_OUT
