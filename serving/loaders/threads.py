"""How many threads a model computes with when nobody says."""

from __future__ import annotations

import os


def cores() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0))
