"""How an alert is written: its name, addresses and texts, and what all alerts have in common."""

from __future__ import annotations

from typing import Final

from monitors.alerting.recordings import Recordings
from monitors.alerting.rows import RowsBehind
from monitors.alerting.rules import AlertRule, Severity, duration
from monitors.alerting.settings import AlertSettings

PREFIX: Final = "Samescore"

SERVABLE: Final = "{{ $labels.model }}/{{ $labels.version }}"
FEATURE_NAME: Final = "{{ $labels.feature }}"
SERVER: Final = "{{ $labels.instance }}"
PERCENT: Final = "{{ $value | humanizePercentage }}"
NUMBER: Final = '{{ $value | printf "%.0f" }}'
INDEX: Final = '{{ $value | printf "%.3f" }}'
AGE: Final = "{{ $value | humanizeDuration }}"

_VARIABLES: Final = ("instance", "model", "version")
"""The variables of the boards that are labels of alerts."""


class AlertWriter:
    """Writes the alerts of one job.

    Args:
        settings: see `AlertSettings`.

    Attributes:
        settings: as given.
        recorded: the recording rules that the alerts compare.
        window: the rate window as Prometheus writes it.
    """

    def __init__(self, settings: AlertSettings) -> None:
        self.settings = settings
        self.recorded = Recordings(settings)
        self.window = duration(settings.window_seconds)

    @property
    def lookback_seconds(self) -> int:
        """How long before it fires the requests of an alert on the rate window may have come."""
        return self.settings.window_seconds + self.settings.for_seconds

    def alert(
        self,
        name: str,
        severity: Severity,
        expr: str,
        summary: str,
        description: str,
        *,
        for_seconds: int | None = None,
        labels: tuple[tuple[str, str], ...] = (),
        rows: RowsBehind | None = None,
    ) -> AlertRule:
        """Return an alert; the board's address is set to the labels that its description names.

        Args:
            name: without the prefix.
            severity: see `Severity`.
            expr: PromQL.
            summary: a template, as the description is.
            description: see `AlertRule`.
            for_seconds: None for that of the settings.
            labels: beside the severity.
            rows: the logged requests behind it.
        """
        s, full = self.settings, f"{PREFIX}{name}"
        return AlertRule(
            name=full,
            expr=expr,
            for_seconds=s.for_seconds if for_seconds is None else for_seconds,
            severity=severity,
            summary=summary,
            description=description,
            runbook_url=f"{s.runbook_url.rstrip('/')}/{full}{s.runbook_suffix}",
            dashboard_url=_board(s.dashboard_url, description),
            labels=labels,
            rows=rows,
        )


def _board(url: str, description: str) -> str:
    """Return the board's address with its variables set to the labels that the alert speaks of."""
    named = [label for label in _VARIABLES if f"$labels.{label} " in description]
    chosen = "&".join(f"var-{label}={{{{ $labels.{label} | urlquery }}}}" for label in named)
    return f"{url}{'&' if '?' in url else '?'}{chosen}" if chosen else url


def percent(ratio: float) -> str:
    """Return a ratio as people read it.

    >>> percent(0.015)
    '1.5%'

    Args:
        ratio: 0 to 1.
    """
    return f"{100 * ratio:.4g}%"
