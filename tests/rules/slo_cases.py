"""What the rules of an SLO file are tested with: long courses of events, and who is told.

Samples are a minute apart, which is how often the rules say that they are evaluated; the window of
the objectives is 30 days, so that the windows are those of the Workbook.
"""

from __future__ import annotations

from monitors import metrics
from monitors.slo.file import parse_slo
from tests.rules.cases import (
    BACKEND_ERRORS,
    DATA_ERRORS,
    IN_TIME,
    OK,
    REPLAY_SUCCESS,
    TIMED,
    TIMEOUTS,
    VERSION,
    Case,
    Firing,
    Series,
)

SLO_FILE = """
window = "30d"

[models.m]
availability = { objective = 0.999 }
latency = { objective = 0.99, latency_seconds = 0.2 }
data_quality = { objective = 0.95 }
parity = { objective = 0.999, period = "3h" }
"""
SLO = parse_slo(SLO_FILE, "slo.toml")
AVAILABILITY, LATENCY = "SamescoreAvailabilityBudgetBurn", "SamescoreLatencyBudgetBurn"
DATA_QUALITY, PARITY = "SamescoreDataQualityBudgetBurn", "SamescoreParityBudgetBurn"
UNMEASURED = "SamescoreParityUnmeasured"

REPLAY_ROWS = Series(metrics.REPLAY_ROWS, tuple(VERSION.items()))
DIFFERING = Series(metrics.REPLAY_DIFFERING_ROWS, (*VERSION.items(), ("stage", "scores")))
OLD = {"model": "m", "version": "2"}
OLD_ROWS = Series(metrics.REPLAY_ROWS, tuple(OLD.items()))
OLD_DIFFERING = Series(metrics.REPLAY_DIFFERING_ROWS, (*OLD.items(), ("stage", "scores")))
OLD_SUCCESS = Series(metrics.REPLAY_LAST_SUCCESS, tuple(OLD.items()))

HEALTHY: dict[Series, str] = {
    OK: "0+1000",
    DATA_ERRORS: "0+0",
    BACKEND_ERRORS: "0+0",
    TIMEOUTS: "0+0",
    TIMED: "0+1000",
    IN_TIME: "0+1000",
    REPLAY_SUCCESS: "0+60",
    REPLAY_ROWS: "10000+0",
    DIFFERING: "0+0",
}
_WINDOWS = {"1h": "5m", "6h": "30m", "1d": "2h", "3d": "6h"}
_HOUR, _TWO_PERIODS = 60, 360


def burns(alert: str, value: str, *long_windows: str) -> tuple[Firing, ...]:
    """Return what fires of an alert: one for each long window, all with the same value."""
    job = {} if alert == PARITY else {"job": "samescore"}
    return tuple(
        Firing(alert, {**job, "model": "m", "long_window": w, "short_window": _WINDOWS[w]}, value)
        for w in long_windows
    )


def quiet(requests: str) -> dict[Series, str]:
    """Return a server with another number of requests."""
    return {OK: requests, TIMED: requests, IN_TIME: requests}


