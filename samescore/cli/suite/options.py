"""The option `--suite`, and what is said of a suite that guards requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
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
    """Say on standard error which expectations do not guard requests, or how many and why."""
    for guard in guards:
        if not isinstance(guard, SuiteGuard):
            continue
        alike = Counter(left.reason for left in guard.suite.left_out)
        which = {left.reason: f"{left.kind} {left.column} is" for left in guard.suite.left_out}
        for reason, count in alike.items():
            what = which[reason] if count == 1 else f"{count} expectations are"
            more = "" if count == 1 else "; samescore suite show names them"
            click.echo(
                f"suite of {guard.model}: {what} not run on requests: {reason}{more}", err=True
            )


def tell_without_model(guards: Iterable[Guard], models: Collection[str]) -> None:
    """Say on standard error which suites guard a model that is not there, perhaps misspelt."""
    for guard in guards:
        if isinstance(guard, SuiteGuard) and guard.model not in models:
            click.echo(
                f"suite of {guard.model}: there is no such model (there is "
                f"{', '.join(sorted(models)) or 'none'}); it guards nothing until there is",
                err=True,
            )
