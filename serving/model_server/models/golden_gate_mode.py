"""What a failing golden gate does. Light to import: flags name it."""

from __future__ import annotations

from enum import StrEnum


class GoldenGate(StrEnum):
    """What a failing golden gate does.

    enforce: the version does not become AVAILABLE. report: it does, and the report is logged.
    off: nobody asks, as upstream.
    """

    ENFORCE = "enforce"
    REPORT = "report"
    OFF = "off"
