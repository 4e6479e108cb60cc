"""The seams of the one data path. Each has real implementations elsewhere in the house."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias

from consistency.features import FeatureBatch
from consistency.jsontype import Json
from consistency.records import Record
from consistency.schema import FeatureSchema
from consistency.scored import Outputs, Payload, ScoredRequest, ServableInfo

if TYPE_CHECKING:
    from consistency.log.lines.entry import LoggedRequest


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a payload holds: raw records, or feature rows that skip the pipeline, or neither.

    Exactly one of the four is set, beside the time.

    Attributes:
        records: JSON objects, one a row.
        features: rows that a client sent as features (libsvm, dense, tensors).
        opaque: the parsed body, for servables that take a body as a whole.
        event_time_us: when the event happened, microseconds since the epoch, if the client said.
        call: a call of TensorFlow Serving's protocol, as it came.
    """

    records: Sequence[Record] | None = None
    features: FeatureBatch | None = None
    opaque: Json = None
    event_time_us: int | None = None
    call: Payload | None = None


class PayloadCodec(Protocol):
    """Turns received bytes into what they hold; replay calls the same codec as the face did."""

    @property
    def id(self) -> str:
        """Name and version, as logged."""
        ...

    def decode(self, payload: Payload, schema: FeatureSchema) -> Decoded:
        """Decode a body.

        Args:
            payload: the bytes and their content type.
            schema: the servable's features, for payloads that carry feature rows.

        Raises:
            DataError: malformed, with the row where that is known.
        """
        ...


@dataclass(frozen=True, slots=True)
class ScorerInfo:
    """How a scorer computes, for the log.

    Attributes:
        backend: where and with what, version included.
        dtype: of the computation.
        device: ``"cpu"``, ``"cuda:0"``, or ``"remote"`` when another machine computes.
        threads: 1 or more; 0 when another machine computes.
    """

    backend: str
    dtype: str
    device: str = "cpu"
    threads: int = 1


class Scorer(Protocol):
    """Scores feature batches, in this process, at the batch size that it is given."""

    @property
    def info(self) -> ScorerInfo:
        """How it computes."""
        ...

    def score(self, features: FeatureBatch) -> Outputs:
        """Return the raw outputs of N feature rows, first axis N, dtypes as the model made them.

        Raises:
            BackendError: the model failed.
        """
        ...


Flags: TypeAlias = Mapping[str, Sequence[int]]
"""Rules that a guard flags, each with the rows that break it, ascending."""


class Guard(Protocol):
    """Runs before the backend and may refuse a request."""

    @property
    def name(self) -> str:
        """For metrics and messages."""
        ...

    def check(self, decoded: Decoded, servable: ServableInfo) -> Flags | None:
        """Return when the request may go on, with what is to be said of it in reply and log.

        Args:
            decoded: what the payload holds.
            servable: what will answer.

        Raises:
            DataError: naming the row and the field.
        """
        ...


class Observer(Protocol):
    """Sees each scored request after it was logged; it can neither change nor fail it."""

    @property
    def name(self) -> str:
        """For the counter of failing observers."""
        ...

    def observe(self, request: ScoredRequest) -> None:
        """Take note of a request."""
        ...


class LogWriter(Protocol):
    """Writes scored requests before they are answered."""

    def write(self, request: ScoredRequest) -> None:
        """Return when the request survives the death of this process.

        Raises:
            LogError: it could not be written; nothing half-written is left behind.
        """
        ...

    def close(self) -> None:
        """Seal what is open."""
        ...


@dataclass(frozen=True, slots=True)
class Damage:
    """A part of the log that could not be read.

    Attributes:
        segment: file name.
        line: 1-based line number.
        problem: ``"torn tail"``, ``"crc mismatch"``, ``"not JSON"``, ...
        size_bytes: how much was skipped.
    """

    segment: str
    line: int
    problem: str
    size_bytes: int = field(default=0)


class LogReader(Protocol):
    """Reads a log back, damage included."""

    def __iter__(self) -> Iterator[LoggedRequest | Damage]:
        """Yield requests in the order of writing, segment by segment."""
        ...


LogItems: TypeAlias = "Iterable[LoggedRequest | Damage]"
