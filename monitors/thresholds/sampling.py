"""What the index of a window exceeds by sampling alone: rows drawn independently of each other."""

from __future__ import annotations

import math
from typing import Final

_LARGEST_NONCENTRALITY: Final = 1e6
"""Beyond, the quantile of the non-central chi2 is slow to compute, and normal to five digits."""


def noise_psi(buckets: int, reference_rows: int, current_rows: int, chance: float) -> float:
    """Return what the index exceeds with a given chance although nothing has changed.

    B. Yurdakul, *Statistical Properties of Population Stability Index* (Western Michigan
    University, 2018): for independent samples of N and M rows of one distribution in B buckets the
    index is about (1/N + 1/M) * chi2(B - 1).

    Example: chi2(9) exceeds 27.88 once in a thousand, times (1/10,000 + 1/1,000):

    >>> round(noise_psi(10, 10_000, 1_000, 0.001), 4)
    0.0307

    Args:
        buckets: B, those that at least one side holds; 1 or more.
        reference_rows: N.
        current_rows: M.
        chance: between 0 and 1.
    """
    if buckets < 2:
        return 0.0  # one bucket cannot move
    from scipy.special import chdtri

    return float(chdtri(buckets - 1, chance)) * (1 / reference_rows + 1 / current_rows)


def effect_psi_limit(
    buckets: int, reference_rows: int, current_rows: int, chance: float, effect: float
) -> float:
    """Return what the index exceeds with a given chance although the true index is `effect`.

    In a large window every shift is significant; what matters is whether it is larger than one that
    is put up with. If the true index of the two populations is psi, that of the samples over
    (1/N + 1/M) is about non-central chi2 with B - 1 degrees of freedom and non-centrality
    psi / (1/N + 1/M): see arXiv 2303.01227 and, on drift tests of large samples, arXiv 2307.11878;
    without an effect it is Yurdakul's law.

    Example: the true index may be 0.25; a million rows exceed 0.2544 once in a thousand, a thousand
    rows 0.3661:

    >>> [round(effect_psi_limit(10, 10**6, m, 0.001, 0.25), 4) for m in (10**6, 1_000)]
    [0.2544, 0.3661]
    >>> effect_psi_limit(10, 10_000, 1_000, 0.001, 0.0) == noise_psi(10, 10_000, 1_000, 0.001)
    True

    Args:
        buckets: B, those that at least one side holds; 1 or more.
        reference_rows: N.
        current_rows: M.
        chance: between 0 and 1.
        effect: the largest true index that does not matter, 0 or more, in nats.
    """
    if effect == 0.0 or buckets < 2:
        return max(noise_psi(buckets, reference_rows, current_rows, chance), effect)
    from scipy.special import chndtrix

    scale = 1 / reference_rows + 1 / current_rows
    apart = effect / scale
    if apart <= _LARGEST_NONCENTRALITY:
        return float(chndtrix(1.0 - chance, buckets - 1, apart)) * scale
    from scipy.special import ndtri

    # Far out it is normal, with mean B - 1 + apart and variance 2 (B - 1 + 2 apart).
    deviation = math.sqrt(2 * (buckets - 1 + 2 * apart))
    return (buckets - 1 + apart - float(ndtri(chance)) * deviation) * scale


def exceeding_chance(
    buckets: int, reference_rows: int, current_rows: int, psi: float, effect: float
) -> float:
    """Return the chance of an index as large although the true one is `effect`: the inverse.

    >>> round(exceeding_chance(10, 10**6, 1_000, 0.3661, 0.25), 4)
    0.001
    >>> round(exceeding_chance(10, 10_000, 1_000, 0.0307, 0.0), 4)
    0.001

    Args:
        buckets: see `effect_psi_limit`.
        reference_rows: likewise.
        current_rows: likewise.
        psi: what was measured, in nats.
        effect: the true index, in nats.
    """
    if buckets < 2:
        return 1.0
    from scipy.special import chdtrc, chndtr, ndtr

    scale = 1 / reference_rows + 1 / current_rows
    far, apart = psi / scale, effect / scale
    if not apart:
        return float(chdtrc(buckets - 1, far))
    if apart <= _LARGEST_NONCENTRALITY:
        return max(1.0 - float(chndtr(far, buckets - 1, apart)), 0.0)
    mean, deviation = buckets - 1 + apart, math.sqrt(2 * (buckets - 1 + 2 * apart))
    return float(ndtr((mean - far) / deviation))
