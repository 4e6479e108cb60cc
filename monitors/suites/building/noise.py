"""How far the figures of a batch may lie from the reference's by chance alone. Pure.

A rule about a batch that was learnt without this either fails at night for nothing or never fails.
Rows are taken as independent: what real days add (a weekday, a season) is the drift job's concern,
which is calibrated on days; these rules are guard rails around it.
"""

from __future__ import annotations

import math
from typing import Final

FALSE_ALARM: Final = 1e-3
"""Probability that a rule about quantiles fails on a batch of enough rows of the reference."""

DEVIATIONS: Final = 4.0
"""Standard errors that a mean, a spread or a share may lie off: 6e-5 by chance."""
_ROUNDING: Final = 1e-6
"""Of a row: half of twice a margin is that margin, of N rows again, to the last bits only."""


def dkw_margin(rows: int, error: float) -> float:
    """Return the band around an empirical distribution that holds the true one.

    The inequality of Dvoretzky, Kiefer and Wolfowitz with Massart's constant (Annals of
    Probability 18, 1990): with probability 1 - error, at every point at once, whatever the
    distribution.

    Args:
        rows: N >= 1.
        error: 0 < error < 1.

    >>> round(dkw_margin(1000, 0.05), 4)
    0.0429
    """
    return math.sqrt(math.log(2 / error) / (2 * rows))


def quantile_margin(wanted: float, rows: int) -> float:
    """Return by how much a batch's share below a value may differ from the reference's.

    Not less than twice what the reference itself is uncertain by: half of it is left to the batch.

    >>> quantile_margin(0.05, 1_000_000), round(quantile_margin(0.05, 300), 3)
    (0.05, 0.235)
    """
    return max(wanted, 2 * dkw_margin(rows, FALSE_ALARM / 2))


def rows_needed(margin: float, rows: int) -> int:
    """Return from how many rows on a batch keeps a margin, with `FALSE_ALARM` of probability.

    Args:
        margin: of `quantile_margin`.
        rows: of the reference.

    >>> rows_needed(quantile_margin(0.05, 1_000_000), 1_000_000)
    1803
    >>> rows_needed(quantile_margin(0.05, 5_000), 5_000)
    5000
    """
    left = margin - dkw_margin(rows, FALSE_ALARM / 2)
    return math.ceil(math.log(4 / FALSE_ALARM) / (2 * left * left) - _ROUNDING)


def standard_error(rows: int, batch_rows: int) -> float:
    """Return the standard error of the difference of two means, in standard deviations.

    >>> round(standard_error(10_000, 100), 3)
    0.1
    """
    return math.sqrt(1 / rows + 1 / batch_rows)


def spread_error(rows: int, batch_rows: int, kurtosis: float) -> float:
    """Return the relative standard error of the ratio of two standard deviations.

    The variance of a sample standard deviation is sigma^2 (kurtosis - 1) / (4 n) for large n
    (Cramer, Mathematical Methods of Statistics, 27.7).

    Args:
        rows: of the reference.
        batch_rows: of the batch.
        kurtosis: fourth moment over squared variance, 3 of a normal distribution.

    >>> round(spread_error(10_000, 100, 3), 3)
    0.071
    """
    return math.sqrt(max(kurtosis - 1, 0) / 4) * standard_error(rows, batch_rows)
