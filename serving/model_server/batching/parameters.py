"""How requests are batched: upstream's `BatchingParameters`, its file and its checks.

The messages' numbers matter to nobody: the file is text. A field that upstream does not have is
refused by name and place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from serving.loaders.runtimes.threads import cores
from serving.model_server.status import invalid
from serving.model_server.wire.text_protos import Fields, message_class, read_text_proto

if TYPE_CHECKING:
    from google.protobuf.message import Message

PER_MODEL_FILE: Final = "batching_params.pbtxt"
"""In a version's folder."""

MOST_THREADS: Final = 4096
MOST_ALLOWED_SIZES: Final = 10_000
_LARGEST: Final = (1 << 31) - 1

BATCHING_PARAMETERS: Final[Mapping[str, Fields]] = MappingProxyType(
    {
        "BatchingParameters": {
            "max_batch_size": (1, "Int64Value"),
            "batch_timeout_micros": (2, "Int64Value"),
            "max_enqueued_batches": (3, "Int64Value"),
            "num_batch_threads": (4, "Int64Value"),
            "thread_pool_name": (5, "StringValue"),
            "allowed_batch_sizes": (6, "repeated int64"),
            "pad_variable_length_inputs": (7, "bool"),
            "enable_large_batch_splitting": (8, "BoolValue"),
            "max_execution_batch_size": (9, "Int64Value"),
        },
        "Int64Value": {"value": (1, "int64")},
        "StringValue": {"value": (1, "string")},
        "BoolValue": {"value": (1, "bool")},
    }
)


@dataclass(frozen=True, slots=True)
class BatchingParameters:
    """How the requests to a model are put together; the defaults are upstream's.

    Attributes:
        max_batch_size: rows of a request, and of a batch unless requests are split.
        batch_timeout_micros: how long the first request of a batch waits for more.
        max_enqueued_batches: that wait for a thread, for each signature.
        num_batch_threads: that run batches, of all models together.
        allowed_batch_sizes: rising; a batch is filled up to the next one with copies of a row. Any
            size is allowed when there is none.
        pad_variable_length_inputs: fill tensors up to the largest in the batch, with their first
            value.
        split: a request may be spread over several batches.
        max_execution_batch_size: rows of a batch when requests are split; 0: max_batch_size.
    """

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    num_batch_threads: int = 0
    allowed_batch_sizes: tuple[int, ...] = ()
    pad_variable_length_inputs: bool = False
    split: bool = False
    max_execution_batch_size: int = 0

    @property
    def batch_limit(self) -> int:
        """Rows of a batch at most."""
        return (self.split and self.max_execution_batch_size) or self.max_batch_size

    @property
    def threads(self) -> int:
        """The threads that run batches: as many as there are processors unless told otherwise."""
        return self.num_batch_threads or cores()

    def padded_size(self, rows: int) -> int:
        """Return the size that a batch of so many rows is filled up to.

        >>> BatchingParameters(allowed_batch_sizes=(8, 32, 1000)).padded_size(9)
        32
        """
        return next((size for size in self.allowed_batch_sizes if size >= rows), rows)


def read_batching_parameters(file: Path) -> BatchingParameters:
    """Read a text `BatchingParameters`.

    Raises:
        StatusError: the file cannot be read, is no such message, or a value cannot be.
    """
    kind = message_class("BatchingParameters", BATCHING_PARAMETERS)
    given = _given(read_text_proto(file, kind))
    parameters = BatchingParameters(**given)
    _check(parameters, given)
    return parameters


_RENAMED: Final = MappingProxyType({"enable_large_batch_splitting": "split"})
_IGNORED: Final = frozenset({"thread_pool_name"})  # only names threads


def _given(message: Message) -> dict[str, Any]:  # Any: by field, as each is declared
    found: dict[str, Any] = {}
    for field, value in message.ListFields():
        if field.name in _IGNORED:
            continue
        plain = tuple(value) if field.is_repeated else getattr(value, "value", value)
        found[_RENAMED.get(field.name, field.name)] = plain
    return found


def _check(parameters: BatchingParameters, given: Mapping[str, object]) -> None:
    _check_number("max_batch_size", parameters.max_batch_size, given, 1, _LARGEST)
    _check_number("max_enqueued_batches", parameters.max_enqueued_batches, given, 0, 1 << 62)
    _check_number("num_batch_threads", parameters.num_batch_threads, given, 1, MOST_THREADS)
    _check_number(
        "max_execution_batch_size", parameters.max_execution_batch_size, given, 1, _LARGEST
    )
    if parameters.batch_timeout_micros < 0:
        raise invalid(
            f"batch_timeout_micros must be non-negative; was {parameters.batch_timeout_micros}"
        )
    if parameters.split and parameters.max_batch_size < parameters.batch_limit:
        raise invalid(
            "When enable_large_batch_splitting is true, input_batch_size_limit must be "
            "greater than or equal to max_execution_batch_size."
        )
    _check_allowed(parameters)


def _check_number(
    name: str, value: int, given: Mapping[str, object], least: int, most: int
) -> None:
    if name not in given or least <= value <= most:
        return
    # Upstream calls the size of a request by another name here.
    shown = "input_batch_size_limit" if name == "max_batch_size" else name
    bound = "positive" if value < least else f"at most {most}"
    raise invalid(f"{shown} must be {bound}; was {value}")


def _check_allowed(parameters: BatchingParameters) -> None:
    sizes = parameters.allowed_batch_sizes
    if not sizes:
        return
    if len(sizes) > MOST_ALLOWED_SIZES:
        raise invalid(f"allowed_batch_sizes has {len(sizes)} entries; {MOST_ALLOWED_SIZES} at most")
    if sizes[-1] != parameters.max_batch_size and not parameters.split:
        raise invalid(
            "Last entry in allowed_batch_sizes must match max_batch_size; last entry was "
            f"{sizes[-1]}; expected {parameters.max_batch_size}"
        )
    if parameters.split and sizes[-1] != parameters.batch_limit:
        raise invalid(
            "Last entry in allowed_batch_sizes must be equal to max_execution_batch_size; last "
            f"entry was {sizes[-1]}; expected {parameters.batch_limit}"
        )
    if any(later <= earlier for earlier, later in pairwise(sizes)):
        raise invalid("allowed_batch_sizes entries must be monotonically increasing")
