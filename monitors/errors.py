"""The one error of the monitors."""

from __future__ import annotations

from consistency.errors import SamescoreError


class MonitorError(SamescoreError):
    """A comparison cannot be made: nothing to compare, or data that do not fit the reference."""
