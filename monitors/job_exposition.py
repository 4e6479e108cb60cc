"""How a scheduled job hands over its metrics: a textfile, or a push to a Pushgateway."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, Gauge, push_to_gateway, write_to_textfile

from consistency.errors import ConfigError
from monitors.errors import MonitorError
from monitors.metrics import Metric

INSTANCE: Final = "scheduled"
"""A job has no address, and a host's name would leave a group behind for each host (for each pod)
that ever ran it; with none, the boards' `instance=~".+"` would not find it."""

_PUSH_SECONDS: Final = 10.0


def gauge(metric: Metric, registry: CollectorRegistry) -> Gauge:
    """Return a metric of the catalogue in a registry."""
    return Gauge(metric.name, metric.help, metric.labels, registry=registry)


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


def push_model(
    url: str, job: str, registry: CollectorRegistry, model: str, version: int, kept: str
) -> None:
    """Replace a job's metrics of one model version on a Pushgateway.

    Args:
        url: of the Pushgateway.
        job: the grouping key begins with it.
        registry: holds metrics of this model version only.
        model: its name.
        version: its version.
        kept: what of the run is not lost when the push fails, for the message.

    Raises:
        ConfigError: the URL is none.
        MonitorError: the Pushgateway does not take them.
    """
    check_pushgateway(url)
    key = {"instance": INSTANCE, "model": model, "version": str(version)}
    try:
        push_to_gateway(url, job, registry, grouping_key=key, timeout=_PUSH_SECONDS)
    except OSError as e:
        raise MonitorError(f"pushgateway {url}: {e}; {kept}, run again when it is there") from e


def check_textfile(path: Path) -> None:
    """Refuse a textfile that nobody would read, before any work is done."""
    if path.suffix != ".prom":
        raise ConfigError(f"textfile {path}: the name must end in .prom, or nothing reads the file")


def check_pushgateway(url: str) -> None:
    """Refuse what is no URL, before any work is done."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ConfigError(f"pushgateway {url!r}: give a URL, for example http://127.0.0.1:9091")
