"""A window's counts as few bytes, to travel: what a worker sends home of all that it has read.

Quantile sketches, which other tools merge across machines, are off by a stated error and depend on
the order of merging. Here the buckets were frozen before anyone counted, so the state is integers:
any split of a log, merged in any order, gives the counts of the single pass, to the bit.

Integers are written as LEB128 (seven bits a byte, the lowest first): a count below 2**49 takes at
most 7 bytes, so 25 buckets and the unseen rows at most 182; a day's 100,000 rows some 40. Names are
not written: both sides have the reference, and with it the order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np

from monitors.drift.counting import WindowCounts
from monitors.errors import MonitorError
from monitors.reference import Counts, ReferenceSet

FORMAT: Final = 1
"""First byte of a packed state."""


class CountsPacker:
    """Packs counts against one reference.

    Args:
        reference: in whose buckets they were counted.
    """

    def __init__(self, reference: ReferenceSet) -> None:
        self._sizes = {n: len(r.training_counts) for n, r in reference.measures.items()}
        self._outputs = [len(r.training_counts) for r in reference.scores]

    def pack(self, counts: WindowCounts) -> bytes:
        """Return the bytes; equal counts give equal bytes.

        Raises:
            MonitorError: they were counted in other buckets.
        """
        self._check(counts)
        held = [name in counts.features for name in self._sizes]
        out = bytearray([FORMAT])
        out += integers((counts.requests, counts.refused, counts.untimed, counts.rows))
        out += np.packbits([*held, bool(counts.scores)]).tobytes()
        for name in self._sizes:
            if name in counts.features:
                out += packed_feature(counts.features[name], counts.unseen.get(name, 0))
        for scores in counts.scores:
            out += integers(scores.tolist())
        return bytes(out)

    def unpack(self, data: bytes) -> WindowCounts:
        """Return the counts that `pack` was given, the features in the reference's order.

        Raises:
            MonitorError: the bytes are no state, or one of another reference.
        """
        try:
            return self._unpacked(data)
        except (IndexError, OverflowError, StopIteration, ValueError) as e:
            raise MonitorError(
                f"{len(data)} bytes are no packed state of this reference; count the log anew"
            ) from e

    def _unpacked(self, data: bytes) -> WindowCounts:
        if data[0] != FORMAT:
            raise ValueError
        requests, at = _integer(data, 1)
        refused, at = _integer(data, at)
        untimed, at = _integer(data, at)
        rows, at = _integer(data, at)
        flags = (len(self._sizes) + 8) // 8
        held = np.unpackbits(np.frombuffer(data[at : at + flags], np.uint8)).tolist()
        rest = _integers(data, at + flags)
        counts = WindowCounts(requests, refused, untimed, rows)
        for (name, size), is_held in zip(self._sizes.items(), held, strict=False):
            if not is_held:
                continue
            counts.features[name] = _taken(rest, size)
            unseen = next(rest)
            if unseen:
                counts.unseen[name] = unseen
        if held[len(self._sizes)]:
            counts.scores = tuple([_taken(rest, size) for size in self._outputs])
        if next(rest, None) is not None:
            raise ValueError
        counts.unseen = dict(sorted(counts.unseen.items()))
        return counts

    def _check(self, counts: WindowCounts) -> None:
        sizes = {name: len(each) for name, each in counts.features.items()}
        outputs = [len(each) for each in counts.scores]
        others = sorted(sizes.items() - self._sizes.items())
        if others or outputs not in ([], self._outputs) or counts.unseen.keys() - sizes.keys():
            raise MonitorError(
                "the counts were made in the buckets of another reference; count the log anew"
            )


def packed_feature(counts: Counts, unseen: int) -> bytes:
    """Return one feature's part of a state: its buckets, and its rows of status `UNSEEN`.

    >>> len(packed_feature(np.full(25, 2**49 - 1), 2**49 - 1))
    182
    """
    return integers([*counts.tolist(), unseen])


def integers(values: Iterable[int]) -> bytes:
    """Return integers of 0 and more as LEB128.

    >>> integers([3, 300]).hex()
    '03ac02'
    """
    out = bytearray()
    for value in values:
        rest = value
        while rest > 0x7F:
            out.append(rest & 0x7F | 0x80)
            rest >>= 7
        out.append(rest)
    return bytes(out)


def _integer(data: bytes, at: int) -> tuple[int, int]:
    """Return the integer that begins there, and where the next one does."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _integers(data: bytes, at: int) -> Iterator[int]:
    while at < len(data):
        value, at = _integer(data, at)
        yield value


def _taken(numbers: Iterator[int], size: int) -> Counts:
    return np.array([next(numbers) for _ in range(size)], np.int64)


def merged(packer: CountsPacker, states: Iterable[bytes]) -> WindowCounts:
    """Return the counts of all parts of a window together, whatever their order."""
    total = WindowCounts()
    for state in states:
        total.merge(packer.unpack(state))
    return total
