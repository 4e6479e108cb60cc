"""Every error of the house, as facts.

A message says what is wrong, where, what was expected, and what to do. The facts are attributes, so
that each face can map a class to its own status code; nothing here knows a transport.
"""

from __future__ import annotations

from collections.abc import Sequence

DATA_ERROR_TEXT = "数据错误"
"""What a client is told of an unusable record (the wording of the model_online requirements)."""


class SamescoreError(Exception):
    """Base of every error that samescore raises on purpose."""


class DataError(SamescoreError):
    """A request's content is unusable: a missing, extra or mistyped field, a malformed body.

    Attributes:
        row: index of the record in its request, or None when the whole payload is at fault.
        field: the field's name, or None.
        problem: what is wrong and what to send instead.
    """

    def __init__(self, problem: str, *, row: int | None = None, field: str | None = None) -> None:
        self.row, self.field, self.problem = row, field, problem
        where = [] if row is None else [f"row {row}"]
        where += [] if field is None else [f"field {field!r}"]
        super().__init__(f"{DATA_ERROR_TEXT}: {' '.join([*where, problem])}")


class LimitError(SamescoreError):
    """Something is larger than the server's configured bound.

    Attributes:
        what: the bounded quantity, with its unit.
        got: the size seen (at least).
        limit: the bound.
    """

    def __init__(self, what: str, *, got: int, limit: int, remedy: str) -> None:
        self.what, self.got, self.limit = what, got, limit
        super().__init__(f"{what}: got {got}, the limit is {limit}; {remedy}")


class ModelNotFoundError(SamescoreError):
    """No such model, or no such version of it, is being served.

    Attributes:
        name: the model's name.
        version: the version asked for, or None for the latest.
        available: the versions that are available (empty when the model is unknown).
    """

    def __init__(self, name: str, version: int | None, available: Sequence[int], hint: str) -> None:
        self.name, self.version, self.available = name, version, tuple(available)
        what = f"model {name!r}" if version is None else f"model {name!r} version {version}"
        super().__init__(f"{what} is not available; {hint}")


class BackendError(SamescoreError):
    """The backend failed on a feature batch that was valid."""


class ConfigError(SamescoreError):
    """A setting is unusable; the message names the setting, the value and the remedy."""


class BundleError(SamescoreError):
    """A bundle cannot be written, read or trusted.

    Attributes:
        path: the bundle's directory.
    """

    def __init__(self, path: object, problem: str) -> None:
        self.path = str(path)
        super().__init__(f"bundle {path}: {problem}")


class DigestMismatchError(BundleError):
    """What is installed or on disk is not what the bundle was made with.

    Attributes:
        subject: what was digested, for example ``"pipeline flights_features"``.
        expected: the digest in the manifest.
        got: the digest found.
    """

    def __init__(self, path: object, subject: str, *, expected: str, got: str, remedy: str) -> None:
        self.subject, self.expected, self.got = subject, expected, got
        super().__init__(path, f"{subject}: expected digest {expected}, got {got}; {remedy}")


class SnapshotError(SamescoreError):
    """A lookup snapshot is missing or damaged."""


class LogError(SamescoreError):
    """The request log cannot be written or read."""


class ReplayError(SamescoreError):
    """A replay cannot be carried out (nothing to replay, no matching bundle)."""
