"""What a run says at its end: what was not checked, what differs, and annotations for CI."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import pytest

from samescore.pytest_plugin.nodes import NOT_RUN, SOURCE, WARNING

_SHOWN: Final = 4_000
"""Characters of one annotation; GitHub cuts longer ones."""


def tell(reporter: pytest.TerminalReporter, reports: list[pytest.TestReport]) -> None:
    """Write the section and the annotations.

    Args:
        reporter: pytest's terminal.
        reports: of samescore's items.
    """
    told = list(_lines(reports))
    if told:
        reporter.section("samescore")
        for line in told:
            reporter.line(line)
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for line in github_commands(reports):
            reporter.line(line)


def _lines(reports: Iterable[pytest.TestReport]) -> Iterator[str]:
    for report in reports:
        for reason in _properties(report, NOT_RUN):
            yield f"NOT CHECKED {report.nodeid}: {reason}"
        if report.skipped and not _properties(report, NOT_RUN):
            yield f"NOT CHECKED {report.nodeid}: {_skip_reason(report)}"
        for text in _properties(report, WARNING):
            yield f"warning     {report.nodeid}: {text}"


def github_commands(reports: Iterable[pytest.TestReport]) -> Iterator[str]:
    """Yield GitHub's workflow commands: an error a failure, a warning for what was not checked.

    An error points at the line of the pipeline that makes the value, where that is known.
    """
    for report in reports:
        path, line, _ = report.location
        where = str(path), (line or 0) + 1
        for source in _properties(report, SOURCE):
            name, _, number = source.rpartition(":")
            where = name, int(number)
        if report.failed:
            yield _command("error", where, report.nodeid, report.longreprtext)
        elif report.skipped:
            reasons = _properties(report, NOT_RUN) or [_skip_reason(report)]
            yield _command("warning", where, report.nodeid, f"not checked: {reasons[0]}")
        for text in _properties(report, WARNING):
            yield _command("warning", where, report.nodeid, text)


def _command(kind: str, where: tuple[str, int], title: str, message: str) -> str:
    name, line = where
    path = Path(os.path.relpath(name, os.environ.get("GITHUB_WORKSPACE") or None))
    shown = message[:_SHOWN]
    place = f"file={_property(path.as_posix())},line={line},title={_property(title)}"
    return f"::{kind} {place}::{_data(shown)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _properties(report: pytest.TestReport, name: str) -> list[str]:
    return [str(value) for key, value in report.user_properties if key == name]


def _skip_reason(report: pytest.TestReport) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
    return text.removeprefix("Skipped: ")
