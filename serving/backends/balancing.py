"""Smooth weighted round robin over the instances of a backend. Pure.

The scheme is nginx's: with weights 5, 1, 1 it answers a, a, b, a, c, a, a and not five times a,
then b, then c. An instance that fails is chosen less often at once and gets its share back step by
step; one that comes back after an ejection begins with the share of 1, so that a cold one is not
flooded.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from consistency.errors import ConfigError

LARGEST_WEIGHT: Final = 1000


@dataclass(slots=True)
class _Share:
    """One instance's share.

    Attributes:
        weight: as configured.
        effective: what it has left of it, 1 to `weight`.
        current: grows with every choice and pays for being chosen.
    """

    weight: int
    effective: int
    current: int = 0


class SmoothRoundRobin:
    """Chooses among instances, by their index. Not for use by several threads at once.

    Args:
        weights: of the instances, each from 1 to `LARGEST_WEIGHT`.

    Raises:
        ConfigError: there is no weight, or one is out of bounds.

    >>> turn = SmoothRoundRobin([5, 1, 1])
    >>> "".join("abc"[turn.choose(range(3))] for _ in range(7))
    'aabacaa'
    """

    def __init__(self, weights: Sequence[int]) -> None:
        for weight in weights:
            if not 1 <= weight <= LARGEST_WEIGHT:
                raise ConfigError(
                    f"backend weight {weight}: a weight is a whole number from 1 to"
                    f" {LARGEST_WEIGHT}"
                )
        if not weights:
            raise ConfigError("a backend needs at least one instance")
        self._shares = [_Share(weight, weight) for weight in weights]

    def choose(self, among: Iterable[int]) -> int | None:
        """Return whose turn it is, or None when there is nobody to choose from.

        Of equal ones the first is chosen.
        """
        total, best = 0, None
        for index in among:
            share = self._shares[index]
            share.current += share.effective
            total += share.effective
            if best is None or share.current > self._shares[best].current:
                best = index
        if best is not None:
            self._shares[best].current -= total
        return best

    def succeeded(self, index: int) -> None:
        """Give an instance half of what it lacks back."""
        share = self._shares[index]
        share.effective += (share.weight - share.effective + 1) >> 1

    def failed(self, index: int) -> None:
        """Halve an instance's share; 1 is left to it."""
        share = self._shares[index]
        share.effective = max(1, share.effective >> 1)

    def begin_small(self, index: int) -> None:
        """Let an instance begin with the share of 1, as if it had never been asked."""
        share = self._shares[index]
        share.effective, share.current = 1, 0
