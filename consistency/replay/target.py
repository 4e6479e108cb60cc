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


class OpaqueScorer(Protocol):
    """A servable that takes a request body as a whole and has no feature stage."""

    def process(self, request: Json) -> Json:
        """Return the answer to a parsed JSON body.

        Raises:
            BackendError: it failed.
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
    """

    schema: FeatureSchema
    pipeline: BoundPipeline | None
    scorer: Scorer | None
    postprocess: PostProcess
    opaque: OpaqueScorer | None = None


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
