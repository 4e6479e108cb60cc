"""Every name that is measured, its unit, and its budget (design, section 6)."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from benchmarks.results import Budget, Result, Sense

_P99: Final = Budget(Sense.BELOW, 20)

MEASURED: Final[Mapping[str, tuple[str, Budget | None]]] = MappingProxyType(
    {
        "serving.added_p50_us": ("µs", Budget(Sense.AT_MOST, 80)),
        "serving.added_p50_same_call_us": ("µs", None),
        "serving.vs_bare_c1": ("×", None),
        "serving.vs_bare_c16": ("×", None),
        "serving.single_p99_ms": ("ms", _P99),
        "serving.single_p99_ms.lightgbm": ("ms", _P99),
        "serving.single_p99_ms.keras_float64": ("ms", _P99),
        "log.write_p99_us": ("µs", Budget(Sense.AT_MOST, 15)),
        "log.write_p50_us": ("µs", None),
        "log.write_serving_p99_us": ("µs", None),
        "log.write_serving_p50_us": ("µs", None),
        "replay.overhead_us_per_row": ("µs", Budget(Sense.AT_MOST, 10)),
        "replay.overhead_us_per_row.batched": ("µs", None),
        "replay.peak_mb_100k": ("MB", None),
        "replay.peak_mb_1m": ("MB", None),
        "pipeline.one_record_us": ("µs", None),
        "pipeline.million_rows_s": ("s", None),
        "monitors.online_mean_us": ("µs", Budget(Sense.AT_MOST, 5)),
        "guard.compiled_us_per_row": ("µs", None),
        "guard.vs_gx_one_row": ("×", Budget(Sense.AT_LEAST, 10_000)),
        "guard.batch_us_per_row": ("µs", None),
        "drift.memory_s": ("s", Budget(Sense.AT_MOST, 0.25)),
        "drift.parquet_s": ("s", Budget(Sense.AT_MOST, 1)),
        "drift.extra_mb": ("MB", Budget(Sense.AT_MOST, 50)),
        "drift.state_bytes_per_feature": ("B", Budget(Sense.AT_MOST, 200)),
        "drift_spark.engines_that_differ": ("", Budget(Sense.AT_MOST, 0)),
        "drift_spark.one_process_s": ("s", None),
        "drift_spark.two_processes_s": ("s", None),
        "drift_spark.spark_s": ("s", None),
        "drift_spark.driver_python_mb": ("MB", None),
        "drift_spark.driver_java_mb": ("MB", None),
        "alarms.false_a_month": ("1/month", Budget(Sense.AT_MOST, 1)),
        "alarms.power_in_a_day": ("%", Budget(Sense.AT_LEAST, 95)),
        "alarms.delay_days": ("days", None),
        "alarms.rolling_a_month": ("1/month", None),
        "model_server.sequential_rps": ("1/s", Budget(Sense.AT_LEAST, 2500)),
        "model_server.inflight16_rps": ("1/s", Budget(Sense.AT_LEAST, 5000)),
        "model_server.added_p50_us": ("µs", None),
        "model_server.tensor_decode_vs_copy": ("×", Budget(Sense.AT_MOST, 3)),
        "model_server.tensor_encode_vs_copy": ("×", Budget(Sense.AT_MOST, 3)),
        "model_server.tensor_decode_typed_vs_copy": ("×", None),
        "import.consistency_s": ("s", Budget(Sense.BELOW, 0.3)),
    }
)
"""Name to unit and budget, in the order in which they are shown."""


def measured(
    name: str,
    rounds: Sequence[float],
    *,
    peer: str | None = None,
    ratio: float | None = None,
    take: Callable[[Sequence[float]], float] = statistics.median,
) -> Result:
    """Return the median over rounds as the result of that name, with its spread.

    Args:
        name: one of `MEASURED`.
        rounds: one value a round, in the unit of the name.
        peer: what was measured beside it.
        ratio: ours over the peer's.
        take: what is taken of the rounds; a budget on the worst takes the worst.

    >>> measured("log.write_p50_us", [3.0, 5.0, 4.0]).value
    4.0
    """
    unit, budget = MEASURED[name]
    spread = (min(rounds), max(rounds))
    return Result(name, take(rounds), unit, budget, peer, ratio, spread)


def quantile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` of the values do not exceed.

    >>> quantile([4, 1, 3, 2], 0.5), quantile(range(1, 101), 0.99)
    (2, 99)
    """
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
