"""Which requests a sampled log keeps: the same ones for the same key, online and offline. Pure.

A key is kept or not for ever, by a hash and not by chance: every request of a kept user is there,
two servers and a later job agree without talking, and what 10% keep, 20% keep too.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from consistency.errors import ConfigError
from consistency.scored import Outcome

_SPAN: Final = 1 << 64


def keeps(key: str, ratio: float) -> bool:
    """Return whether a sample of the given ratio holds a key.

    Args:
        key: the log's key, or the request id where there is none; any text.
        ratio: of all keys, 0 (none) to 1 (all).

    >>> [keeps(f"user-{i}", 0.5) for i in range(4)]
    [True, False, True, False]
    >>> all(keeps(f"user-{i}", 1.0) for i in range(100))
    True
    """
    digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest) < ratio * _SPAN


@dataclass(frozen=True, slots=True)
class Sampling:
    """How much of the traffic is logged.

    Attributes:
        ratio: of the keys whose requests were scored, 0 to 1.
        error_ratio: of the keys whose requests were not; all of them unless told otherwise, since
            an error that was left out cannot be looked into.

    Raises:
        ConfigError: a ratio is out of its range.
    """

    ratio: float = 1.0
    error_ratio: float = 1.0

    def __post_init__(self) -> None:
        for ratio in (self.ratio, self.error_ratio):
            if not 0 <= ratio <= 1:
                raise ConfigError(f"log sampling ratio {ratio}: give a share from 0 to 1")

    @property
    def is_whole(self) -> bool:
        """Whether everything is logged."""
        return self.ratio == self.error_ratio == 1

    def ratio_of(self, outcome: Outcome) -> float:
        """Return the ratio for requests that ended so: a kept one stands for 1/ratio of them."""
        return self.ratio if outcome is Outcome.OK else self.error_ratio
