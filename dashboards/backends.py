"""The overview's view of remote backends: who gets requests, how they end, who waits."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.models import dashboard

from dashboards import promql
from dashboards.board import Line
from dashboards.panels import Limit, Query, lines
from dashboards.promql import FLEET
from monitors import metrics

_BY: Final = ["backend"]
_ANY_IS_BAD: Final = (Limit(1e-9, "red"),)


def backends() -> tuple[Line, ...]:
    """Return the lines of the section on instances of remote backends."""
    return (
        Line(7, (_attempts(), _not_answered(), _retries(), _ejections())),
        Line(7, (_workers(), _in_flight(), _waiting(), _no_room())),
    )


def _attempts() -> dashboard.Panel:
    ended = promql.rate(metrics.BACKEND_ATTEMPTS, FLEET, by=["backend", "result"])
    return lines(
        "Requests to an instance",
        "Requests per second sent to each instance of a remote backend, by how they ended there.",
        "reqps",
        Query(ended, "{{backend}} {{result}}"),
        stacked=True,
    )


def _not_answered() -> dashboard.Panel:
    failed = promql.rate(metrics.BACKEND_ATTEMPTS, FLEET, promql.NOT_ANSWERED, by=_BY)
    everything = promql.rate(metrics.BACKEND_ATTEMPTS, FLEET, by=_BY)
    return lines(
        "Requests that an instance failed",
        "Share of the requests sent to an instance that were refused, lost, turned away, answered "
        "with an error or not in time.",
        "percentunit",
        Query(promql.share_of(failed, everything, on=_BY), "{{backend}}"),
    )


def _retries() -> dashboard.Panel:
    return lines(
        "Retries",
        "Requests per second that an instance certainly did not compute and another one got; the "
        "line is that of the first instance.",
        "reqps",
        Query(promql.rate(metrics.BACKEND_RETRIES, FLEET, by=_BY), "{{backend}}"),
    )


def _ejections() -> dashboard.Panel:
    return lines(
        "Ejections",
        "Ejections per second of an instance of a remote backend: a connection that was refused or "
        "broke, or several requests in a row without an answer in time.",
        "cps",
        Query(promql.rate(metrics.BACKEND_EJECTIONS, FLEET, by=_BY), "{{backend}}"),
        limits=_ANY_IS_BAD,
    )


def _workers() -> dashboard.Panel:
    return lines(
        "Workers that send to an instance",
        "Workers of all servers that send requests to an instance of a remote backend. It is "
        "ejected where it does not answer, until it has passed its golden gates again.",
        "none",
        Query(promql.total_value(metrics.BACKEND_WORKERS, FLEET, by=_BY), "{{backend}}"),
    )


def _in_flight() -> dashboard.Panel:
    return lines(
        "Requests in flight",
        "Requests that an instance has at this moment, from all workers of all servers.",
        "none",
        Query(promql.total_value(metrics.BACKEND_IN_FLIGHT, FLEET, by=_BY), "{{backend}}"),
    )


def _waiting() -> dashboard.Panel:
    return lines(
        "Requests that wait",
        "Requests that wait at this moment for an instance to have room, by server; how long they "
        "waited is the stage queue of the board of their model.",
        "none",
        Query(promql.total_value(metrics.BACKEND_WAITING, FLEET, by=["instance"]), "{{instance}}"),
    )


def _no_room() -> dashboard.Panel:
    return lines(
        "Gave up waiting",
        "Requests per second whose deadline passed before an instance had room; they end as "
        "timeouts.",
        "reqps",
        Query(promql.rate(metrics.BACKEND_NO_ROOM, FLEET, by=["instance"]), "{{instance}}"),
        limits=_ANY_IS_BAD,
    )
