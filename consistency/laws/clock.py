"""The law that features come from records alone, not from the hour at which they are computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

from consistency.laws.clock_scan import clock_uses
from consistency.laws.verdict import Law, LawNotRunError, LawViolation
from consistency.pipeline import BoundPipeline


@runtime_checkable
class ShowsFunctions(Protocol):
    """A pipeline that shows the functions it is made of, as those of `graph.py` do."""

    @property
    def functions(self) -> Sequence[Callable[..., Any]]:  # Any: columns
        """The functions, in the order in which they run."""
        ...


def check_no_clock(pipeline: BoundPipeline) -> None:
    """Check that no function of the pipeline reads a clock, by reading its code.

    For its limits see `clock_scan`; a clock that it cannot see shows in `check_pure` when its
    resolution is finer than the pause there.

    Raises:
        LawViolation: naming the function and the line.
        LawNotRunError: the pipeline does not show its functions, or they are not Python code.
    """
    if not isinstance(pipeline, ShowsFunctions):
        raise LawNotRunError(f"a {type(pipeline).__name__} does not show its functions")
    read = 0
    for function in pipeline.functions:
        uses = clock_uses(function)
        read += uses is not None
        if uses:
            name = getattr(function, "__qualname__", repr(function))
            raise LawViolation(Law.NO_CLOCK, f"function {name} reads the clock: {', '.join(uses)}")
    if not read:
        raise LawNotRunError("no function of the pipeline is Python code")
