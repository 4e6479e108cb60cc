"""Which versions are aspired, and what to do next to get there. Pure: no I/O, no clock, no state.

The two transition policies are TF Serving's (tensorflow/serving
`core/availability_preserving_policy.cc`, `core/resource_preserving_policy.cc`): one keeps a version
of each model served as long as any can be, the other never holds two when it can hold one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from consistency.errors import ConfigError
from serving.core.state import ManagerState, VersionStatus


class VersionPolicy(Protocol):
    """Chooses among the versions that a source has found."""

    def aspired(self, found: Collection[int]) -> frozenset[int]:
        """Return the versions that should be served, each of them one of `found`."""
        ...


@dataclass(frozen=True, slots=True)
class LatestVersions:
    """Aspires to the `count` largest versions.

    Raises:
        ConfigError: the count is not positive.
    """

    count: int = 1

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ConfigError(
                f"version policy latest:{self.count}: the number of versions must be 1 or more; "
                "to serve nothing of a model, take it off the list of models"
            )

    def aspired(self, found: Collection[int]) -> frozenset[int]:
        """Return the largest versions, all of them when there are no more than `count`."""
        return frozenset(sorted(found)[-self.count :])


@dataclass(frozen=True, slots=True)
class SpecificVersions:
    """Aspires to the named versions, as far as they were found.

    Raises:
        ConfigError: no version is named.
    """

    versions: frozenset[int]

    def __post_init__(self) -> None:
        if not self.versions:
            raise ConfigError("version policy specific: name at least one version: specific:1,3")

    def aspired(self, found: Collection[int]) -> frozenset[int]:
        """Return the named versions that were found."""
        return self.versions.intersection(found)


@dataclass(frozen=True, slots=True)
class AllVersions:
    """Aspires to every version that was found."""

    def aspired(self, found: Collection[int]) -> frozenset[int]:
        """Return all of them."""
        return frozenset(found)


@dataclass(frozen=True, slots=True)
class NoVersions:
    """Aspires to none: a model that is configured, and served by nothing for now."""

    def aspired(self, found: Collection[int]) -> frozenset[int]:
        """Return the empty set."""
        return frozenset()


DEFAULT_POLICY: Final = LatestVersions()
"""What TF Serving does when nothing is said: serve the largest version."""


def parse_version_policy(text: str) -> VersionPolicy:
    """Return the policy that an operator wrote.

    >>> parse_version_policy("latest:2")
    LatestVersions(count=2)
    >>> parse_version_policy("all")
    AllVersions()

    Raises:
        ConfigError: the text is none of ``latest``, ``latest:N``, ``all`` and ``specific:A,B``.
    """
    kind, colon, rest = text.strip().partition(":")
    numbers = [part.strip() for part in rest.split(",")]
    if all(part.isascii() and part.isdigit() for part in numbers):
        if kind == "specific":
            return SpecificVersions(frozenset(map(int, numbers)))
        if kind == "latest" and len(numbers) == 1:
            return LatestVersions(int(rest))
    elif not colon and kind == "latest":
        return LatestVersions()
    elif not colon and kind == "all":
        return AllVersions()
    raise ConfigError(
        f"version policy {text!r} is not understood; "
        "write 'latest', 'latest:N', 'all' or 'specific:A,B' with whole numbers"
    )


@dataclass(frozen=True, slots=True)
class Load:
    """Load this version now."""

    version: int


@dataclass(frozen=True, slots=True)
class Unload:
    """Withdraw this version and unload it now."""

    version: int


Action: TypeAlias = Load | Unload


TransitionPolicy: TypeAlias = Callable[[Collection[int], Iterable[VersionStatus]], Action | None]
"""Gives the one action that brings a model closer to its aspired versions, or None.

Its arguments are the versions that should be served, and the statuses of the versions of this one
model. An aspired version without a status counts as START; one that is at its END is not loaded
again (whoever wants that makes it START).
"""


def availability_preserving(
    aspired: Collection[int], statuses: Iterable[VersionStatus]
) -> Action | None:
    """Load the new before the old is unloaded: a model that is served stays served.

    The lowest version that is served and no longer aspired is unloaded, if that costs no
    availability: an aspired version is AVAILABLE, or another unaspired one is, or nothing is
    aspired at all. Otherwise the highest aspired version that was not tried yet is loaded. So an
    aspired version whose load failed never takes the version before it away.
    """
    states = {status.id.version: status.state for status in statuses}
    serving = _available(states)
    surplus = serving.difference(aspired)
    if surplus and (not aspired or len(surplus) > 1 or serving.intersection(aspired)):
        return Unload(min(surplus))
    return _highest_untried(aspired, states)


def resource_preserving(
    aspired: Collection[int], statuses: Iterable[VersionStatus]
) -> Action | None:
    """Unload the old before the new is loaded: for models of which two do not fit into memory.

    The lowest version that is served and no longer aspired is unloaded. While any other unaspired
    one still holds memory, nothing is loaded; then the highest aspired version that was not tried
    yet is. A model is not served from its unload to the end of the next load, and not at all when
    that fails.
    """
    states = {status.id.version: status.state for status in statuses}
    surplus = _available(states).difference(aspired)
    if surplus:
        return Unload(min(surplus))
    holding = {v for v, state in states.items() if state in _HOLDS_MEMORY}
    return None if holding.difference(aspired) else _highest_untried(aspired, states)


_HOLDS_MEMORY: Final = frozenset(
    {ManagerState.LOADING, ManagerState.AVAILABLE, ManagerState.UNLOADING}
)


def _available(states: Mapping[int, ManagerState]) -> set[int]:
    return {version for version, state in states.items() if state is ManagerState.AVAILABLE}


def _highest_untried(aspired: Collection[int], states: Mapping[int, ManagerState]) -> Load | None:
    untried = [v for v in aspired if states.get(v, ManagerState.START) is ManagerState.START]
    return Load(max(untried)) if untried else None
