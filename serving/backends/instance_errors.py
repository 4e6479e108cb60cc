"""How an instance of a remote backend fails, and what follows from it."""

from __future__ import annotations

from enum import Enum, StrEnum

from consistency.errors import BackendError


class Failure(Enum):
    """Why an instance gave no scores."""

    REFUSED = "refused"
    """No connection came about: nothing was sent."""
    NO_SUCH_VERSION = "no such version"
    """It answered that it does not serve the version: nothing was computed."""
    LOST = "lost"
    """The connection broke after the request was sent: it may have been computed."""
    ANSWERED = "answered"
    """It answered with another error; another instance would say the same."""
    BUSY = "busy"
    """It answered that its own queue is full."""

    @property
    def is_safe_to_retry(self) -> bool:
        """Whether certainly nothing was computed."""
        return self in (Failure.REFUSED, Failure.NO_SUCH_VERSION)

    @property
    def ejects(self) -> bool:
        """Whether the instance itself is gone."""
        return self in (Failure.REFUSED, Failure.LOST)


class Attempt(StrEnum):
    """How a request that was sent to an instance ended there; a label of the metrics."""

    OK = "ok"
    TIMEOUT = "timeout"
    REFUSED = "refused"
    NO_SUCH_VERSION = "no_such_version"
    LOST = "lost"
    ERROR = "error"
    """It answered with an error, or with what cannot be read."""
    BUSY = "busy"

    @classmethod
    def failed(cls, failure: Failure) -> Attempt:
        """Return how a failure ends an attempt."""
        return cls.ERROR if failure is Failure.ANSWERED else cls[failure.name]


class InstanceError(BackendError):
    """An instance failed on a request.

    Attributes:
        instance: its address.
        failure: why.
    """

    def __init__(self, instance: str, failure: Failure, problem: str) -> None:
        self.instance, self.failure = instance, failure
        super().__init__(f"backend {instance}: {problem}")


class InstanceTimeoutError(TimeoutError):
    """An instance did not answer in time.

    Attributes:
        instance: its address; empty when the request still waited for one.
    """

    def __init__(self, instance: str, problem: str) -> None:
        self.instance = instance
        super().__init__(f"backend {instance}: {problem}" if instance else problem)
