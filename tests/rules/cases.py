"""What the rules are tested with: a healthy server, what goes wrong with it, and who is told.

Times are minutes, which is how far apart the samples are. Sample values are in promtool's notation:
`0+60x30` starts at 0 and grows by 60, 30 times; `_x30` is no sample.
"""

from __future__ import annotations

from dataclasses import dataclass

from monitors import metrics
from monitors.alerting.settings import AlertSettings
from monitors.metrics import Metric, ScoreAnomaly

TWO_DAYS = 2880
SETTINGS = AlertSettings(workers=2, model_age_seconds=90 * 86_400, feature_psi=0.25)
NONE = "_"
TOO_FEW = ": too few to say"
"""How the name of a case ends in which all is wrong that can be, and hardly anybody came."""
SERVER = {"job": "samescore", "instance": "a:8501"}
VERSION = {"model": "m", "version": "3"}
ALERTED = {"job": "samescore", **VERSION}
FEATURE = {**VERSION, "feature": "city"}
SUITE = {"model": "m", "rule": "age_between", "action": "flag"}


@dataclass(frozen=True)
class Series:
    """One series of a server; of a scheduled job without `SERVER`."""

    metric: Metric
    labels: tuple[tuple[str, str], ...]
    suffix: str = ""

    def __str__(self) -> str:
        inner = ",".join(f'{name}="{value}"' for name, value in self.labels)
        return f"{self.metric.name}{self.suffix}{{{inner}}}"


def of(metric: Metric, suffix: str = "", **labels: str) -> Series:
    return Series(metric, tuple({**SERVER, **labels}.items()), suffix)


BUILD = of(metrics.BUILD, version="0.1.0", python="3.11.9")
VERIFIED = of(metrics.SERVABLE_GATE, **VERSION, gate="verified", decimals="10")
UNVERIFIED = of(metrics.SERVABLE_GATE, **VERSION, gate="unverified", decimals="10")
OK = of(metrics.REQUESTS, **VERSION, outcome="ok")
DATA_ERRORS = of(metrics.REQUESTS, **VERSION, outcome="data_error")
BACKEND_ERRORS = of(metrics.REQUESTS, **VERSION, outcome="backend_error")
TIMEOUTS = of(metrics.REQUESTS, **VERSION, outcome="timeout")
ROWS = of(metrics.ROWS, **VERSION, outcome="ok")
TIMED = of(metrics.STAGE_LATENCY, "_count", **VERSION, stage="total")
IN_TIME = of(metrics.STAGE_LATENCY, "_bucket", **VERSION, stage="total", le="0.2")
QUEUED = of(metrics.STAGE_LATENCY, "_count", **VERSION, stage="queue")
NOT_FOR_LONG = of(metrics.STAGE_LATENCY, "_bucket", **VERSION, stage="queue", le="0.1")
DROPS = of(metrics.LOG_DROPS)
OBSERVER = of(metrics.OBSERVER_FAILURES, observer="features")
NANS = of(metrics.SCORE_ANOMALIES, **VERSION, kind=ScoreAnomaly.NAN)
INFINITE = of(metrics.SCORE_ANOMALIES, **VERSION, kind=ScoreAnomaly.INFINITE)
OUTSIDE = of(metrics.SCORE_ANOMALIES, **VERSION, kind=ScoreAnomaly.OUT_OF_RANGE)
CONSTANT = of(metrics.SCORES_CONSTANT, **VERSION)
PSI = of(metrics.SCORE_PSI, **VERSION)
WINDOW = of(metrics.WINDOW_ROWS, **VERSION)
UNSEEN = of(metrics.FEATURE_UNSEEN, **FEATURE)
MISSING = of(metrics.FEATURE_MISSING, **FEATURE)
TRAINED_MISSING = of(metrics.FEATURE_REFERENCE_MISSING, **FEATURE)
VIOLATIONS = of(metrics.SUITE_VIOLATIONS, **SUITE)
WORKERS = of(metrics.WORKERS)
FEATURE_PSI = of(metrics.FEATURE_PSI, **FEATURE)
MALFORMED = of(metrics.HTTP_REJECTIONS, reason="malformed")
TOO_LARGE = of(metrics.HTTP_REJECTIONS, reason="too_large")
BACKEND = of(metrics.BACKEND_WORKERS, backend="grpc://b:8500")
ATTEMPTS = {
    result: of(metrics.BACKEND_ATTEMPTS, backend="grpc://b:8500", result=result)
    for result in ("ok", "timeout", "refused", "no_such_version")
}
ARRIVALS = of(metrics.ARRIVAL_WAIT, "_count")
AT_ONCE = of(metrics.ARRIVAL_WAIT, "_bucket", le="0.1")
CREATED = of(metrics.SERVABLE_CREATED, **VERSION)
LOAD_FAILED = of(metrics.VERSION_LOAD_FAILED, model="m", version="4")
DRIFTED = Series(metrics.DRIFT_DETECTED, tuple(VERSION.items()))
DRIFT_SUCCESS = Series(metrics.DRIFT_LAST_SUCCESS, tuple(VERSION.items()))
REPLAY_SUCCESS = Series(metrics.REPLAY_LAST_SUCCESS, tuple(VERSION.items()))
REPLAY_AGREES = Series(metrics.REPLAY_AGREES, tuple(VERSION.items()))

