"""What happens in a fleet of instances, told to whoever counts it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from serving.backends.instance_errors import Attempt


@dataclass(frozen=True, slots=True)
class FleetEvents:
    """What the metrics want to know; called from any thread.

    Attributes:
        ejected: an instance, by its address, gets no more requests.
        health: whether an instance gets requests, by its address.
        attempted: how a request that was sent to an instance ended there.
        retried: a request goes to another instance; the address is that of the first.
        in_flight: how many requests an instance has now, by its address.
        waiting: how many requests wait now for an instance to have room.
        no_room: a request's deadline passed while it waited for room.
    """

    ejected: Callable[[str], None] = lambda _address: None
    health: Callable[[str, bool], None] = lambda _address, _is_healthy: None
    attempted: Callable[[str, Attempt], None] = lambda _address, _ended: None
    retried: Callable[[str], None] = lambda _address: None
    in_flight: Callable[[str, int], None] = lambda _address, _requests: None
    waiting: Callable[[int], None] = lambda _requests: None
    no_room: Callable[[], None] = lambda: None
