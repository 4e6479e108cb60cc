"""What stops the demo."""

from __future__ import annotations

from consistency.errors import SamescoreError


class DemoError(SamescoreError):
    """An act could not be played to its end; the message says which, why, and what to do."""