HEALTHY: dict[Series, str] = {
    BUILD: "1+0",
    VERIFIED: "1+0",
    OK: "0+60",
    DATA_ERRORS: "0+0",
    BACKEND_ERRORS: "0+0",
    TIMEOUTS: "0+0",
    ROWS: "0+60",
    TIMED: "0+60",
    IN_TIME: "0+60",
    QUEUED: "0+30",
    NOT_FOR_LONG: "0+30",
    DROPS: "0+0",
    OBSERVER: "0+0",
    NANS: "0+0",
    INFINITE: "0+0",
    OUTSIDE: "0+0",
    CONSTANT: "0+0",
    PSI: "0.02+0",
    WINDOW: "5000+0",
    UNSEEN: "0+0",
    MISSING: "0+30",
    TRAINED_MISSING: "0.5+0",
    VIOLATIONS: "0+0",
    WORKERS: "2+0",
    FEATURE_PSI: "0.02+0",
    MALFORMED: "0+0",
    TOO_LARGE: "0+0",
    BACKEND: "2+0",
    **dict.fromkeys(ATTEMPTS.values(), "0+0"),
    ATTEMPTS["ok"]: "0+60",
    ARRIVALS: "0+600",
    AT_ONCE: "0+600",
    CREATED: "0+0",
    DRIFTED: "0+0",
    DRIFT_SUCCESS: "0+60",
    REPLAY_SUCCESS: "0+60",
    REPLAY_AGREES: "1+0",
}


@dataclass(frozen=True)
class Firing:
    """An alert that must fire.

    Attributes:
        value: as its description shows it.
    """

    alert: str
    labels: dict[str, str]
    value: str = ""


@dataclass(frozen=True)
class Case:
    """One course of events.

    Attributes:
        changes: what differs from `HEALTHY`: start and step, or `NONE`; a text that holds an `x` is
            taken as it stands.
        about: the alert that it is about.
        firing: all that fires, and nothing else.
        at: the minute at which one looks.
    """

    name: str
    about: str
    changes: dict[Series, str]
    firing: tuple[Firing, ...] = ()
    at: int = 20

    def series(self) -> list[dict[str, str]]:
        """Return promtool's `input_series`."""
        values = {**HEALTHY, **self.changes}
        return [
            {"series": str(series), "values": text if "x" in text else f"{text}x{self.at + 1}"}
            for series, text in values.items()
        ]


def fires(
    name: str,
    alert: str,
    changes: dict[Series, str],
    labels: dict[str, str],
    value: str = "",
    at: int = 20,
) -> Case:
    return Case(name, alert, changes, (Firing(alert, labels, value),), at)


INSTANCE = {k: SERVER[k] for k in ("job", "instance")}
FEATURE_ALERTED = {"job": "samescore", **FEATURE}

