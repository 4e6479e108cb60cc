"""Prometheus rule files as typed values, and their YAML."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from monitors.metrics import Metric


class Severity(StrEnum):
    """How soon somebody has to look."""

    CRITICAL = "critical"
    """Now, at night too: requests fail, scores are wrong, or nothing is known."""
    WARNING = "warning"
    """In working hours."""
    INFO = "info"
    """When somebody comes by; it goes to no pager."""


@dataclass(frozen=True, slots=True)
class RecordingRule:
    """A series that Prometheus computes and stores.

    Attributes:
        record: its name, `level:metric:operations`.
        expr: PromQL.
    """

    record: str
    expr: str

    def to_dict(self) -> dict[str, Any]:  # Any: what YAML takes
        """Return the rule as Prometheus' file format has it."""
        return {"record": self.record, "expr": self.expr}


@dataclass(frozen=True, slots=True)
class AlertRule:
    """An alert.

    Attributes:
        name: in CamelCase.
        expr: PromQL; whatever it returns is an alert, one for each label set.
        for_seconds: how long it must hold before anybody hears of it.
        severity: becomes a label, by which Alertmanager routes.
        summary: one line; a Go template that may use `$labels` and `$value`.
        description: what is the case, with the values; a template too.
        runbook_url: the page that says what to do.
        dashboard_url: the board that shows it; a template too.
    """

    name: str
    expr: str
    for_seconds: int
    severity: Severity
    summary: str
    description: str
    runbook_url: str
    dashboard_url: str

    def to_dict(self) -> dict[str, Any]:  # Any: what YAML takes
        """Return the rule as Prometheus' file format has it."""
        return {
            "alert": self.name,
            "expr": self.expr,
            "for": duration(self.for_seconds),
            "labels": {"severity": self.severity.value},
            "annotations": {
                "summary": self.summary,
                "description": self.description,
                "runbook_url": self.runbook_url,
                "dashboard_url": self.dashboard_url,
            },
        }


@dataclass(frozen=True, slots=True)
class RuleGroup:
    """Rules that are evaluated in this order, at one moment.

    Attributes:
        name: unique in its file.
        recordings: come first, so that the alerts see them.
        alerts: the alerts.
    """

    name: str
    recordings: tuple[RecordingRule, ...]
    alerts: tuple[AlertRule, ...]

    def to_dict(self) -> dict[str, Any]:  # Any: what YAML takes
        """Return the group as Prometheus' file format has it."""
        recordings = [rule.to_dict() for rule in self.recordings]
        alerts = [rule.to_dict() for rule in self.alerts]
        return {"name": self.name, "rules": recordings + alerts}


_UNITS: Final = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))


def duration(seconds: int) -> str:
    """Return a time as Prometheus writes it, in the largest unit that keeps it whole.

    >>> [duration(s) for s in (0, 45, 90, 300, 172_800)]
    ['0s', '45s', '90s', '5m', '2d']

    Args:
        seconds: >= 0.
    """
    for unit, length in _UNITS:
        if seconds >= length and seconds % length == 0:
            return f"{seconds // length}{unit}"
    return "0s"


def selector(metric: Metric, *, suffix: str = "", **matchers: str) -> str:
    """Return the PromQL selector of a metric's series.

    >>> from monitors.metrics import STAGE_LATENCY
    >>> selector(STAGE_LATENCY, suffix="_count", job="eu", stage="total")
    'samescore_stage_latency_seconds_count{job="eu",stage="total"}'

    Args:
        metric: from the catalogue.
        suffix: `_bucket`, `_count` or `_sum` of a histogram.
        matchers: label values; one that begins with `=~`, `!~` or `!=` carries its own operator.
    """
    inner = ",".join(f"{label}{_matcher(value)}" for label, value in matchers.items())
    return f"{metric.name}{suffix}{{{inner}}}"


def _matcher(value: str) -> str:
    operator, text = "=", value
    for known in ("=~", "!~", "!="):
        if value.startswith(known):
            operator, text = known, value.removeprefix(known)
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'{operator}"{escaped}"'


def to_yaml(groups: tuple[RuleGroup, ...], head: str) -> str:
    """Return a rule file; the same groups give the same text.

    Args:
        groups: in the order of the file.
        head: its first line, a comment.
    """
    import yaml

    class Dumper(yaml.SafeDumper):
        """Writes text of several lines as a block, as a person would."""

    def block(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
        style = "|" if "\n" in text else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)

    Dumper.add_representer(str, block)
    body = {"groups": [group.to_dict() for group in groups]}
    text = yaml.dump(body, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=10_000)
    return f"# {head}\n{text}"
