"""The items that pytest collects, and how each ends."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import pytest

from consistency.errors import ConfigError
from consistency.jsontype import Json
from samescore.pytest_plugin.catalogue import Check, every_check
from samescore.pytest_plugin.configuring.configuration import read_settings, settings_from
from samescore.pytest_plugin.configuring.settings import Settings
from samescore.pytest_plugin.fresh import run_check, run_fresh
from samescore.pytest_plugin.telling.findings import Finding, Verdict

STRICT_OPTION: Final = "--samescore-strict"
SOURCE, WARNING, NOT_RUN = "samescore_source", "samescore_warning", "samescore_not_run"
"""Properties of a report that the terminal summary reads; they travel between xdist's processes."""


class ConfigFile(pytest.File):
    """A `samescore.toml`, or a `conftest.py` with the hook, as a collector of groups."""

    table: Json = None
    """What the hook returned; None for a TOML file."""

    def collect(self) -> Iterator[pytest.Collector]:
        """Yield the groups; a mistake in the configuration is an error of collecting."""
        try:
            settings = self._settings()
            checks = every_check(settings)
        except ConfigError as e:
            raise self.CollectError(str(e)) from e
        if self.config.getoption(STRICT_OPTION):
            settings = _strict(settings)
        for name in dict.fromkeys(c.group for c in checks):
            group: Group = Group.from_parent(self, name=name)
            group.settings, group.checks = settings, [c for c in checks if c.group == name]
            yield group

    def _settings(self) -> Settings:
        if self.table is None and self.path.suffix != ".py":
            return read_settings(self.path)
        return settings_from(self.path, self.table)


class Group(pytest.Collector):
    """The checks of one kind: ``laws``, ``golden``, ...

    Attributes:
        settings: the configuration.
        checks: one item each.
    """

    settings: Settings
    checks: Iterable[Check]

    def collect(self) -> Iterator[pytest.Item]:
        """Yield one item a check."""
        for check in self.checks:
            item: CheckItem = CheckItem.from_parent(self, name=check.item)
            item.check, item.settings = check, self.settings
            item.add_marker(pytest.mark.samescore)
            if check.left_out:
                item.add_marker(pytest.mark.skip(reason=f"left out: {check.left_out}"))
            yield item


class CheckItem(pytest.Item):
    """One check.

    Attributes:
        check: what is checked.
        settings: the configuration.
    """

    check: Check
    settings: Settings

    def runtest(self) -> None:
        """Carry out the check; whatever it finds is told without a traceback."""
        __tracebackhide__ = True
        check = self.check
        found = run_fresh(check, self.settings) if check.fresh else run_check(check)
        self._report(found)
        if found.verdict is Verdict.NOT_RUN and not self.settings.strict:
            self.user_properties.append((NOT_RUN, found.summary))
            pytest.skip(found.summary)
        if found.verdict is not Verdict.PASSED:
            if found.verdict is Verdict.NOT_RUN:
                found = Finding(found.verdict, f"could not run, and strict is set: {found.summary}")
            pytest.fail(found.text(reproducing_command(self)), pytrace=False)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Return where the check is asked for, and what it is called in a heading."""
        line = self.check.line - 1 if self.check.line else None
        return self.path, line, f"{self.check.group}::{self.name}"

    def _report(self, found: Finding) -> None:
        self.user_properties += [(name, value) for name, value in found.properties.items()]
        self.user_properties += [(WARNING, text) for text in found.warnings]
        if found.source:
            self.user_properties.append((SOURCE, found.source))
        told = [found.summary, *found.notes]
        if found.verdict is Verdict.PASSED:
            self.add_report_section("call", "samescore", "\n".join(told) + "\n")


def reproducing_command(item: pytest.Item) -> str:
    """Return the shell command that runs one item again, from the folder that pytest was run in."""
    config = item.config
    started = config.invocation_params.dir
    path, _, inner = item.nodeid.partition("::")
    place = os.path.relpath(config.rootpath / path, started)
    words = [*_pytest_words(), f"{place}::{inner}"]
    return shlex.join(words)


def _pytest_words() -> list[str]:
    """Return `pytest` where the shell finds the one that runs now, else the whole way to it."""
    found = shutil.which("pytest")
    here = Path(sys.executable).parent
    return ["pytest"] if found and Path(found).parent == here else [sys.executable, "-m", "pytest"]


def _strict(settings: Settings) -> Settings:
    from dataclasses import replace

    return replace(settings, strict=True)