CASES: tuple[Case, ...] = (
    # ------------------------------------------------------------------------------ requests
    fires("6 of 60 requests are slow", "SamescoreHighLatency", {IN_TIME: "0+54"}, ALERTED, "10%"),
    Case("2 of 60 requests are slow", "SamescoreHighLatency", {IN_TIME: "0+58"}),
    fires("6 of 60 requests are slow, and those behind them wait", "SamescoreHighLatency",
          {IN_TIME: "0+54", AT_ONCE: "0+300"}, ALERTED, "10%"),
    Case("all of 12 requests a minute are slow: too few to say", "SamescoreHighLatency",
         {OK: "0+12", ROWS: "0+12", MISSING: "0+6", TIMED: "0+12", IN_TIME: "0+0"}),
    Case("all are slow, for 4 minutes", "SamescoreHighLatency", {IN_TIME: "0+0"}, at=4),
    Case("all were slow, and it is over", "SamescoreHighLatency",
         {IN_TIME: "0+0x10 60+60x20"}, at=28),
    fires("6 of 60 requests wait for an instance", "SamescoreRequestsQueue",
          {NOT_FOR_LONG: "0+24"}, ALERTED, "10%"),
    Case("2 of 60 requests wait for an instance", "SamescoreRequestsQueue", {NOT_FOR_LONG: "0+28"}),
    Case("all of 12 requests a minute wait for one: too few to say", "SamescoreRequestsQueue",
         {OK: "0+12", ROWS: "0+12", MISSING: "0+6", TIMED: "0+12", IN_TIME: "0+12",
          QUEUED: "0+12", NOT_FOR_LONG: "0+0"}),
    fires("backend errors", "SamescoreHighErrorRatio", {BACKEND_ERRORS: "0+20", OK: "0+60"},
          ALERTED, "25%"),
    fires("timeouts", "SamescoreHighErrorRatio", {TIMEOUTS: "0+20"}, ALERTED, "25%"),
    Case("1 error in 200 requests", "SamescoreHighErrorRatio",
         {BACKEND_ERRORS: "0+1", OK: "0+199", ROWS: "0+199", MISSING: "0+99"}),
    Case("4 of 8 requests a minute fail: too few to say", "SamescoreHighErrorRatio",
         {BACKEND_ERRORS: "0+4", OK: "0+4", ROWS: "0+4", MISSING: "0+2"}),
    fires("data errors", "SamescoreHighDataErrorRatio", {DATA_ERRORS: "0+20"}, ALERTED, "25%"),
    Case("4 of 8 requests a minute are refused: too few to say", "SamescoreHighDataErrorRatio",
         {DATA_ERRORS: "0+4", OK: "0+4", ROWS: "0+4", MISSING: "0+2", TIMED: "0+8",
          IN_TIME: "0+8"}),
    Case("2 data errors in 62 requests", "SamescoreHighDataErrorRatio", {DATA_ERRORS: "0+2"}),
    Case("no request at all", "SamescoreHighErrorRatio",
         {OK: "0+0", ROWS: "0+0", TIMED: "0+0", IN_TIME: "0+0", MISSING: "0+0"}),
    # ------------------------------------------------------------------------------ features
    fires("6 of 60 rows hold an unseen category", "SamescoreUnseenCategories", {UNSEEN: "0+6"},
          FEATURE_ALERTED, "10%"),
    Case("2 of 60 rows hold an unseen category", "SamescoreUnseenCategories", {UNSEEN: "0+2"}),
    Case("6 of 12 rows a minute hold one: too few to say", "SamescoreUnseenCategories",
         {ROWS: "0+12", MISSING: "0+6", UNSEEN: "0+6"}),
    fires("a value that half of the training rows lack is missing in 3 of 4 rows",
          "SamescoreMissingValues", {MISSING: "0+45"}, FEATURE_ALERTED, "25%"),
    Case("a value is missing as often as in training", "SamescoreMissingValues", {}),
    Case("6 of 12 rows a minute lack a value that training had: too few to say",
         "SamescoreMissingValues", {ROWS: "0+12", MISSING: "0+6", TRAINED_MISSING: "0+0"}),
    fires("3 of 60 rows break a rule", "SamescoreSuiteViolations", {VIOLATIONS: "0+3"},
          {"job": "samescore", **SUITE}, "5%"),
    Case("a rule is never broken", "SamescoreSuiteViolations", {}),
    Case("6 of 12 rows a minute break a rule: too few to say", "SamescoreSuiteViolations",
         {ROWS: "0+12", MISSING: "0+6", VIOLATIONS: "0+6"}),
    fires("a feature has shifted", "SamescoreFeaturePsiHigh", {FEATURE_PSI: "0.4+0"},
          FEATURE_ALERTED, "0.400"),
    Case("a feature has shifted a little", "SamescoreFeaturePsiHigh", {FEATURE_PSI: "0.2+0"}),
    Case("a feature of 200 rows has shifted: too few to say", "SamescoreFeaturePsiHigh",
         {FEATURE_PSI: "0.4+0", WINDOW: "200+0"}),
    # -------------------------------------------------------------------------------- scores
    fires("the scores have shifted", "SamescoreScorePsiHigh", {PSI: "0.4+0"}, ALERTED, "0.400"),
    Case("the scores have shifted a little", "SamescoreScorePsiHigh", {PSI: "0.2+0"}),
    Case("the scores of 200 rows have shifted: too few to say", "SamescoreScorePsiHigh",
         {PSI: "0.4+0", WINDOW: "200+0"}),
    Case("no index yet", "SamescoreScorePsiHigh", {PSI: "NaN+0"}),
    fires("one and the same score", "SamescoreScoresConstant", {CONSTANT: "1+0"}, ALERTED),
    Case("one and the same score of 200 rows", "SamescoreScoresConstant",
         {CONSTANT: "1+0", WINDOW: "200+0"}),
    fires("a score is NaN", "SamescoreScoreAnomalies", {NANS: "0x17 4x4"},
          {**ALERTED, "kind": "nan"}, "4"),
    fires("a score is infinite", "SamescoreScoreAnomalies", {INFINITE: "0x17 4x4"},
          {**ALERTED, "kind": "infinite"}, "4"),
    Case("a score outside the range of the reference", "SamescoreScoreAnomalies", {OUTSIDE: "0+9"}),
    Case("a score was NaN 10 minutes ago", "SamescoreScoreAnomalies", {NANS: "0x9 4x12"}),
    # ------------------------------------------------------------------------------- servers
    fires("no server answers", "SamescoreMetricsAbsent", {BUILD: NONE}, {"job": "samescore"}),
    Case("the server answers again", "SamescoreMetricsAbsent", {BUILD: "_x10 1x11"}),
    fires("a server without a model", "SamescoreNothingServed", {VERIFIED: NONE}, INSTANCE),
    Case("a model is loaded after 4 minutes", "SamescoreNothingServed", {VERIFIED: "_x4 1x17"}),
    fires("a version is served unverified", "SamescoreGateUnverified",
          {VERIFIED: NONE, UNVERIFIED: "1+0"}, {**ALERTED, "decimals": "10"}),
    Case("a version is served verified", "SamescoreGateUnverified", {}),
    fires("one of two workers is gone", "SamescoreWorkersMissing", {WORKERS: "1+0"}, SERVER, "1"),
    Case("both workers are there", "SamescoreWorkersMissing", {}),
    fires("log lines are lost", "SamescoreLogDrops", {DROPS: "0x17 4x4"}, INSTANCE, "4"),
    Case("log lines were lost 10 minutes ago", "SamescoreLogDrops", {DROPS: "0x9 4x12"}),
    fires("an observer fails", "SamescoreObserverFailures", {OBSERVER: "0x17 4x4"},
          {**INSTANCE, "observer": "features"}, "4"),
    Case("an observer failed 10 minutes ago", "SamescoreObserverFailures", {OBSERVER: "0x9 4x12"}),
    fires("10 of 70 HTTP requests are malformed", "SamescoreHttpRejections", {MALFORMED: "0+10"},
          {"job": "samescore", "reason": "malformed"}, "14.29%"),
    Case("2 of 62 HTTP requests are too large", "SamescoreHttpRejections", {TOO_LARGE: "0+2"}),
    Case("8 of 14 HTTP requests a minute are too large: too few to say", "SamescoreHttpRejections",
         {TOO_LARGE: "0+8", OK: "0+6", ROWS: "0+6", MISSING: "0+3", TIMED: "0+6", IN_TIME: "0+6"}),
    fires("no worker sends to a backend", "SamescoreBackendEjected", {BACKEND: "0+0"},
          {**INSTANCE, "backend": "grpc://b:8500"}),
    Case("one of two workers sends to a backend", "SamescoreBackendEjected", {BACKEND: "1+0"}),
    Case("a backend is back after 4 minutes", "SamescoreBackendEjected", {BACKEND: "0x4 2x17"}),
    fires("10 of 70 requests to an instance are refused", "SamescoreBackendFailing",
          {ATTEMPTS["refused"]: "0+10"}, {"job": "samescore", "backend": "grpc://b:8500"},
          "14.29%"),
    fires("20 of 80 requests to an instance are not answered in time", "SamescoreBackendFailing",
          {ATTEMPTS["timeout"]: "0+20"}, {"job": "samescore", "backend": "grpc://b:8500"}, "25%"),
    Case("2 of 62 requests to an instance are refused", "SamescoreBackendFailing",
         {ATTEMPTS["refused"]: "0+2"}),
    Case("an instance has unloaded a version", "SamescoreBackendFailing",
         {ATTEMPTS["no_such_version"]: "0+20"}),
    Case("all of 15 requests a minute to an instance are refused: too few to say",
         "SamescoreBackendFailing", {ATTEMPTS["ok"]: "0+0", ATTEMPTS["refused"]: "0+15"}),
    fires("1 of 10 arrivals waits too long", "SamescoreServerSaturated", {AT_ONCE: "0+540"},
          INSTANCE, "10%"),
    Case("1 of 50 arrivals waits too long", "SamescoreServerSaturated", {AT_ONCE: "0+588"}),
    Case("they wait on a server with 12 requests a minute: too few to say",
         "SamescoreServerSaturated",
         {AT_ONCE: "0+300", OK: "0+12", ROWS: "0+12", MISSING: "0+6", TIMED: "0+12",
          IN_TIME: "0+12"}),
    Case("arrivals waited, and it is over", "SamescoreServerSaturated",
         {AT_ONCE: "0+0x10 600+600x20"}, at=28),
    fires("a version could not be loaded", "SamescoreVersionNotAvailable", {LOAD_FAILED: "1+0"},
          {**ALERTED, "version": "4"}),
    Case("a version was mended after 4 minutes", "SamescoreVersionNotAvailable",
         {LOAD_FAILED: "1x4 _x17"}),
    fires("the newest version is 90 days and 10 minutes old", "SamescoreModelStale",
          {CREATED: "-7775400+0"}, {"job": "samescore", "model": "m"}, "90d 0h 10m 0s"),
    Case("an old version is served beside a new one", "SamescoreModelStale",
         {CREATED: "-7775400+0", of(metrics.SERVABLE_CREATED, model="m", version="4"): "0+0"}),
    # ----------------------------------------------------------------------------- drift job
    fires("the last window has drifted", "SamescoreDriftDetected", {DRIFTED: "1+0"}, VERSION),
    Case("the next window has not", "SamescoreDriftDetected", {DRIFTED: "1x10 0x11"}),
    fires("the last verdict is two days and ten minutes old", "SamescoreDriftJobMissed",
          {DRIFT_SUCCESS: "0+0"}, {"model": "m"}, "2d 0h 10m 0s", at=TWO_DAYS + 10),
    Case("the last verdict is a day and a half old", "SamescoreDriftJobMissed",
         {DRIFT_SUCCESS: "0+0"}, at=TWO_DAYS - 720),
    fires("no drift job reports for two days", "SamescoreDriftMetricsAbsent",
          {DRIFT_SUCCESS: NONE}, {}, at=TWO_DAYS + 10),
    Case("no drift job reports for a day", "SamescoreDriftMetricsAbsent", {DRIFT_SUCCESS: NONE},
         at=TWO_DAYS // 2),
    # ------------------------------------------------------------------------------- replays
    fires("a replay differs", "SamescoreReplayDiffers", {REPLAY_AGREES: "0+0"}, VERSION),
    Case("the next replay agrees", "SamescoreReplayDiffers", {REPLAY_AGREES: "0x10 1x11"}),
    Case("no replay is scheduled", "SamescoreReplayDiffers", {REPLAY_AGREES: NONE}),
    fires("the last replay is two days and ten minutes old", "SamescoreReplayMissed",
          {REPLAY_SUCCESS: "0+0"}, {"model": "m"}, "2d 0h 10m 0s", at=TWO_DAYS + 10),
    Case("the last replay is a day and a half old", "SamescoreReplayMissed",
         {REPLAY_SUCCESS: "0+0"}, at=TWO_DAYS - 720),
)  # fmt: skip
