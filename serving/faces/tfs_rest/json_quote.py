"""The JSON values that error messages quote: in upstream's layout, cut a little past 256 bytes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np

from serving.faces.tfs_rest.json_read import JsonObject, JsonValue
from serving.faces.tfs_rest.json_write import decimals, quote

_LIMIT_BYTES: Final = 256  # once so much is written, the rest is left out
_MAX_FLOAT: Final = 3.4028234e38
_MAX_POINT: Final = 21  # digits before the point, beyond which an exponent is written
_MIN_POINT: Final = -6


def quoted_value(value: JsonValue) -> str:
    """Return a value for an error message; bytes that are not UTF-8 as surrogate escapes."""
    return b"".join(_cut(value)).decode("utf-8", "surrogateescape")


def type_name(value: JsonValue) -> str:
    """Return what upstream calls the type of a value."""
    if value is None:
        return "Null"
    if isinstance(value, bool):
        return "True" if value else "False"
    if isinstance(value, bytes):
        return "String"
    if isinstance(value, list):
        return "Array"
    return "Object" if isinstance(value, JsonObject) else "Number"


def _cut(value: JsonValue) -> Iterator[bytes]:
    """Yield the pieces until enough is written, or until a number that upstream cannot write."""
    if isinstance(value, float):
        yield _single(value)
        return
    written = 0
    for piece in _pieces(value):
        yield piece
        written += len(piece)
        if written >= _LIMIT_BYTES:
            return


def _pieces(value: JsonValue) -> Iterator[bytes]:
    """Yield a value piece by piece: a name, a scalar or a bracket, each with what precedes it."""
    stack: list[tuple[Iterator[_Item], bytes]] = []
    items: Iterator[_Item] = iter([_Item(b"", b"", value)])
    closing = b""
    while True:
        for name, prefix, item in items:
            if name:
                yield name
            if isinstance(item, float) and not math.isfinite(item):
                yield prefix
                return
            if not isinstance(item, list | JsonObject):
                yield prefix + _scalar(item)
                continue
            yield prefix + (b"[" if isinstance(item, list) else b"{")
            stack.append((items, closing))
            items, closing = _children(item, len(stack))
            break
        else:
            yield closing
            if not stack:
                return
            items, closing = stack.pop()


class _Item(NamedTuple):
    """A value in a container: its name with the layout before it, what follows that, itself."""

    name: bytes
    prefix: bytes
    value: JsonValue


def _children(container: list[JsonValue] | JsonObject, level: int) -> tuple[Iterator[_Item], bytes]:
    """Return the items of a container and its end; `level` counts the container itself."""
    if isinstance(container, list):
        return (_Item(b"", b", " if n else b"", v) for n, v in enumerate(container)), b"]"
    inside = b"\n" + b"    " * level
    members = enumerate(zip(container.names, container.values, strict=False))
    items = (_Item((b"," if n else b"") + inside + quote(k), b": ", v) for n, (k, v) in members)
    return items, (b"\n" + b"    " * (level - 1) + b"}" if container.names else b"}")


def _single(value: float) -> bytes:
    """Return a number that is the whole value: as float32 if it fits one."""
    kind = np.float32 if abs(value) <= _MAX_FLOAT else np.float64
    return decimals(np.array([value], dtype=kind))[0]


def _scalar(value: bool | float | bytes | None) -> bytes:
    if value is None:
        return b"null"
    if isinstance(value, bool):
        return b"true" if value else b"false"
    if isinstance(value, bytes):
        return quote(value)
    return b"%d" % value if isinstance(value, int) else _shortest(value)


def _shortest(value: float) -> bytes:
    """Return the shortest text of a finite number, with a point or an exponent as upstream sets it.

    >>> _shortest(1e21), _shortest(1.5e-7), _shortest(100.0)
    (b'1e21', b'1.5e-7', b'100.0')
    """
    if value == 0:
        return b"-0.0" if math.copysign(1, value) < 0 else b"0.0"
    sign = "-" if value < 0 else ""
    mantissa, _, power = f"{abs(value)!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    raw = whole + fraction
    digits = raw.strip("0")
    point = len(whole) - (len(raw) - len(raw.lstrip("0"))) + int(power or 0)
    if len(digits) <= point <= _MAX_POINT:
        text = digits.ljust(point, "0") + ".0"
    elif 0 < point <= _MAX_POINT:
        text = digits[:point] + "." + digits[point:]
    elif _MIN_POINT < point <= 0:
        text = "0." + "0" * -point + digits
    else:
        tail = "." + digits[1:] if len(digits) > 1 else ""
        text = f"{digits[0]}{tail}e{point - 1}"
    return (sign + text).encode()
