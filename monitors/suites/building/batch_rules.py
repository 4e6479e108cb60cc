"""Expectations about a batch of records, learnt from a field: quantiles, mean, spread, shares.

Each bound is at least as wide as chance alone makes it (`noise.py`), and says from how many rows on
it holds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

import numpy as np

from consistency.jsontype import Json
from monitors.suites.building import noise
from monitors.suites.building.held_columns import Numbers
from monitors.suites.building.profile import FieldProfile
from monitors.suites.levels import Level
from monitors.suites.specs import BuildSettings, ExpectationSpec

QUANTILES: Final = (0.1, 0.25, 0.5, 0.75, 0.9)
ENOUGH: Final = 100
"""Values of a field below which nothing is said of its distribution."""
_ULPS: Final = 1e-9
"""Share of a mean by which the order of a sum may move it."""


def batch_rules(found: FieldProfile, settings: BuildSettings) -> Iterator[ExpectationSpec]:
    """Yield what a batch of records like the profiled ones meets in one field."""
    optional = not found.spec.required or found.spec.nullable
    if optional:
        yield _null_share(found, settings)
    if found.present < ENOUGH:
        return
    if found.span is not None:
        sample = _Sample(found, settings)
        yield _quantiles(sample)
        yield from _moments(sample, settings)
    if found.distinct:
        kwargs = {"column": found.spec.name, "min_value": round(1 - settings.unique_margin, 6)}
        yield _batch("expect_column_proportion_of_unique_values_to_be_between", kwargs, ENOUGH)


def _batch(kind: str, kwargs: dict[str, Json], rows: int) -> ExpectationSpec:
    return ExpectationSpec(kind, kwargs, Level.BATCH, rows=rows)


def _null_share(found: FieldProfile, settings: BuildSettings) -> ExpectationSpec:
    needed = noise.rows_needed(noise.quantile_margin(settings.quantile_margin, found.rows),
                               found.rows)  # fmt: skip
    share = found.present / found.rows
    error = (share * (1 - share)) ** 0.5 * noise.standard_error(found.rows, needed)
    margin = max(settings.null_share_margin, noise.DEVIATIONS * error)
    kwargs = {
        "column": found.spec.name,
        "min_value": round(max(0.0, share - margin), 6),
        "max_value": round(min(1.0, share + margin), 6),
    }
    return _batch("expect_column_proportion_of_non_null_values_to_be_between", kwargs, needed)


class _Sample:
    """A field's numbers, what a batch of them may differ by, and from how many rows on."""

    def __init__(self, found: FieldProfile, settings: BuildSettings) -> None:
        self.name = found.spec.name
        self.numbers: Numbers = found.numbers[~found.nulls]
        self.margin = noise.quantile_margin(settings.quantile_margin, found.present)
        self.needed = noise.rows_needed(self.margin, found.present)
        self.batch_rows = math.ceil(self.needed * found.rows / found.present)

    def rule(self, kind: str, **kwargs: Json) -> ExpectationSpec:
        return _batch(kind, {"column": self.name, **kwargs}, self.batch_rows)


def _quantiles(sample: _Sample) -> ExpectationSpec:
    """A batch's quantile lies between the reference's a little to the left and to the right."""
    shares = np.array(QUANTILES)
    low = np.quantile(sample.numbers, np.maximum(shares - sample.margin, 0), method="lower")
    high = np.quantile(sample.numbers, np.minimum(shares + sample.margin, 1), method="higher")
    ranges = [[float(a), float(b)] for a, b in zip(low, high, strict=True)]
    promised = {"quantiles": list(QUANTILES), "value_ranges": ranges}
    return sample.rule("expect_column_quantile_values_to_be_between", quantile_ranges=promised)


def _moments(sample: _Sample, settings: BuildSettings) -> Iterator[ExpectationSpec]:
    numbers = sample.numbers
    with np.errstate(over="ignore", invalid="ignore"):
        mean, spread = float(numbers.mean()), float(numbers.std(ddof=1))
        fourth = float(((numbers - mean) ** 4).mean())
    if not np.isfinite([mean, spread, fourth]).all():
        return  # numbers near the end of float64: their moments are none
    error = noise.DEVIATIONS * noise.standard_error(len(numbers), sample.needed)
    pad = max(settings.mean_margin, error) * spread + _ULPS * abs(mean)
    yield sample.rule(
        "expect_column_mean_to_be_between", min_value=mean - pad, max_value=mean + pad
    )
    if spread > _ULPS * abs(mean):
        relative = noise.spread_error(len(numbers), sample.needed, fourth / spread**4)
        ratio = 1 + max(settings.spread_margin, noise.DEVIATIONS * relative)
        yield sample.rule(
            "expect_column_stdev_to_be_between", min_value=spread / ratio, max_value=spread * ratio
        )
