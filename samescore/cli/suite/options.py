"""The option `--suite`, and what is said of a suite that guards requests."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click

from consistency.protocols import Guard
from monitors.suites import SuiteGuard
from samescore.suites import SuiteLocation

F = TypeVar("F", bound=Callable[..., Any])  # Any: click's decorators take any command


class _NamedSuite(click.ParamType[SuiteLocation]):
    """`MODEL=suite.json`."""

    name = "model=file"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> SuiteLocation:
        """Split the text."""
        model, equals, path = str(value).partition("=")
        if not (model and equals and path):
            self.fail(f"{value!r}: write it as MODEL=suite.json", param, ctx)
        return SuiteLocation(model, Path(path))


def suite_option(function: F) -> F:
    """Add `--suite MODEL=suite.json`, repeatable."""
    return click.option(
        "--suite",
        "suites",
        multiple=True,
        type=_NamedSuite(),
        metavar="MODEL=FILE",
        help="The expectation suite of a model's raw records; repeat for several models.",
    )(function)


def tell_left_out(guards: Iterable[Guard]) -> None:
    """Say on standard error which expectations do not guard requests."""
    for guard in guards:
        if not isinstance(guard, SuiteGuard):
            continue
        for left in guard.suite.left_out:
            click.echo(
                f"suite of {guard.model}: {left.kind} {left.column} is not run on requests: "
                f"{left.reason}",
                err=True,
            )
