"""How a call of the model server fails: a code of the canonical set, and upstream's words."""

from __future__ import annotations

from enum import IntEnum


class Code(IntEnum):
    """The canonical error codes, as in `google.rpc.Code` and on gRPC's wire."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class StatusError(Exception):
    """A call failed; each face maps the code to its own status.

    Attributes:
        code: never OK.
        message: for the client, in upstream's words where upstream has the case.
    """

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class FinalError(StatusError):
    """A load failed as it would again: it is not tried a second time."""


def invalid(message: str) -> StatusError:
    """Return an INVALID_ARGUMENT error."""
    return StatusError(Code.INVALID_ARGUMENT, message)


def not_found(message: str) -> StatusError:
    """Return a NOT_FOUND error."""
    return StatusError(Code.NOT_FOUND, message)
