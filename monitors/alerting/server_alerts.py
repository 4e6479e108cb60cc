"""The alerts on servers: whether they are there, what they serve, what they lose."""

from __future__ import annotations

from consistency.scored import GateState
from monitors import metrics
from monitors.alerting.recordings import BACKEND, VERSION, commas
from monitors.alerting.rows import RowCondition, RowsBehind
from monitors.alerting.rules import AlertRule, Severity, duration
from monitors.alerting.writer import AGE, NUMBER, PERCENT, SERVABLE, SERVER, AlertWriter, percent


def on_presence(w: AlertWriter) -> tuple[AlertRule, ...]:
    """Return the alerts on servers and versions that are not there, or are in doubt."""
    r, job = w.recorded, w.settings.job
    build, gate = r.series(metrics.BUILD), r.series(metrics.SERVABLE_GATE)
    unverified = r.series(metrics.SERVABLE_GATE, gate=GateState.UNVERIFIED)
    return (
        w.alert(
            "MetricsAbsent", Severity.CRITICAL, f"absent({build})",
            f"No metrics of job {job}",
            f"Prometheus has no metrics of any server of the job {job}: none is up, none can "
            f"be reached, or the scrape configuration gives the job another name.",
        ),
        w.alert(
            "NothingServed", Severity.CRITICAL,
            f"group by (job, instance) ({build})\nunless on (job, instance)\n"
            f"group by (job, instance) ({gate})",
            f"{SERVER} serves no model",
            f"{SERVER} is up, but no version of any model is available on it.",
        ),
        w.alert(
            "GateUnverified", Severity.WARNING,
            f"max by ({commas(VERSION)}, decimals) ({unverified}) == 1",
            f"{SERVABLE} is served unverified",
            f"{SERVABLE} did not reproduce its golden scores to {{{{ $labels.decimals }}}} "
            f"decimals on the machine that serves it; --gate report let it go live.",
            rows=RowsBehind(RowCondition(gate=GateState.UNVERIFIED), w.lookback_seconds),
        ),
    )  # fmt: skip


def on_versions(w: AlertWriter) -> tuple[AlertRule, ...]:
    """Return the alerts on versions that are not what they should be: not loaded, or too old."""
    r, by, oldest = w.recorded, commas(VERSION), w.settings.model_age_seconds
    not_loaded = w.alert(
        "VersionNotAvailable", Severity.WARNING,
        f"max by ({by}) ({r.series(metrics.VERSION_LOAD_FAILED)}) == 1",
        f"{SERVABLE} could not be loaded",
        f"{SERVABLE} should be available and could not be loaded on at least one server: the "
        f"version before it serves in its place, or none.",
    )  # fmt: skip
    if not oldest:
        return (not_loaded,)
    stale = w.alert(
        "ModelStale", Severity.INFO,
        f"time() - max by (job, model) ({r.series(metrics.SERVABLE_CREATED)}) > {oldest}",
        "{{ $labels.model }} has not been renewed",
        f"The newest available version of {{{{ $labels.model }}}} was made {AGE} ago; it should be "
        f"renewed every {duration(oldest)}.",
    )  # fmt: skip
    return (not_loaded, stale)


def on_workers(w: AlertWriter) -> tuple[AlertRule, ...]:
    """Return the alert on missing workers; none when the settings name no number."""
    r, least = w.recorded, w.settings.workers
    if not least:
        return ()
    alert = w.alert(
        "WorkersMissing", Severity.WARNING, f"{r.series(metrics.WORKERS)} < {least}",
        f"{SERVER} has lost workers",
        f"{{{{ $value }}}} worker processes of {SERVER} are alive; there should be {least}.",
    )  # fmt: skip
    return (alert,)


