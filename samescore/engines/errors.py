"""What engines raise."""

from __future__ import annotations

from consistency.errors import SamescoreError


class EngineError(SamescoreError):
    """An engine failed, not the work: a process died, Spark gave up, a machine sees another log."""
