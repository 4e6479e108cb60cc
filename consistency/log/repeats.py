"""Which request ids occur more than once: exact, in memory that does not grow with the log."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from itertools import islice
from tempfile import TemporaryFile
from types import TracebackType
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

_MASK: Final = (1 << 64) - 1
_BLOCK: Final = 1 << 16
"""Hashes held back before they go to the disk."""

_SORTED: Final = 1 << 21
"""Hashes sorted at once: 16 MiB."""


class Suspects:
    """Hashes ids on the way past, 8 bytes each in a temporary file, to find the ones met twice.

    Equal hashes make an id a suspect; only a second look at the suspects' own texts convicts. Any
    log whose ids differ has practically no suspect, so that the second look costs a pass at most.

    Args:
        sorted_at_once: how many hashes are held in memory.
    """

    def __init__(self, sorted_at_once: int = _SORTED) -> None:
        self._file = TemporaryFile(prefix="samescore-ids-")  # noqa: SIM115 - closed by __exit__
        self._held = array("Q")
        self._count = 0
        self._sorted_at_once = sorted_at_once

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove the file."""
        self._file.close()

    def add(self, request_id: str) -> None:
        """Take note of an id."""
        self._held.append(hash(request_id) & _MASK)
        self._count += 1
        if len(self._held) == _BLOCK:
            self._spill()

    def hashes(self, most: int) -> frozenset[int]:
        """Return the hashes that were met more than once, at most so many of them."""
        self._spill()
        return frozenset(islice(self._repeated(), most))

    def _spill(self) -> None:
        self._file.seek(0, 2)
        self._file.write(self._held.tobytes())
        self._held = array("Q")

    def _repeated(self) -> Iterator[int]:
        parts = -(-self._count // self._sorted_at_once)
        for part in range(parts):
            low, high = (part << 64) // parts, ((part + 1) << 64) // parts - 1
            chosen = [b[(b >= low) & (b <= high)] for b in self._blocks()]
            ordered = np.sort(np.concatenate(chosen))
            yield from np.unique(ordered[1:][ordered[1:] == ordered[:-1]]).tolist()

    def _blocks(self) -> Iterator[NDArray[np.uint64]]:
        self._file.seek(0)
        while block := self._file.read(_BLOCK * 8):
            yield np.frombuffer(block, np.uint64)


def convicted(request_ids: Iterable[str], suspects: frozenset[int]) -> list[str]:
    """Return the ids that really occur more than once, in the order of their second occurrence.

    Args:
        request_ids: all of them again.
        suspects: from `Suspects.hashes`, in the same process.
    """
    met: set[str] = set()
    again: dict[str, None] = {}
    for request_id in request_ids:
        if hash(request_id) & _MASK in suspects:
            if request_id in met:
                again[request_id] = None
            met.add(request_id)
    return list(again)
