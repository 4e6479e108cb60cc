"""The Prometheus page, letter by letter as upstream writes it, and the file that turns it on."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from serving.model_server.observing.metric_families import Family, Histogram, Labels
from serving.model_server.status import invalid
from serving.model_server.wire.text_protos import Fields, message_class, read_text_proto

DEFAULT_PATH: Final = "/monitoring/prometheus/metrics"

MONITORING_CONFIG: Final[Mapping[str, Fields]] = MappingProxyType(
    {
        "MonitoringConfig": {"prometheus_config": (1, "PrometheusConfig")},
        "PrometheusConfig": {"enable": (1, "bool"), "path": (2, "string")},
    }
)


def read_monitoring_path(file: Path) -> str | None:
    """Return where the page is to be, by a text `MonitoringConfig`; None: nowhere.

    Raises:
        StatusError: the file cannot be read or is no such message, or its path is no path.
    """
    kind = message_class("MonitoringConfig", MONITORING_CONFIG)
    # Its fields are made at run time, so no type knows them.
    config: object = getattr(read_text_proto(file, kind), "prometheus_config")  # noqa: B009
    if not getattr(config, "enable"):  # noqa: B009
        return None
    path = str(getattr(config, "path")) or DEFAULT_PATH  # noqa: B009
    if not re.fullmatch(r"/[!-~]*", path) or set(path) & set("?#"):
        raise invalid(
            f"'{file}': prometheus_config.path is {path!r}; write a path that starts with a slash"
        )
    return path


def page(families: Iterable[Family]) -> bytes:
    """Return the text of a page.

    >>> from serving.model_server.observing.metric_families import Counter
    >>> count = Counter("/tensorflow/serving/request_count", ("model_name", "status"))
    >>> count.add("half", "OK")
    >>> print(page([count]).decode(), end="")
    # TYPE :tensorflow:serving:request_count counter
    :tensorflow:serving:request_count{model_name="half",status="OK"} 1
    """
    lines = [line for family in families for line in _lines(family)]
    return ("\n".join(lines) + "\n").encode("utf-8", "replace")


def _lines(family: Family) -> Iterator[str]:
    name = prometheus_name(family.name)
    kind = type(family).__name__.lower()
    yield f"# TYPE {name} {kind}"
    if isinstance(family, Histogram):
        yield from _histogram_lines(name, family)
        return
    for values, number in sorted(family.cells().items()):
        yield f"{name}{{{_labels(family.label_names, values)}}} {number}"


def _histogram_lines(name: str, family: Histogram) -> Iterator[str]:
    limits = [*(f"{limit:g}" for limit in family.limits), "+Inf"]
    for values, found in sorted(family.cells().items()):
        labels = _labels(family.label_names, values)
        prefix = f"{labels}," if labels else ""
        count = 0
        for limit, more in zip(limits, found.counts, strict=True):
            count += more
            yield f'{name}_bucket{{{prefix}le="{limit}"}} {count}'
        total = repr(found.sum) if family.full_sums else f"{found.sum:g}"
        yield f"{name}_sum{{{labels}}} {total}"
        yield f"{name}_count{{{labels}}} {count}"


def prometheus_name(name: str) -> str:
    """Return a metric's name on the page.

    >>> prometheus_name("/tensorflow/serving/request_count")
    ':tensorflow:serving:request_count'
    """
    return re.sub(r"[^a-zA-Z0-9_]", ":", name)


def _labels(names: Labels, values: Labels) -> str:
    return ",".join(
        f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True)
    )


def _escaped(value: str) -> str:
    # Line ends too: upstream leaves them, and a client that sends one in a name breaks its page.
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
