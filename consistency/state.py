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
from consistency.jsontype import Json

_NONFINITE: Final = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class FittedState(Mapping[str, Json]):
    """Named values (numbers, strings, lists, dicts, numpy arrays), stored exactly.

    Floats are written as their shortest round-trip text, non-finite ones by name, arrays as raw
    little-endian bytes with dtype and shape: what is read back is equal bit for bit.

    The state holds its values as they will be read back, from the beginning: tuples are lists, the
    keys of dicts are in order, arrays are contiguous and read-only. Otherwise training could see an
    order or a memory layout that serving never sees.

    >>> state = FittedState({"mean": 0.1, "routes": {"JFK-LAX": 3}})
    >>> FittedState.from_bytes(state.to_bytes()).digest == state.digest
    True
    """

    __slots__ = ("_values", "digest")

    def __init__(self, values: Mapping[str, Json]) -> None:
        text = _canonical(values)
        self._values: dict[str, Json] = _decode(orjson.loads(text))
        self.digest = digest_bytes(text)

    def __getitem__(self, name: str) -> Json:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def to_bytes(self) -> bytes:
        """Return the canonical JSON text of the state."""
        return _canonical(self._values)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` wrote.

        Raises:
            ConfigError: it is something else, or damaged.
        """
        try:
            values = _decode(orjson.loads(data))
        except (ValueError, KeyError, TypeError) as e:
            raise ConfigError(f"not a fitted state: {e!r}; write it with to_bytes") from e
        if not isinstance(values, dict):
            raise ConfigError("not a fitted state: it is no JSON object; write it with to_bytes")
        return cls(values)


def _canonical(values: Mapping[str, Json]) -> bytes:
    try:
        return orjson.dumps(_encode(values, "state"), option=orjson.OPT_SORT_KEYS)
    except TypeError as e:  # an integer beyond 64 bits, half of a surrogate pair
        raise ConfigError(f"the fitted state cannot be stored exactly: {e}") from e


def _encode(value: Json, where: str) -> Json:
    match value:
        case np.ndarray():
            return _encode_array(value, where)
        case float() if not math.isfinite(value):
            return {"$float": "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")}
        case np.str_() | np.bool_():
            return value.item()
        case np.number() if _is_exact(value.dtype):
            return _encode(value.item(), where)
        case bool() | int() | float() | str() | None:
            return value
        case list() | tuple():
            return [_encode(v, f"{where}[{i}]") for i, v in enumerate(value)]
        case Mapping() if all(isinstance(k, str) and not k.startswith("$") for k in value):
            return {str(k): _encode(v, f"{where}.{k}") for k, v in value.items()}
    raise ConfigError(
        f"{where} holds a {type(value).__name__}; fitted state takes numbers, strings, lists, "
        f"dicts with string keys (not starting with $) and numpy arrays of numbers"
    )


def _is_exact(dtype: np.dtype[Any]) -> bool:
    """Whether a dtype means the same everywhere: a long double has other bits on other machines."""
    return dtype.kind in "biuf" and dtype.itemsize <= 8


def _encode_array(value: np.ndarray[Any, Any], where: str) -> dict[str, Json]:
    if not _is_exact(value.dtype):
        raise ConfigError(
            f"{where} is an array of {value.dtype}; store float64, integers or a list"
        )
    little = np.ascontiguousarray(value.astype(value.dtype.newbyteorder("<"), copy=False))
    return {
        "$array": base64.b64encode(little.tobytes()).decode(),
        "dtype": little.dtype.str,
        "shape": list(value.shape),
    }


def _decode(value: Json) -> Json:
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
