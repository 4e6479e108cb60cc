"""Expressions are made of the catalogue's metrics, each used as its kind allows."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dashboards import promql
from dashboards.promql import FLEET, MODEL
from monitors import metrics

JOB = 'job=~"$job", instance=~"$instance"'


def test_a_rate_is_summed_over_processes() -> None:
    assert promql.rate(metrics.LOG_DROPS, FLEET) == (
        f"sum (rate(samescore_log_drops_total{{{JOB}}}[$__rate_interval]))"
    )


def test_labels_are_kept_and_series_chosen() -> None:
    assert promql.increase(metrics.ROWS, FLEET, promql.SCORED, by=["model"]) == (
        f'sum by (model) (increase(samescore_rows_total{{{JOB}, outcome="ok"}}[$__range]))'
    )


def test_a_scope_leaves_out_labels_that_a_metric_lacks() -> None:
    assert promql.rate(metrics.SUITE_VIOLATIONS, MODEL) == (
        f'sum (rate(samescore_suite_violations_total{{{JOB}, model="$model"}}[$__rate_interval]))'
    )
    assert promql.total_value(metrics.WORKERS, MODEL, by=["instance"]) == (
        f"sum by (instance) (samescore_workers{{{JOB}}})"
    )


def test_a_quantile_keeps_le() -> None:
    bucket = f'samescore_stage_latency_seconds_bucket{{{JOB}, stage="total"}}'
    assert promql.quantile(0.9, metrics.STAGE_LATENCY, FLEET, promql.TOTAL, by=["model"]) == (
        f"histogram_quantile(0.9, sum by (le, model) (rate({bucket}[$__rate_interval])))"
    )


def test_a_mean_is_the_sum_over_the_count() -> None:
    name = "samescore_stage_latency_seconds"
    assert promql.mean(metrics.STAGE_LATENCY, FLEET) == (
        f"sum (rate({name}_sum{{{JOB}}}[$__rate_interval]))"
        f" / sum (rate({name}_count{{{JOB}}}[$__rate_interval]))"
    )


def test_a_share_matches_on_the_common_labels() -> None:
    assert promql.share_of("a", "b", on=["version"]) == "a / on (version) group_left () b"
    assert promql.share_of("a", "b") == "a / b"


def test_a_variables_query_looks_in_several_metrics() -> None:
    assert promql.label_values([metrics.WORKERS, metrics.BUILD], "job", {}) == (
        'label_values({__name__=~"samescore_workers|samescore_build_info"}, job)'
    )


WRONG: dict[str, Callable[[], str]] = {
    "a rate of a gauge": lambda: promql.rate(metrics.SCORE_PSI, FLEET),
    "an increase of an info": lambda: promql.increase(metrics.BUILD, FLEET),
    "the value of a counter": lambda: promql.value(metrics.REQUESTS, FLEET, by=["model"]),
    "the sum of an info": lambda: promql.total_value(metrics.BUILD, FLEET, by=["python"]),
    "buckets of a counter": lambda: promql.buckets(metrics.REQUESTS, FLEET),
    "the mean of a gauge": lambda: promql.mean(metrics.SCORE_PSI, FLEET),
    "a rate of a histogram": lambda: promql.rate(metrics.STAGE_LATENCY, FLEET),
}


@pytest.mark.parametrize("build", WRONG.values(), ids=WRONG)
def test_a_metric_of_the_wrong_kind_is_refused(build: Callable[[], str]) -> None:
    with pytest.raises(ValueError, match=r"samescore_\w+ is a \w+, not a"):
        build()
