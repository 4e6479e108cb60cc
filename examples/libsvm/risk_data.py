"""Rows by a written-down law, in the form of TI-ONE's example: 524 features, most of them missing.

The law, with every draw from numpy's PCG64 seeded by `seed`:

1. Index 1 to 12 are there in every row: a flag (0/1), a rate with 4 digits, an integer up to 600,
   two small counts, an amount in hundreds (about e^10), a count, a ratio with 2 digits, an amount
   in cents, a value that 30% of the rows do not have (written as -65535.0), a rate, and a ratio of
   two integers with all its digits.
2. Index j of 13 to 524 belongs to one of 16 source systems, (j - 13) mod 16. A row has been seen by
   each system with probability 0.15 to 0.45, rising with the system's number. Of what a system has
   seen, half of the indices are left out of the text; of the others, 25% are written as -65535.0,
   and the rest hold a log-normal value with 0, 1, 2 or all digits, by j mod 4.
3. The log odds of the label are -1.2 + 0.9·(flag) + 1.4·(ratio of index 12 − 0.5) + 0.25·log1p of
   index 13, 29 and 45 where they are there, − 0.5 where system 3 has not seen the row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from risk_features import FILL, WIDTH, parse_row

DENSE: Final = 12
SYSTEMS: Final = 16
TELLING: Final = (13, 29, 45)


@dataclass(frozen=True, slots=True)
class Labelled:
    """Raw records with their labels.

    Attributes:
        records: what clients send.
        labels: shape (N,).
    """

    records: list[dict[str, str]]
    labels: NDArray[np.bool_]


def draw(rows: int, seed: int) -> Labelled:
    """Return rows drawn by the law."""
    source = np.random.default_rng(seed)
    texts = list(_texts(rows, source))
    chances = 1.0 / (1.0 + np.exp(-np.array([_log_odds(text) for text in texts])))
    return Labelled([{"row": text} for text in texts], source.random(rows) < chances)


def _texts(rows: int, source: Generator) -> Iterator[str]:
    for _ in range(rows):
        pairs = [f"{i}:{v}" for i, v in enumerate(_dense(source), start=1)]
        pairs += [f"{i}:{v}" for i, v in _sparse(source)]
        yield " ".join(["0", *pairs])


def _dense(source: Generator) -> list[str]:
    part, whole = int(source.integers(1, 700)), int(source.integers(700, 900))
    value_ten = FILL if source.random() < 0.3 else round(float(source.normal(50, 20)), 1)
    numbers: list[float] = [
        int(source.random() < 0.4),
        round(float(source.random()), 4),
        int(source.integers(0, 601)),
        int(source.poisson(9)),
        int(source.poisson(6)),
        100.0 * int(source.lognormal(6, 1)),
        int(source.poisson(15)),
        round(float(source.random()), 2),
        round(float(source.lognormal(13, 1)), 2),
        value_ten,
        round(float(source.random()), 3),
        part / whole,
    ]
    return [repr(number) for number in numbers]


def _sparse(source: Generator) -> Iterator[tuple[int, str]]:
    seen = source.random(SYSTEMS) < np.linspace(0.15, 0.45, SYSTEMS)
    chances = source.random((WIDTH - DENSE, 2))
    amounts = source.lognormal(1.0, 1.0, WIDTH - DENSE)
    for offset in np.flatnonzero(np.tile(seen, WIDTH // SYSTEMS)[: WIDTH - DENSE]).tolist():
        written, filled = chances[offset].tolist()
        if written < 0.5:
            continue
        index = offset + DENSE + 1
        yield index, repr(FILL if filled < 0.25 else _digits(float(amounts[offset]), index))


def _digits(amount: float, index: int) -> float:
    places = index % 4
    return amount if places == 3 else float(round(amount, places))


def _log_odds(text: str) -> float:
    held = parse_row(text)
    odds = -1.2 + 0.9 * held[1] + 1.4 * (held[12] - 0.5)
    odds += sum(0.25 * float(np.log1p(held[i])) for i in TELLING if held.get(i, FILL) != FILL)
    third = any(index > DENSE and (index - DENSE - 1) % SYSTEMS == 3 for index in held)
    return odds if third else odds - 0.5
