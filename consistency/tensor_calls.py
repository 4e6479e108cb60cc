"""Payloads of TensorFlow Serving's protocol: kept whole, and read when they are replayed.

What tensors such a call holds depends on the signature that it names (JSON has no dtypes), and its
messages need TensorFlow. So a codec here only says what the bytes are; the replay target, which has
the model, reads them as the server did.

- `tfs-predict/1`, `tfs-classify/1`, `tfs-regress/1`, `tfs-multi-inference/1`: the serialised
  request message, as gRPC received it;
- `tfs-rest/1`, `tfs-rest-classify/1`, `tfs-rest-regress/1`: the JSON body, unzipped, its numbers
  read as upstream reads them; `tfs-rest-exact…` the same with its floats read exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from types import MappingProxyType
from typing import Final

from consistency.errors import DataError
from consistency.protocols import Decoded
from consistency.schema import FeatureSchema
from consistency.scored import Payload

MODEL_SERVER_DIGEST: Final = "tfs:"
"""How the bundle digest in a log line begins that the model server wrote: it covers the files of
the version's folder, bundle or not, and says what of them was served."""


class CallRefusedError(DataError):
    """A call was refused; the text is what the client was told, word for word."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.args = (message,)


class Method(StrEnum):
    """What a call asks for."""

    PREDICT = "predict"
    CLASSIFY = "classify"
    REGRESS = "regress"
    MULTI_INFERENCE = "multi-inference"


class Wire(StrEnum):
    """How a call came. `rest` and `rest-exact` differ in how the floats of the body are read."""

    GRPC = "grpc"
    REST = "rest"
    REST_EXACT = "rest-exact"


@dataclass(frozen=True, slots=True)
class TensorCallCodec:
    """Hands the payload of a call over as a whole.

    Attributes:
        method: what was asked.
        wire: how it came.
    """

    method: Method
    wire: Wire

    @property
    def id(self) -> str:
        """Name and version, as logged."""
        named = self.wire is Wire.GRPC or self.method is not Method.PREDICT
        parts = ["tfs"]
        parts += [] if self.wire is Wire.GRPC else [self.wire.value]
        parts += [self.method.value] if named else []
        return f"{'-'.join(parts)}/1"

    @property
    def content_type(self) -> str:
        """Of such a payload."""
        return "application/grpc" if self.wire is Wire.GRPC else "application/json"

    def decode(self, payload: Payload, schema: FeatureSchema) -> Decoded:
        """Return the payload; it fails, if it does, where it is scored."""
        return Decoded(call=payload)


TENSOR_CALLS: Final[Mapping[str, TensorCallCodec]] = MappingProxyType(
    {
        codec.id: codec
        for codec in (TensorCallCodec(m, w) for m, w in product(Method, Wire))
        if codec.wire is Wire.GRPC or codec.method is not Method.MULTI_INFERENCE
    }
)
"""By id; there is no MultiInference over REST."""