SLO_CASES: tuple[Case, ...] = (
    # -------------------------------------------------------------------------- availability
    Case("2% fail, for an hour and a half", AVAILABILITY,
         {BACKEND_ERRORS: "0+20", OK: "0+980"}, burns(AVAILABILITY, "2%", "1h", "6h", "1d"), 90),
    Case("2% time out, ever since there are samples", AVAILABILITY,
         {TIMEOUTS: "0+20", OK: "0+980"},
         burns(AVAILABILITY, "2%", "1h", "6h", "1d", "3d"), 4 * _HOUR),
    Case("after 6 healthy hours 5% fail for 40 minutes: one page", AVAILABILITY,
         {BACKEND_ERRORS: "0x360 0+50x41"}, burns(AVAILABILITY, "2.944%", "1h"), 400),
    Case("1% fails: only the slower page, and a ticket", AVAILABILITY,
         {BACKEND_ERRORS: "0+10", OK: "0+990"},
         burns(AVAILABILITY, "1%", "6h", "1d"), 2 * _HOUR),
    Case("0.4% fail: tickets and no page", AVAILABILITY,
         {BACKEND_ERRORS: "0+4", OK: "0+996"}, burns(AVAILABILITY, "0.4%", "1d", "3d"), 4 * _HOUR),
    Case("0.05% fail: as was promised", AVAILABILITY,
         {BACKEND_ERRORS: "0+1", OK: "0+1999"}, (), 4 * _HOUR),
    Case("half an hour of failures is over for 40 minutes", AVAILABILITY,
         {BACKEND_ERRORS: "0x60 0+20x30 600+0x41", OK: "0+980"}, (), 131),
    Case("everything fails, for one minute", AVAILABILITY,
         {BACKEND_ERRORS: "0x89 0+1000x2", OK: "0+1000x89 89000+0x2"}, (), 91),
    Case("half of 90 requests an hour fail: too few to say", AVAILABILITY,
         {**quiet("0+0.75"), BACKEND_ERRORS: "0+0.75"}, (), 61),
    Case("4 of 120 requests an hour fail: too few failures to wake anybody", AVAILABILITY,
         {**quiet("0+2"), BACKEND_ERRORS: "0x20 1x10 2x10 3x10 4x10"}, (), 60),
    Case("no request", AVAILABILITY, quiet("0+0"), (), 90),
    # ------------------------------------------------------------------------------- latency
    Case("20% are slow, for an hour and a half", LATENCY, {IN_TIME: "0+800"},
         burns(LATENCY, "20%", "1h", "6h", "1d"), 90),
    Case("half of 90 requests an hour are slow: too few to say", LATENCY,
         {**quiet("0+1.5"), IN_TIME: "0+0.75"}, (), 61),
    Case("0.5% are slow", LATENCY, {IN_TIME: "0+995"}, (), 4 * _HOUR),
    # -------------------------------------------------------------------------- data quality
    Case("80% are refused for an hour and a half", DATA_QUALITY,
         {DATA_ERRORS: "0+800", OK: "0+200"}, burns(DATA_QUALITY, "80%", "1h", "6h", "1d"), 90),
    Case("45 of 90 requests an hour are refused: too few to say", DATA_QUALITY,
         {**quiet("0+0.75"), DATA_ERRORS: "0+0.75"}, (), 61),
    Case("3% are refused", DATA_QUALITY, {DATA_ERRORS: "0+30", OK: "0+970"}, (), 4 * _HOUR),
    # -------------------------------------------------------------------------------- parity
    Case("a replay finds that 2% of the rows differ", PARITY, {DIFFERING: "200+0"},
         burns(PARITY, "2%", "1h", "6h"), 30),
    Case("a replay finds one row in 10,000", PARITY, {DIFFERING: "1+0"}, (), 4 * _HOUR),
    Case("a replay of 50 rows finds one: too few to say", PARITY,
         {DIFFERING: "1+0", REPLAY_ROWS: "50+0"}, (), 30),
    Case("the next replay agrees", PARITY, {DIFFERING: "0x60 200x30 0x21"}, (), 111),
    Case("a version that was retired three days ago had differed", PARITY,
         {OLD_SUCCESS: "-259200+0", OLD_ROWS: "10000+0", OLD_DIFFERING: "9000+0"}, (), 30),
    Case("no replay has ever reported", UNMEASURED,
         dict.fromkeys((REPLAY_SUCCESS, REPLAY_ROWS, DIFFERING), "_"),
         (Firing(UNMEASURED, {"model": "m", "reason": "never"}),), _TWO_PERIODS + 10),
    Case("no replay has reported for a period and a half", UNMEASURED,
         dict.fromkeys((REPLAY_SUCCESS, REPLAY_ROWS, DIFFERING), "_"), (), _TWO_PERIODS - 90),
    Case("the last replay is two periods and ten minutes old", UNMEASURED, {REPLAY_SUCCESS: "0+0"},
         (Firing(UNMEASURED, {"model": "m", "reason": "late"}, "6h 10m 0s"),), _TWO_PERIODS + 10),
)  # fmt: skip
"""The counts are a minute's: 1000 requests a minute unless a case says otherwise."""
