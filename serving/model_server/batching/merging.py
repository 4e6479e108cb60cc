"""Several requests' tensors to one batch's, and the batch's outputs back. Pure.

The checks and their words are those of upstream's batching session.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from serving.model_server.status import Code, StatusError, invalid

if TYPE_CHECKING:
    from serving.model_server.api import Tensor

_MOST_PADDED_RANK: Final = 6
MAX_PADDED_BYTES: Final = 256 << 20
"""Of one tensor of a batch that was filled up. Upstream has no limit: three requests of 4 kB, each
long in another axis, take 4 GB."""


def batch_size(inputs: Mapping[str, Tensor]) -> int:
    """Return the rows of a request: the size of each tensor's first axis.

    Raises:
        StatusError: there is no tensor, one has no axis, or they differ.
    """
    if not inputs:
        raise invalid("Batching Run() must have at least one input tensor")
    size: int | None = None
    for array in inputs.values():
        if not array.ndim:
            raise invalid("Batching Run() input tensors must have at least one dimension")
        if size not in (None, array.shape[0]):
            raise invalid("Batching Run() input tensors must have equal 0th-dimension size")
        size = array.shape[0]
    assert size is not None
    return size


def merge(
    requests: Sequence[Mapping[str, Tensor]], rows: int, *, pad_inner: bool
) -> dict[str, Tensor]:
    """Return a batch's tensors.

    Args:
        requests: each one's tensors by name, all of the same names; every one has rows.
        rows: of the batch; what is missing is filled up with copies of the last request's first
            row, which a model can take.
        pad_inner: fill up the other axes to the largest of all, with each tensor's first value.

    Raises:
        StatusError: FAILED_PRECONDITION, the other axes differ and are not to be filled up.
            INVALID_ARGUMENT, they cannot be; RESOURCE_EXHAUSTED, see `MAX_PADDED_BYTES`.
    """
    return {
        name: _merge_tensor(name, [request[name] for request in requests], rows, pad_inner)
        for name in requests[0]
    }


def _merge_tensor(name: str, parts: list[Tensor], rows: int, pad_inner: bool) -> Tensor:
    if pad_inner:
        parts = _padded(name, parts)
    elif any(part.shape[1:] != parts[0].shape[1:] for part in parts):
        # Upstream's words, the missing spaces too: clients match on them.
        raise StatusError(
            Code.FAILED_PRECONDITION,
            f"Tensors with name '{name}' from different tasks have different shapes and padding is"
            " turned off.Set pad_variable_length_inputs to true, or ensure that all tensors with"
            " the same namehave equal dimensions starting with the first dim.",
        )
    missing = rows - sum(part.shape[0] for part in parts)
    if missing > 0:
        parts = [*parts, np.repeat(parts[-1][:1], missing, axis=0)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _padded(name: str, parts: list[Tensor]) -> list[Tensor]:
    if any(part.ndim != parts[0].ndim for part in parts):
        raise invalid(
            f"Tensors with name '{name}' from different tasks have different ranks; only axes can"
            " be padded"
        )
    if parts[0].ndim > _MOST_PADDED_RANK:
        raise invalid("Only tensors with rank from 1 to 6 can be padded.")
    inner = tuple(max(sizes) for sizes in zip(*(part.shape[1:] for part in parts), strict=True))
    _check_padded(name, parts, inner)
    return [_padded_to(part, inner) for part in parts]


def _check_padded(name: str, parts: list[Tensor], inner: tuple[int, ...]) -> None:
    if all(part.shape[1:] == inner for part in parts):
        return
    rows = sum(part.shape[0] for part in parts)
    size_bytes = rows * math.prod(inner) * parts[0].itemsize
    if size_bytes > MAX_PADDED_BYTES:
        raise StatusError(
            Code.RESOURCE_EXHAUSTED,
            f"Tensors with name '{name}' from different tasks take {size_bytes} bytes when they are"
            f" filled up to the same inner shape {list(inner)}; this server fills up"
            f" {MAX_PADDED_BYTES} bytes at most.",
        )


def _padded_to(part: Tensor, inner: tuple[int, ...]) -> Tensor:
    if part.shape[1:] == inner:
        return part
    if not part.size:
        raise invalid("Got empty tensor in batch of non-empty tensors.")
    filled = np.empty((part.shape[0], *inner), dtype=part.dtype)
    filled[...] = part.reshape(-1)[0]
    filled[tuple(slice(size) for size in part.shape)] = part
    return filled


def check_outputs(outputs: Sequence[Tensor], rows: int) -> None:
    """Refuse outputs that cannot be divided among the requests.

    Args:
        outputs: of a batch.
        rows: of the batch, padding included.

    Raises:
        StatusError: FAILED_PRECONDITION.
    """
    for output in outputs:
        if not output.ndim:
            raise StatusError(Code.FAILED_PRECONDITION, "Batched output tensor has 0 dimensions")
        if output.shape[0] != rows:
            raise StatusError(
                Code.FAILED_PRECONDITION,
                "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension"
                " sizes of the input tensors",
            )


def split(outputs: Sequence[Tensor], sizes: Sequence[int]) -> list[list[Tensor]]:
    """Return each request's outputs.

    Args:
        outputs: of a batch, that were checked.
        sizes: the requests' rows, in order; what is left over is padding.
    """
    found: list[list[Tensor]] = []
    start = 0
    for size in sizes:
        found.append([output[start : start + size] for output in outputs])
        start += size
    return found
