"""The row that every board begins with: rate, errors, duration (the RED method)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from dashboards import promql
from dashboards.board import Line
from dashboards.panels import Query, lines
from dashboards.promql import Scope
from monitors import metrics

_SHOWN_BY_REQUEST: Final = 0.99
"""The quantile whose query asks for single requests too: all three would show the same ones."""


def rate_errors_duration(where: Scope, by: Sequence[str], *, reached: str, of_what: str) -> Line:
    """Return the row.

    Args:
        where: label matchers of the requests.
        by: labels that tell the lines of the first panel apart.
        reached: what the requests reached, in words.
        of_what: ends the description of the latency.
    """
    everything = promql.rate(metrics.REQUESTS, where)
    server = promql.rate(metrics.REQUESTS, where, promql.SERVER_ERRORS)
    data = promql.rate(metrics.REQUESTS, where, promql.DATA_ERRORS)
    return Line(
        8,
        (
            lines(
                "Requests by outcome",
                f"Requests per second that reached {reached}, by how they ended.",
                "reqps",
                Query(
                    promql.rate(metrics.REQUESTS, where, by=by),
                    " ".join(f"{{{{{label}}}}}" for label in by),
                    exemplars=True,
                ),
                stacked=True,
            ),
            lines(
                "Error ratio",
                "Share of the requests that ended in an error. Backend errors and timeouts are "
                "the server's; data errors (数据错误) are in what the client sent.",
                "percentunit",
                Query(promql.share_of(server, everything), "backend error or timeout"),
                Query(promql.share_of(data, everything), "data error"),
            ),
            lines(
                "Latency",
                f"Quantiles of the time from the received body to the log write{of_what}.",
                "s",
                *_quantiles(where),
            ),
        ),
    )


def _quantiles(where: Scope) -> Iterator[Query]:
    for q in (0.5, 0.9, _SHOWN_BY_REQUEST):
        expr = promql.quantile(q, metrics.STAGE_LATENCY, where, promql.TOTAL)
        yield Query(expr, f"p{100 * q:.0f}", exemplars=q == _SHOWN_BY_REQUEST)
