"""Laws of the surroundings: time zone, environment variables, working directory, locale.

These belong to the whole process and are restored afterwards: do not check them in a process that
serves or runs other threads.
"""

from __future__ import annotations

import contextlib
import locale
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from consistency.laws.verdict import Law, LawNotRunError, all_rows, expect_same, run
from consistency.pipeline import BoundPipeline
from consistency.records import Record

# POSIX names need no time zone database: 14 hours east, 12 west, 5:45 east, one with summer time.
ZONES: Final = ("AAA-14", "BBB+12", "CCC-5:45", "EST5EDT,M3.2.0,M11.1.0")

LOCALES: Final = ("de_DE.UTF-8", "tr_TR.UTF-8", "fr_FR.UTF-8", "hi_IN.UTF-8", "zh_CN.UTF-8")
"""Other decimal marks, groupings and letter cases than C has; the installed ones are tried."""


def check_environment_independent(pipeline: BoundPipeline, records: Sequence[Record]) -> None:
    """Check that time zone, environment variables and working directory change no bit.

    Limits: what a library read from the environment when it was imported stays as it is.

    Raises:
        LawViolation: naming the row, the feature and both values.
        LawNotRunError: this system has no `time.tzset`.
    """
    law = Law.ENVIRONMENT_INDEPENDENT
    if not hasattr(time, "tzset"):
        raise LawNotRunError("this system cannot change its time zone in a process; use Linux")
    expected = all_rows(law, pipeline, records)
    for zone in ZONES:
        with _time_zone(zone):
            got = run(law, pipeline, records, f"in time zone {zone}")
        expect_same(law, f"in time zone {zone}", expected, got, np.arange(len(records)))
    situation = "without environment variables, in another directory"
    with _bare_environment():
        got = run(law, pipeline, records, situation)
    expect_same(law, situation, expected, got, np.arange(len(records)))


def check_locale_independent(
    pipeline: BoundPipeline, records: Sequence[Record], *, locales: Sequence[str] = LOCALES
) -> None:
    """Check that the locale changes no bit.

    Args:
        pipeline: the pipeline, with its state and snapshots.
        records: valid raw records, N >= 1.
        locales: names to try; those that are not installed are left out.

    Raises:
        LawViolation: naming the row, the feature and both values.
        LawNotRunError: none of the locales is installed.
    """
    law = Law.LOCALE_INDEPENDENT
    expected = all_rows(law, pipeline, records)
    tried = 0
    for name in locales:
        with _locale(name) as installed:
            if not installed:
                continue
            got = run(law, pipeline, records, f"in locale {name}")
        tried += 1
        expect_same(law, f"in locale {name}", expected, got, np.arange(len(records)))
    if not tried:
        raise LawNotRunError(f"none of the locales {', '.join(locales)} is installed")


@contextlib.contextmanager
def _time_zone(name: str) -> Iterator[None]:
    before = os.environ.get("TZ")
    os.environ["TZ"] = name
    time.tzset()
    try:
        yield
    finally:
        if before is None:
            del os.environ["TZ"]
        else:
            os.environ["TZ"] = before
        time.tzset()


@contextlib.contextmanager
def _bare_environment() -> Iterator[None]:
    before = dict(os.environ)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        os.environ.clear()
        try:
            yield
        finally:
            os.environ.update(before)


@contextlib.contextmanager
def _locale(name: str) -> Iterator[bool]:
    """Set a locale; yields whether it is installed."""
    before = locale.setlocale(locale.LC_ALL)
    try:
        locale.setlocale(locale.LC_ALL, name)
    except locale.Error:
        yield False
        return
    try:
        yield True
    finally:
        locale.setlocale(locale.LC_ALL, before)
