"""The catalogue keeps the conventions of Prometheus, and everything in it is really fed."""

from __future__ import annotations

import itertools
import math
import re
from pathlib import Path

import pytest

from monitors.metrics import (
    CATALOGUE,
    JOB_CATALOGUE,
    LATENCY_BUCKETS_SECONDS,
    SLO_CATALOGUE,
    STAGE_LATENCY,
    WAIT_BUCKETS_SECONDS,
    Metric,
    MetricKind,
    Rejection,
)

PAGE = (Path(__file__).parents[2] / "docs" / "monitoring.md").read_text(encoding="utf-8")
EXPORTED = (*CATALOGUE, *JOB_CATALOGUE)
ALL = (*EXPORTED, *SLO_CATALOGUE)
METRICS = pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.name)
SUFFIXES = {
    MetricKind.COUNTER: "_total",
    MetricKind.HISTOGRAM: "_seconds",
    MetricKind.INFO: "_info",
}

GAUGE_SUFFIXES = {
    "ratio": "_ratio",
    "rows": "_rows",
    "seconds since the epoch": "_timestamp_seconds",
}


def test_every_name_stands_once() -> None:
    names = [metric.name for metric in ALL]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("metric", SLO_CATALOGUE, ids=lambda metric: metric.name)
def test_a_recorded_name_has_its_level_and_its_operation(metric: Metric) -> None:
    assert re.fullmatch(r"job_model:samescore(_[a-z]+)+:ratio", metric.name)
    assert metric.kind is MetricKind.GAUGE


@pytest.mark.parametrize("metric", EXPORTED, ids=lambda metric: metric.name)
def test_a_name_has_the_prefix_and_the_suffix_of_its_kind(metric: Metric) -> None:
    assert re.fullmatch(r"samescore(_[a-z]+)+", metric.name)
    if metric.kind is not MetricKind.GAUGE:
        assert metric.name.endswith(SUFFIXES[metric.kind])
        return
    assert not metric.name.endswith(("_total", "_info", "_count", "_sum", "_bucket"))
    assert metric.name.endswith(GAUGE_SUFFIXES.get(metric.unit, ""))


@METRICS
def test_labels_are_few_and_none_is_reserved(metric: Metric) -> None:
    assert len(set(metric.labels)) == len(metric.labels) <= 4
    assert not {"le", "quantile", "job", "instance"} & set(metric.labels)


@METRICS
def test_help_is_one_sentence(metric: Metric) -> None:
    assert metric.help.endswith(".")
    assert "\n" not in metric.help


@METRICS
def test_only_histograms_have_buckets_and_only_facts_have_no_unit(metric: Metric) -> None:
    assert bool(metric.buckets) == (metric.kind is MetricKind.HISTOGRAM)
    assert bool(metric.unit) == (metric.kind is not MetricKind.INFO)


def test_latency_buckets_are_ascending_and_hold_the_bounds_of_objectives() -> None:
    bounds = STAGE_LATENCY.buckets
    assert bounds == LATENCY_BUCKETS_SECONDS
    assert list(bounds) == sorted(set(bounds))
    assert {0.005, 0.02, 0.2, 0.5, 1.0, 5.0} <= set(bounds)


def test_latency_buckets_tell_microseconds_apart() -> None:
    """No two neighbours below 5 ms are further apart than a factor of 2.5."""
    small = [b for b in LATENCY_BUCKETS_SECONDS if b <= 0.005]
    assert small[0] == 0.000_01
    steps = [b / a for a, b in itertools.pairwise(small)]
    assert max(steps) <= 2.5 or math.isclose(max(steps), 2.5)


def test_waits_have_bounds_that_the_latency_has_too() -> None:
    """One setting of the alert rules is a bound of both."""
    assert list(WAIT_BUCKETS_SECONDS) == sorted(
        set(WAIT_BUCKETS_SECONDS) & {*STAGE_LATENCY.buckets}
    )


def test_reasons_are_few() -> None:
    assert len(Rejection) < 10


@METRICS
def test_the_page_of_the_docs_says_what_it_is(metric: Metric) -> None:
    labels = ", ".join(metric.labels)
    rows = [line for line in PAGE.splitlines() if line.startswith(f"| `{metric.name}` |")]
    assert [row.split("|")[2].strip() for row in rows] == [labels]
