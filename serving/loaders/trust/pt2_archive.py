"""Looks through a torch exported program before torch reads it.

`torch.export.load` reads more than tensors: it falls back to full unpickling for sample inputs and
for constants that say so, evaluates the texts of symbolic shapes and guards as Python, looks up
operators by dotted name, and opens compiled libraries. A plain exported model needs none of that.
So every member of the archive and every text in it is checked against what a plain model holds, and
the first other thing is named. What passes holds tensors, ATen operators and shape arithmetic.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Final

from consistency.jsontype import Json

_MEMBERS: Final = re.compile(
    r"models/\w+\.json|data/sample_inputs/\w+\.pt|archive_format|archive_version|byteorder|version"
    r"|data/(weights|constants)/(\w+_(weights|constants)_config\.json|weight_\d+|tensor_\d+)"
    r"|\.data/\w+|\.format_version|\.storage_alignment"
)
_OPERATORS: Final = re.compile(
    r"torch\.ops\.(aten|prims)\.\w+(\.\w+)?|_operator\.(add|sub|mul|floordiv|mod|neg|eq|ne|lt|le|gt"
    r"|ge|getitem|pow|truediv|and_|or_)|torch\.sym_(int|float|max|min|not|sum)"
    r"|math\.(ceil|floor|trunc)"
)
_PLAIN: Final = re.compile(r"[\w.,:+<>/ -]*")
_SYMBOL: Final = re.compile(
    r"Symbol\('[a-z]+\d+'(, (positive|nonnegative|integer|nonzero)=(True|False))*\)"
)
_ARITHMETIC: Final = re.compile(
    r"(?:[\s\d+\-*/(),<>=.]|(?<![\w.])(?:Integer|Rational|Add|Mul|Pow|Mod|PythonMod|Max|Min"
    r"|FloorDiv|CleanDiv|CeilToInt|FloorToInt|Equality|Unequality|StrictLessThan|LessThan"
    r"|StrictGreaterThan|GreaterThan|evaluate|[su]\d+|and|or|not|True|False|oo|int_oo)(?![\w.]))*"
)
_GUARDED: Final = re.compile(
    r"L\['\w+'\](\[\d+\])*(\.(size|stride)\(\)\[\d+\]|\.storage_offset\(\))"
)
_CONTAINERS: Final = frozenset({None, "builtins.tuple", "builtins.list", "builtins.dict"})
_UNREAD: Final = frozenset({"metadata", "verifiers"})
"""Stack traces and module names for people; torch only shows them."""


def find_surprise(data: bytes) -> str:
    """Return what in an archive a plain exported model does not hold; empty for a plain one.

    Raises:
        zipfile.BadZipFile, ValueError, KeyError: it is no such archive, or damaged.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return next(_surprises(archive), "")


def _surprises(archive: zipfile.ZipFile) -> Iterator[str]:
    names = archive.namelist()
    inner = [PurePosixPath(*PurePosixPath(name).parts[1:]).as_posix() for name in names]
    if len(set(inner)) != len(inner):
        yield "two members of one name"
    yield from (f"member {name}" for name in inner if not _MEMBERS.fullmatch(name))
    if sum(name.startswith("models/") for name in inner) != 1:
        yield "another number of models than one"
    for name, short in zip(names, inner, strict=True):
        if short.endswith("_config.json"):
            yield from _payloads(short, json.loads(archive.read(name)))
        elif short.endswith(".json"):
            yield from _texts("", json.loads(archive.read(name)))
        elif short.endswith(".pt"):
            yield from _samples(short, archive.read(name))


def _payloads(name: str, config: Json) -> Iterator[str]:
    for tensor, meta in config["config"].items():
        if meta["use_pickle"]:
            yield f"the pickled tensor {tensor} in {name}"
        if not re.fullmatch(r"(weight|tensor)_\d+", meta["path_name"]):
            yield f"the object {tensor} in {name}"


def _samples(name: str, data: bytes) -> Iterator[str]:
    """Unpickle sample inputs as torch does at first: tensors and plain containers only."""
    import torch

    try:
        torch.load(io.BytesIO(data), weights_only=True)
    except Exception as error:  # noqa: BLE001 torch raises what its parser meets
        yield f"objects other than tensors in {name} ({type(error).__name__})"


def _texts(key: str, value: Json) -> Iterator[str]:
    """Check every text of the program by the key that it stands under."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if not _PLAIN.fullmatch(name):
                yield f"the key {name!r}"
            if name not in _UNREAD:
                yield from _texts(name, inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(key, inner)
    elif isinstance(value, str) and not _is_plain(key, value):
        yield f"{key} {value[:200]!r}"


def _is_plain(key: str, text: str) -> bool:
    match key:
        case "target":
            return _OPERATORS.fullmatch(text) is not None
        case "expr_str":
            return _ARITHMETIC.fullmatch(_SYMBOL.sub("1", text)) is not None
        case "guards_code":
            return _ARITHMETIC.fullmatch(_GUARDED.sub("1", text)) is not None
        case "in_spec" | "out_spec":
            return not text or _is_plain_tree(json.loads(text)[1])
    return _PLAIN.fullmatch(text) is not None


def _is_plain_tree(spec: Json) -> bool:
    return spec["type"] in _CONTAINERS and all(map(_is_plain_tree, spec["children_spec"]))
