"""How a board that Grafana holds differs from the one that the code builds."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Final

from dashboards.render import to_text

GIVEN_BY_GRAFANA: Final = frozenset({"id", "version"})
"""Fields that Grafana sets when it stores a board; they say nothing about its content."""


def content_of(board: Mapping[str, Any]) -> dict[str, Any]:
    """Return a board without what Grafana gave it."""
    return {name: value for name, value in board.items() if name not in GIVEN_BY_GRAFANA}


def same_content(stored: Mapping[str, Any], built: Mapping[str, Any]) -> bool:
    """Say whether two boards show the same."""
    return content_of(stored) == content_of(built)


def difference(stored: Mapping[str, Any] | None, built: Mapping[str, Any], uid: str) -> str:
    """Return the unified difference of two boards' texts; empty when they show the same.

    Args:
        stored: what Grafana holds, None for a board that it does not have.
        built: what the code builds.
        uid: the board's, for the heads of the difference.
    """
    before = "" if stored is None else to_text(content_of(stored))
    return "".join(
        difflib.unified_diff(
            before.splitlines(keepends=True),
            to_text(content_of(built)).splitlines(keepends=True),
            "/dev/null" if stored is None else f"grafana/{uid}",
            f"built/{uid}",
        )
    )
