"""How one instance of a remote backend is spoken to; each protocol has its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from consistency.records import Column
from consistency.scored import Outputs
from serving.backends.signature import Signature

MIB: Final = 1 << 20
LARGEST_ANSWER_BYTES: Final = 64 * MIB
"""More is refused: an instance must not be able to fill this process's memory."""

AVAILABLE: Final = "AVAILABLE"
"""The state of a version that an instance serves."""


@dataclass(frozen=True, slots=True)
class RemoteModel:
    """One version of a model on the instances.

    Attributes:
        name: as in the bundle's manifest.
        version: as in the bundle's manifest; it stands in every request.
    """

    name: str
    version: int

    def __str__(self) -> str:
        return f"{self.name}/{self.version}"


class Transport(Protocol):
    """Speaks to one instance.

    All methods but `predict` block; they may be called from any thread, one at a time. `predict`
    belongs to the running event loop. Every method raises `InstanceError` or
    `InstanceTimeoutError`.
    """

    def states(self, name: str, timeout_seconds: float) -> Mapping[int, str]:
        """Return the state of each version of a model (`GetModelStatus`); empty if unknown."""
        ...

    def signature(self, model: RemoteModel, timeout_seconds: float) -> Signature:
        """Return what a version takes and gives (`GetModelMetadata`).

        Raises:
            ConfigError: it has no signature to choose.
        """
        ...

    def predict_blocking(
        self, model: RemoteModel, signature: Signature, feeds: list[Column], timeout_seconds: float
    ) -> Outputs:
        """Score one batch from a thread of its own: the golden gate's way."""
        ...

    async def predict(
        self, model: RemoteModel, signature: Signature, feeds: list[Column], timeout_seconds: float
    ) -> Outputs:
        """Score one batch: the requests' way.

        Args:
            model: asked for by name and explicit version.
            signature: says the outputs' names and dtypes.
            feeds: one array an input, in the signature's order.
            timeout_seconds: after which `InstanceTimeoutError` is raised.
        """
        ...

    def renew(self) -> None:
        """Forget connections and their memory of failures: the instance is tried afresh."""
        ...

    def close(self) -> None:
        """Close what is open; the instance is not asked again."""
        ...
