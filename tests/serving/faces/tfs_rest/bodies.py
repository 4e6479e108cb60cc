"""Bodies as clients send them, and as only a fuzzer does."""

from __future__ import annotations

import random
from typing import Final

_TOKENS: Final = (
    *'[]{},:"\\ \n',
    "null",
    "true",
    "false",
    "nul",
    "NaN",
    "-NaN",
    "Infinity",
    "-Inf",
    "NaInf",
    "0",
    "-0",
    "1",
    "-1",
    "1.",
    "01",
    "1.5",
    "-2.25e3",
    "1e309",
    "1e-400",
    "9223372036854775808",
    "18446744073709551616",
    "0.30000000000000004",
    '"a"',
    '"\\u00e9"',
    '"\\ud800"',
    '"\\x"',
    '"b64"',
    '"instances"',
    '"inputs"',
    '"examples"',
    '"context"',
    '"signature_name"',
    '"serving_default"',
    '"x"',
    '{"b64": "aGk="}',
    '{"b64": "*"}',
    '{"x": 1.0}',
    '"instances": [',
    '"instances": [[1.0, 2.0]]',
    '"examples": [{"x": 1.0}]',
    "\x00",
    "\xff",
    "[" * 40,
    "]" * 40,
)

_SEEDS: Final = (
    '{"instances": [1.0, 2.0, 5.0]}',
    '{"instances": [[1.0, 2.0], [3.0, 4.0]]}',
    '{"signature_name": "serving_default", "inputs": {"x": [1.0, -2.5e-3]}}',
    '{"instances": [{"x": 1.0}, {"x": 2.0}]}',
    '{"inputs": [NaN, Infinity, -Infinity]}',
    '{"signature_name": "regress_x_to_y", "examples": [{"x": 80.0}, {}]}',
    '{"signature_name": "classify_x_to_y", "context": {"x": 1.0}, "examples": [{}]}',
)


def strange_body(rng: random.Random) -> bytes:
    """Return a body that is nearly JSON, or not at all."""
    kind = rng.random()
    if kind < 0.1:
        return rng.randbytes(rng.randrange(40))
    if kind < 0.5:
        return "".join(rng.choices(_TOKENS, k=rng.randrange(1, 14))).encode("latin-1")
    return _damaged(rng, bytearray(rng.choice(_SEEDS).encode()))


def _damaged(rng: random.Random, body: bytearray) -> bytes:
    for _ in range(rng.randrange(4)):
        at = rng.randrange(len(body) + 1)
        how = rng.randrange(3)
        if how == 0:
            body[at:at] = rng.choice(_TOKENS).encode("latin-1")
        elif how == 1:
            del body[at : at + rng.randrange(6)]
        else:
            body[at : at + 1] = rng.randbytes(1)
    return bytes(body)


def number_text(rng: random.Random) -> str:
    """Return a JSON number as some library writes it."""
    digits = rng.randrange(1, 25)
    scale = 10.0 ** rng.randrange(-12, 12)
    kind = rng.randrange(7)
    if kind == 0:
        return repr(rng.gauss(0, 1) * scale)
    if kind == 1:
        return str(rng.randrange(-(10**digits), 10**digits)) if digits < 18 else "0"
    if kind == 2:
        return f"{rng.gauss(0, 1) * 10.0 ** rng.randrange(-250, 250):.{digits}e}"
    if kind == 3:
        return f"{rng.gauss(0, 1) * scale:.{digits}f}"
    if kind == 4:
        return f"0.{'0' * rng.randrange(12)}{rng.randrange(10**17)}"
    return rng.choice(("0", "-0", "0.0", "-0.0", "1e5", "1E-5", "0e10", "9" * 16 + ".99"))


def plain_body(rng: random.Random) -> bytes:
    """Return a body that is one rectangular array of numbers."""
    shape = [rng.randrange(1, 6) for _ in range(rng.randrange(1, 5))]
    space = rng.choice(("", " ", "\n\t"))
    text = _array(rng, shape, f",{space}")
    name = rng.choice(("", '"signature_name": "s", '))
    return f'{space}{{{name}"{rng.choice(("instances", "inputs"))}":{space}{text}}}{space}'.encode()


def _array(rng: random.Random, shape: list[int], comma: str) -> str:
    if not shape:
        return number_text(rng)
    return f"[{comma.join(_array(rng, shape[1:], comma) for _ in range(shape[0]))}]"
