"""Fitted state: what training computed and serving must hold to the last bit."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator, Mapping
from typing import Any, Final, Self

import numpy as np
import orjson

from consistency.digest import digest_bytes
from consistency.errors import ConfigError

_NONFINITE: Final = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class FittedState(Mapping[str, Any]):  # Any: what the pipeline's author stored
    """Named values (numbers, strings, lists, dicts, numpy arrays), stored exactly.

    Floats are written as their shortest round-trip text, non-finite ones by name, arrays as raw
    little-endian bytes with dtype and shape: what is read back is equal bit for bit.

    >>> state = FittedState({"mean": 0.1, "routes": {"JFK-LAX": 3}})
    >>> FittedState.from_bytes(state.to_bytes()).digest == state.digest
    True
    """

    __slots__ = ("_values", "digest")

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)
        self.digest = digest_bytes(self.to_bytes())

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def to_bytes(self) -> bytes:
        """Return the canonical JSON text of the state."""
        return orjson.dumps(_encode(self._values, "state"), option=orjson.OPT_SORT_KEYS)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` wrote."""
        return cls(_decode(orjson.loads(data)))


def _encode(value: Any, where: str) -> Any:
    match value:
        case np.ndarray():
            return _encode_array(value, where)
        case float() if not math.isfinite(value):
            return {"$float": "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")}
        case np.generic():
            return _encode(value.item(), where)
        case bool() | int() | float() | str() | None:
            return value
        case list() | tuple():
            return [_encode(v, f"{where}[{i}]") for i, v in enumerate(value)]
        case Mapping() if all(isinstance(k, str) and not k.startswith("$") for k in value):
            return {k: _encode(v, f"{where}.{k}") for k, v in value.items()}
    raise ConfigError(
        f"{where} holds a {type(value).__name__}; fitted state takes numbers, strings, lists, "
        f"dicts with string keys (not starting with $) and numpy arrays of numbers"
    )


def _encode_array(value: np.ndarray[Any, Any], where: str) -> dict[str, Any]:
    if value.dtype.kind not in "biuf":
        raise ConfigError(f"{where} is an array of {value.dtype}; store a list of strings instead")
    little = np.ascontiguousarray(value.astype(value.dtype.newbyteorder("<"), copy=False))
    return {
        "$array": base64.b64encode(little.tobytes()).decode(),
        "dtype": little.dtype.str,
        "shape": list(value.shape),
    }


def _decode(value: Any) -> Any:
    match value:
        case {"$float": name}:
            return _NONFINITE[name]
        case {"$array": data, "dtype": dtype, "shape": shape}:
            return np.frombuffer(base64.b64decode(data), dtype).reshape(shape)
        case dict():
            return {k: _decode(v) for k, v in value.items()}
        case list():
            return [_decode(v) for v in value]
    return value
