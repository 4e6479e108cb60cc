"""The last judged window as Prometheus metrics: a textfile, or a push to a Pushgateway."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, Gauge, push_to_gateway, write_to_textfile

from consistency.errors import ConfigError
from monitors import metrics
from monitors.drift.record import WindowRecord
from monitors.errors import MonitorError
from monitors.metrics import Metric

JOB: Final = "samescore_drift"
"""The Pushgateway's grouping key begins with `job`."""

INSTANCE: Final = "scheduled"
"""The job has no address, and a host's name would leave a group behind for each host (for each pod)
that ever ran it; with none, the boards' `instance=~".+"` would not find it."""

_PUSH_SECONDS: Final = 10.0


def drift_metrics(latest: WindowRecord, now_s: float) -> CollectorRegistry:
    """Return the job's metrics.

    Args:
        latest: the last window that was judged; it has a verdict.
        now_s: when the job ended, in seconds since the epoch.
    """
    registry = CollectorRegistry()
    labels = (latest.subject.model, str(latest.subject.version))
    score_psi = latest.judgement.score_psi
    if score_psi is not None:
        _gauge(metrics.DRIFT_SCORE_PSI, registry).labels(*labels).set(score_psi)
    features = _gauge(metrics.DRIFT_FEATURE_PSI, registry)
    for measure in latest.judgement.features:
        features.labels(*labels, measure.name).set(measure.psi)
    _gauge(metrics.DRIFT_ROWS, registry).labels(*labels).set(latest.counts.rows)
    _gauge(metrics.DRIFT_WINDOW_END, registry).labels(*labels).set(latest.window.end_s)
    _gauge(metrics.DRIFT_LAST_SUCCESS, registry).labels(*labels).set(now_s)
    return registry


def write_textfile(path: Path, registry: CollectorRegistry) -> None:
    """Write the metrics for node_exporter's textfile collector, by atomic rename.

    Raises:
        ConfigError: the name does not end in `.prom`: the collector would not read it.
        MonitorError: the file cannot be written.
    """
    check_textfile(path)
    try:
        write_to_textfile(str(path), registry)
    except OSError as e:
        raise MonitorError(
            f"textfile {path}: {e.strerror}; name a file in a writable folder that is there"
        ) from e


def push(url: str, registry: CollectorRegistry, model: str, version: int) -> None:
    """Replace the metrics of this model version on a Pushgateway.

    Raises:
        ConfigError: the URL is none.
        MonitorError: the Pushgateway does not take them.
    """
    check_pushgateway(url)
    key = {"instance": INSTANCE, "model": model, "version": str(version)}
    try:
        push_to_gateway(url, JOB, registry, grouping_key=key, timeout=_PUSH_SECONDS)
    except OSError as e:
        raise MonitorError(
            f"pushgateway {url}: {e}; the windows are judged and kept, run again when it is there"
        ) from e


def check_textfile(path: Path) -> None:
    """Refuse a textfile that nobody would read, before any work is done."""
    if path.suffix != ".prom":
        raise ConfigError(f"textfile {path}: the name must end in .prom, or nothing reads the file")


def check_pushgateway(url: str) -> None:
    """Refuse what is no URL, before any work is done."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ConfigError(f"pushgateway {url!r}: give a URL, for example http://127.0.0.1:9091")


def _gauge(metric: Metric, registry: CollectorRegistry) -> Gauge:
    return Gauge(metric.name, metric.help, metric.labels, registry=registry)