def on_incidents(w: AlertWriter) -> tuple[AlertRule, ...]:
    """Return the alerts on what a server loses."""
    r, at = w.recorded, w.window
    drops = r.increase(("job", "instance"), metrics.LOG_DROPS)
    failures = r.increase(("job", "instance", "observer"), metrics.OBSERVER_FAILURES)
    return (
        w.alert(
            "LogDrops", Severity.CRITICAL, f"{drops} > 0",
            f"{SERVER} loses log lines",
            f"{SERVER} answered about {NUMBER} requests in the last {at} that are not in "
            f"its request log.",
            for_seconds=0,
        ),
        w.alert(
            "ObserverFailures", Severity.WARNING, f"{failures} > 0",
            f"{{{{ $labels.observer }}}} fails on {SERVER}",
            f"The observer {{{{ $labels.observer }}}} of {SERVER} failed about {NUMBER} "
            f"times in the last {at}; what it measures lacks those requests.",
            for_seconds=0,
        ),
    )  # fmt: skip


def on_rejections(w: AlertWriter) -> tuple[AlertRule, ...]:
    """Return the alert on requests that reached no servable; no other ratio has them."""
    r, s = w.recorded, w.settings
    came = " + on (job) ".join(
        r.increase(("job",), metric) for metric in (metrics.HTTP_REJECTIONS, metrics.REQUESTS)
    )
    alert = w.alert(
        "HttpRejections", Severity.WARNING,
        f"{r.rejected.record} > {s.rejection_ratio}\n"
        f"and on (job)\n{came} >= {s.min_requests}",
        "HTTP requests are refused: {{ $labels.reason }}",
        f"{PERCENT} of the HTTP requests to job {{{{ $labels.job }}}} in the last {w.window} were "
        f"refused before they reached a model (reason: {{{{ $labels.reason }}}}); "
        f"{percent(s.rejection_ratio)} may be. They are in no request log.",
    )  # fmt: skip
    return (alert,)


def on_backends(w: AlertWriter) -> tuple[AlertRule, ...]:
    """Return the alerts on instances of a remote backend; without one they have no series."""
    r, s = w.recorded, w.settings
    of_server = ("job", "instance", "backend")
    workers = r.series(metrics.BACKEND_WORKERS)
    ejected = w.alert(
        "BackendEjected", Severity.WARNING,
        f"max by ({commas(of_server)}) ({workers}) == 0",
        f"{SERVER} has given up on {{{{ $labels.backend }}}}",
        f"No worker of {SERVER} sends requests to the backend {{{{ $labels.backend }}}}: too many "
        f"of them failed, or its health check does. The other instances carry its load.",
    )  # fmt: skip
    failing = w.alert(
        "BackendFailing", Severity.WARNING,
        f"{r.not_answered.record} > {s.backend_failure_ratio}\n"
        f"and on ({commas(BACKEND)})\n{r.attempts.record} >= {s.min_requests}",
        "{{ $labels.backend }} fails requests",
        f"{PERCENT} of the requests that were sent to the backend {{{{ $labels.backend }}}} in the "
        f"last {w.window} were refused, lost, answered with an error or not in time; "
        f"{percent(s.backend_failure_ratio)} may be. Those that it had certainly not computed were "
        f"sent to another instance.",
    )  # fmt: skip
    return (ejected, failing)


def on_arrivals(w: AlertWriter) -> tuple[AlertRule, ...]:
    """Return the alert on requests that wait before any latency of theirs begins.

    While the requests themselves are slow, those behind them wait: that has its alert already.
    """
    r, s, by = w.recorded, w.settings, ("job", "instance")
    alert = w.alert(
        "ServerSaturated", Severity.WARNING,
        f"{r.late.record} > {s.queue_ratio}\n"
        f"unless on (job)\n{r.slow.record} > {s.slow_ratio}\n"
        f"and on ({commas(by)})\n{r.increase(by, metrics.REQUESTS)} >= {s.min_requests}",
        f"{SERVER} has more requests than it can look at",
        f"{PERCENT} of the requests that reached {SERVER} in the last {w.window} waited longer "
        f"than {s.queue_seconds} s before a worker looked at them; {percent(s.queue_ratio)} may. "
        f"No latency that the server measures has that time in it.",
    )  # fmt: skip
    return (alert,)
