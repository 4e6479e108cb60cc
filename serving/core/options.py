"""How a manager loads versions, and what it knows of each."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeAlias, TypeVar

from serving.core.handle import Loaded
from serving.core.loader import Loader
from serving.core.policy import TransitionPolicy, availability_preserving
from serving.core.resources import MemoryLimit
from serving.core.source import FoundVersion
from serving.core.state import VersionStatus

T = TypeVar("T")

Described: TypeAlias = tuple[int, str]
"""What is kept of an error: a code and a text."""


@dataclass(frozen=True, slots=True)
class ManagerOptions:
    """How versions are loaded.

    Attributes:
        transition: what to do next to get from what is loaded to what is aspired.
        memory: the bound on all models together.
        max_retries: further attempts after a load that failed.
        retry_seconds: the pause before each.
        forgives: a failed version that is no longer aspired, and then is again, is tried again.
            Without that it also takes other files.
        describe: what is kept of an error; None where the manager's own words will do.
        is_final: whether a load that failed so is not tried again.
    """

    transition: TransitionPolicy = availability_preserving
    memory: MemoryLimit = MemoryLimit()  # noqa: RUF009 - frozen
    max_retries: int = 0
    retry_seconds: float = 60.0
    forgives: bool = False
    describe: Callable[[BaseException], Described | None] = lambda _: None
    is_final: Callable[[BaseException], bool] = lambda _: False


DEFAULT_OPTIONS: Final = ManagerOptions()


@dataclass(slots=True)
class Version(Generic[T]):
    """What the manager knows of a version; changed under its lock.

    Attributes:
        load_failed: it is at its END for that reason, and stays there until its token changes.
        loader: set together with `loaded`, while there is something to unload.
        unwanted: set when it stopped being aspired during its load: no further attempts.
    """

    status: VersionStatus
    found: FoundVersion
    load_failed: bool = False
    loader: Loader[T] | None = None
    loaded: Loaded[T] | None = None
    unwanted: threading.Event = field(default_factory=threading.Event)
