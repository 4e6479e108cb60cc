"""The alert rules, built from the metric catalogue; nothing is read and no clock is looked at.

A ratio is no alert before enough requests are behind it. Data that are missing have alerts of their
own; no other expression answers in their place. Where logged requests are behind an alert, its
definition says which (`AlertRule.rows`).
"""

from __future__ import annotations

from monitors.alerting import job_alerts, model_alerts, server_alerts
from monitors.alerting.rules import RuleGroup
from monitors.alerting.settings import AlertSettings
from monitors.alerting.writer import PREFIX, AlertWriter

__all__ = ["PREFIX", "build_rules"]


def build_rules(settings: AlertSettings) -> tuple[RuleGroup, ...]:
    """Return the recording rules and the alerts, in groups.

    Args:
        settings: thresholds, times and addresses.
    """
    w = AlertWriter(settings)
    r = w.recorded
    servers = (
        *server_alerts.on_presence(w),
        *server_alerts.on_incidents(w),
        *server_alerts.on_rejections(w),
        *server_alerts.on_backends(w),
        *server_alerts.on_arrivals(w),
        *server_alerts.on_workers(w),
        *server_alerts.on_versions(w),
    )
    groups = (
        RuleGroup(
            "samescore-requests", (r.requests, r.slow, r.queued, r.failed, r.refused),
            model_alerts.on_requests(w),
        ),
        RuleGroup(
            "samescore-features", (r.rows, r.unseen, r.missing, r.violations),
            model_alerts.on_features(w),
        ),
        RuleGroup("samescore-scores", (), model_alerts.on_scores(w)),
        RuleGroup(
            "samescore-servers", (r.rejected, r.attempts, r.not_answered, r.late), servers
        ),
        RuleGroup("samescore-drift-job", (), job_alerts.on_drift_job(w)),
        RuleGroup("samescore-replays", (), job_alerts.on_replays(w)),
    )  # fmt: skip
    return tuple(group for group in groups if group.alerts)
