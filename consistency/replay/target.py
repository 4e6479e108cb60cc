"""What a replay scores with: the offline side of one model version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from consistency.jsontype import Json
from consistency.pipeline import BoundPipeline
from consistency.postprocess import PostProcess
from consistency.protocols import Scorer
from consistency.schema import FeatureSchema
from consistency.scored import Outputs, Payload


class OpaqueScorer(Protocol):
    """A servable that takes a request body as a whole and has no feature stage."""

    def process(self, request: Json) -> Json:
        """Return the answer to a parsed JSON body.

        Raises:
            BackendError: it failed.
        """
        ...


class CallScorer(Protocol):
    """A model version that answers calls of TensorFlow Serving's protocol."""

    def answer(self, payload: Payload) -> tuple[int, Outputs]:
        """Return rows and outputs of a call, as the server logged them.

        Raises:
            DataError: the call is refused; the problem is what the client was told.
            BackendError: the model failed.
        """
        ...


@dataclass(frozen=True, slots=True)
class ReplayTarget:
    """The offline side of one model version, bound to the lookup snapshots of the log.

    Attributes:
        schema: the model's features.
        pipeline: None for a model that is sent feature rows.
        scorer: offline scorer, or None for an opaque servable.
        postprocess: as online.
        opaque: set for an InferenceService.
        calls: set for a version that the model server answered from.
    """

    schema: FeatureSchema
    pipeline: BoundPipeline | None
    scorer: Scorer | None
    postprocess: PostProcess
    opaque: OpaqueScorer | None = None
    calls: CallScorer | None = None


class Resolve(Protocol):
    """Finds the offline side of what answered a logged request."""

    def __call__(
        self, model: tuple[str, int], bundle_digest: str, snapshots: Mapping[str, str]
    ) -> ReplayTarget:
        """Return the target.

        Raises:
            ReplayError: no bundle has this name, version and digest.
        """
        ...
