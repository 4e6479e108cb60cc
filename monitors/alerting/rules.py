"""Prometheus rule files as typed values, and their YAML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from monitors.alerting.rows import RowsBehind
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
        labels: set on each of its series; they tell apart rules of one name.
    """

    record: str
    expr: str
    labels: tuple[tuple[str, str], ...] = ()

    def to_dict(self) -> dict[str, Any]:  # Any: what YAML takes
        """Return the rule as Prometheus' file format has it."""
        labels = {"labels": dict(self.labels)} if self.labels else {}
        return {"record": self.record, "expr": self.expr, **labels}


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
        labels: further labels, for alerts of one name that differ in them.
        rows: the logged requests behind it; None when there are none to be found in a log.
    """

    name: str
    expr: str
    for_seconds: int
    severity: Severity
    summary: str
    description: str
    runbook_url: str
    dashboard_url: str
    labels: tuple[tuple[str, str], ...] = ()
    rows: RowsBehind | None = None

    def to_dict(self) -> dict[str, Any]:  # Any: what YAML takes
        """Return the rule as Prometheus' file format has it."""
        return {
            "alert": self.name,
            "expr": self.expr,
            "for": duration(self.for_seconds),
            "labels": {"severity": self.severity.value, **dict(self.labels)},
            "annotations": {
                "summary": self.summary,
                "description": self.description,
                "runbook_url": self.runbook_url,
                "dashboard_url": self.dashboard_url,
                **({} if self.rows is None else {"requests": self._log_command(self.rows)}),
            },
        }

    def _log_command(self, rows: RowsBehind) -> str:
        """Return the command that prints the requests behind it while it fires; a template."""
        words = ["samescore log cat LOG", f"--alert {self.name}"]
        words += [f"--{name} '{{{{ $labels.{name} }}}}'" for name in rows.labels]
        words.append(f"--lookback {duration(rows.lookback_seconds)}")
        bound = rows.condition.slower_than_seconds
        return " ".join([*words, *([] if bound is None else [f"--slower-than {bound!r}"])])


@dataclass(frozen=True, slots=True)
class RuleGroup:
    """Rules that are evaluated in this order, at one moment.

    Attributes:
        name: unique in its file.
        recordings: come first, so that the alerts see them.
        alerts: the alerts.
        interval_seconds: between two evaluations; 0: as Prometheus' configuration says.
    """

    name: str
    recordings: tuple[RecordingRule, ...]
    alerts: tuple[AlertRule, ...]
    interval_seconds: int = 0

    def to_dict(self) -> dict[str, Any]:  # Any: what YAML takes
        """Return the group as Prometheus' file format has it."""
        recordings = [rule.to_dict() for rule in self.recordings]
        alerts = [rule.to_dict() for rule in self.alerts]
        every = {"interval": duration(self.interval_seconds)} if self.interval_seconds else {}
        return {"name": self.name, **every, "rules": recordings + alerts}


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


def selector(metric: Metric, *, suffix: str = "", **labels: str) -> str:
    """Return the PromQL selector of a metric's series.

    >>> from monitors.metrics import STAGE_LATENCY
    >>> selector(STAGE_LATENCY, suffix="_count", job="eu", stage="total")
    'samescore_stage_latency_seconds_count{job="eu",stage="total"}'

    Args:
        metric: from the catalogue.
        suffix: `_bucket`, `_count` or `_sum` of a histogram.
        labels: see `matchers`.
    """
    return f"{metric.name}{suffix}{matchers(labels)}"


def matchers(labels: Mapping[str, str]) -> str:
    """Return label matchers in braces.

    >>> matchers({"job": "eu", "outcome": "!=ok"})
    '{job="eu",outcome!="ok"}'

    Args:
        labels: values by name; one that begins with `=~`, `!~` or `!=` carries its own operator.
    """
    inner = ",".join(f"{label}{_matcher(value)}" for label, value in labels.items())
    return f"{{{inner}}}"


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
