"""PromQL expressions over the metric catalogue; a metric of the wrong kind is refused.

No function adds `or vector(0)` or the like: a panel without data shows that it has none.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeAlias

from monitors.metrics import Metric, MetricKind

Scope: TypeAlias = dict[str, str]
"""Label to matcher: which series a board looks at."""

FLEET: Final[Scope] = {"job": 'job=~"$job"', "instance": 'instance=~"$instance"'}
"""Everything that the board's `job` and `instance` variables choose."""

# `model` is single-valued, and Grafana escapes such a value for `=`, not for `=~`.
MODEL: Final[Scope] = {**FLEET, "model": 'model="$model"', "version": 'version=~"$version"'}
"""The chosen versions of the chosen model."""

TOTAL: Final = 'stage="total"'
SERVER_ERRORS: Final = 'outcome=~"backend_error|timeout"'
DATA_ERRORS: Final = 'outcome="data_error"'
SCORED: Final = 'outcome="ok"'
NOT_ANSWERED: Final = 'result!~"ok|no_such_version"'

_OF_TARGETS: Final = frozenset({"job", "instance"})
"""Labels that Prometheus gives every series it scrapes."""


def value(metric: Metric, scope: Scope, *, by: Iterable[str]) -> str:
    """Return the largest value of a gauge over all processes that export it.

    Every process has its own window, so a mean would hide the one that drifts.

    Args:
        metric: a gauge, or an info metric: its labels are the facts.
        scope: which series.
        by: the labels to keep.
    """
    _check(metric, MetricKind.GAUGE, MetricKind.INFO)
    return f"max by ({_list(by)}) ({_selector(metric, scope)})"


def total_value(metric: Metric, scope: Scope, *, by: Iterable[str]) -> str:
    """Return the sum of a gauge over all processes that export it; see `value`."""
    _check(metric, MetricKind.GAUGE)
    return f"sum by ({_list(by)}) ({_selector(metric, scope)})"


def rate(metric: Metric, scope: Scope, *where: str, by: Iterable[str] = ()) -> str:
    """Return how fast a counter grows, per second.

    Args:
        metric: the counter.
        scope: which series.
        where: further matchers, for example ``'outcome="ok"'``.
        by: the labels to keep; none for one number.
    """
    _check(metric, MetricKind.COUNTER)
    return f"{_sum(by)} (rate({_selector(metric, scope, *where)}[$__rate_interval]))"


def increase(metric: Metric, scope: Scope, *where: str, by: Iterable[str] = ()) -> str:
    """Return by how much a counter grew over the board's whole time range; see `rate`."""
    _check(metric, MetricKind.COUNTER)
    return f"{_sum(by)} (increase({_selector(metric, scope, *where)}[$__range]))"


def buckets(metric: Metric, scope: Scope, *where: str, by: Iterable[str] = ()) -> str:
    """Return the growth of a histogram's buckets, per second; `le` is kept."""
    _check(metric, MetricKind.HISTOGRAM)
    selector = _selector(metric, scope, *where, suffix="_bucket")
    return f"{_sum(('le', *by))} (rate({selector}[$__rate_interval]))"


def quantile(
    share: float, metric: Metric, scope: Scope, *where: str, by: Iterable[str] = ()
) -> str:
    """Return a quantile of a histogram, in its unit; NaN where nothing was observed.

    Args:
        share: of the observations that lie below, 0 to 1.
        metric: the histogram.
        scope: which series.
        where: see `rate`.
        by: see `rate`.
    """
    return f"histogram_quantile({share}, {buckets(metric, scope, *where, by=by)})"


def mean(metric: Metric, scope: Scope, *where: str, by: Iterable[str] = ()) -> str:
    """Return the mean of a histogram's observations, in its unit; NaN where there were none."""
    _check(metric, MetricKind.HISTOGRAM)
    parts = [
        f"{_sum(by)} (rate({_selector(metric, scope, *where, suffix=suffix)}[$__rate_interval]))"
        for suffix in ("_sum", "_count")
    ]
    return f"{parts[0]} / {parts[1]}"


def share_of(part: str, whole: str, *, on: Iterable[str] = ()) -> str:
    """Return a ratio, 0 to 1; NaN while there is no traffic.

    Args:
        part: an expression with the labels `on` and perhaps more.
        whole: an expression with exactly the labels `on`.
        on: the labels that both have; without any, both are one number.
    """
    if not on:
        return f"{part} / {whole}"
    return f"{part} / on ({_list(on)}) group_left () {whole}"


def highest(count: int, expression: str) -> str:
    """Return the largest series of an expression."""
    return f"topk({count}, {expression})"


def label_values(metrics: Iterable[Metric], label: str, scope: Scope) -> str:
    """Return the query of a variable: the values that a label has in any of the metrics."""
    names = "|".join(metric.name for metric in metrics)
    matchers = ", ".join([f'__name__=~"{names}"', *scope.values()])
    return f"label_values({{{matchers}}}, {label})"


def _selector(metric: Metric, scope: Scope, *where: str, suffix: str = "") -> str:
    """Select the series of a metric; a scope's label that the metric lacks is left out."""
    known = _OF_TARGETS.union(metric.labels)
    matchers = [text for label, text in scope.items() if label in known]
    return f"{metric.name}{suffix}{{{', '.join([*matchers, *where])}}}"


def _sum(by: Iterable[str]) -> str:
    return f"sum by ({_list(by)})" if by else "sum"


def _list(labels: Iterable[str]) -> str:
    return ", ".join(labels)


def _check(metric: Metric, *kinds: MetricKind) -> None:
    if metric.kind not in kinds:
        raise ValueError(f"{metric.name} is a {metric.kind}, not a {' or a '.join(kinds)}")
