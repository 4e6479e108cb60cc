"""The law against clocks, and what its reading of code sees and does not see."""

from __future__ import annotations

import datetime as dt
import functools
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from consistency.graph import PipelineBuilder
from consistency.laws import Law, LawNotRunError, LawViolation, check_no_clock
from consistency.laws.clock_scan import clock_uses
from consistency.pipeline import BoundPipeline
from consistency.records import Column
from consistency.schema import Field, FieldType, RecordSchema
from consistency.state import FittedState

Floats = NDArray[np.float64]


def with_feature(function: Callable[..., Any]) -> BoundPipeline:
    """Return a pipeline of one feature."""
    flow = PipelineBuilder(RecordSchema((Field("x", FieldType.FLOAT64),)))
    flow.features("suspect")(function)
    return flow.build().bind(FittedState({}), {})


def _age(at: Column) -> Column:
    return time.time() * 1e6 - at


def _decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def around(x: Floats) -> Any:
        return function(x)

    return around


def module_time(x: Floats) -> Floats:
    return x + time.monotonic()


def module_datetime(x: Floats) -> Floats:
    return x + dt.datetime.now(tz=UTC).timestamp()


def class_utcnow(x: Floats) -> Floats:
    return x + datetime.now(UTC).hour


def class_today(x: Floats) -> Floats:
    return x + dt.date.today().day  # noqa: DTZ011


def imported_inside(x: Floats) -> Floats:
    from datetime import datetime as clock

    return x + clock.now(UTC).hour


def time_imported_inside(x: Floats) -> Floats:
    import time as t

    return x + t.time()


def numpy_now(x: Floats) -> Floats:
    return x + np.datetime64("now").astype(np.int64)


def in_a_comprehension(x: Floats) -> list[float]:
    return [v + time.time() for v in x]


def in_a_function_it_calls(at: Column) -> Column:
    return _age(at)


@_decorated
def decorated(x: Floats) -> Floats:
    return x + time.perf_counter_ns()


@pytest.mark.parametrize(
    "function",
    [
        module_time,
        module_datetime,
        class_utcnow,
        class_today,
        imported_inside,
        time_imported_inside,
        numpy_now,
        in_a_comprehension,
        in_a_function_it_calls,
        decorated,
        functools.partial(module_time),
    ],
)
def test_a_clock_is_found_in_the_code(function: Callable[..., Any]) -> None:
    uses = clock_uses(function)
    assert uses
    assert "test_laws_clock.py:" in uses[0]


def test_a_clock_in_a_pipeline_is_a_violation_that_names_function_and_line() -> None:
    with pytest.raises(LawViolation) as caught:
        check_no_clock(with_feature(module_time))
    assert caught.value.law is Law.NO_CLOCK
    assert "module_time reads the clock: monotonic (test_laws_clock.py:" in str(caught.value)


TODAY = 3.0


def honest_names(now: Floats, today: Floats) -> Floats:
    """Columns and constants may be called as they like."""
    return now + today + TODAY


def honest_times(at: Column) -> Column:
    moments = [datetime.fromtimestamp(t / 1e6, tz=UTC) for t in at.tolist()]
    return np.array([m.time().hour + m.today_is_fine for m in moments])  # type: ignore[attr-defined]


@pytest.mark.parametrize("function", [honest_names, honest_times, lambda x: x + 1.0])
def test_names_alone_are_no_clock(function: Callable[..., Any]) -> None:
    assert clock_uses(function) == []


@pytest.mark.parametrize("function", [np.sin, math.sin, len])
def test_code_that_cannot_be_read_is_not_called_clean(function: Callable[..., Any]) -> None:
    assert clock_uses(function) is None


def test_a_pipeline_of_compiled_functions_only_is_skipped() -> None:
    class Compiled:
        functions = (np.sin,)

    with pytest.raises(LawNotRunError, match="no function of the pipeline is Python code"):
        check_no_clock(Compiled())  # type: ignore[arg-type]
