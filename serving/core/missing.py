"""What to tell a client whose model is not there. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from consistency.errors import ModelNotFoundError
from serving.core.state import ManagerState, VersionStatus

LONGEST_CAUSE: Final = 300
"""Characters of an error that a client is shown; the status page has all of it."""

MOST_NAMES: Final = 20
"""Models that a hint lists."""

MOST_STATES: Final = 3
"""Versions whose state a hint tells."""


def not_found(
    name: str, version: int | None, statuses: Sequence[VersionStatus]
) -> ModelNotFoundError:
    """Return the error for a model or version that cannot be acquired.

    Args:
        name: the model that was asked for.
        version: None when the latest was asked for.
        statuses: of every version of every model, a model's newest version first.
    """
    own = [status for status in statuses if status.id.name == name]
    available = sorted(s.id.version for s in own if s.state is ManagerState.AVAILABLE)
    telling = [status for status in own if _is_telling(status, version)]
    hints = [_state(status) for status in telling[:MOST_STATES]]
    hints.append(_versions(name, available) if own else _models(statuses))
    return ModelNotFoundError(name, version, available, "; ".join(hints))


def _is_telling(status: VersionStatus, version: int | None) -> bool:
    """Tell if a state explains the absence of what was asked for."""
    if version is not None:
        return status.id.version == version
    return bool(status.error) or status.state is not ManagerState.END


def _state(status: VersionStatus) -> str:
    state = f"version {status.id.version} is in state {status.state}"
    cause = " ".join(status.error.split())
    if len(cause) > LONGEST_CAUSE:
        cause = f"{cause[:LONGEST_CAUSE]} …"
    return f"{state}: {cause}" if cause else state


def _versions(name: str, available: Sequence[int]) -> str:
    listed = ", ".join(map(str, available)) or "none"
    return f"available versions of {name!r}: {listed}"


def _models(statuses: Iterable[VersionStatus]) -> str:
    names = sorted({s.id.name for s in statuses if s.state is ManagerState.AVAILABLE})
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return "models served here: " + (", ".join(names[:MOST_NAMES]) + more or "none yet")
