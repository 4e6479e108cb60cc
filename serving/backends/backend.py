"""The seam between the data plane and whatever scores."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter_ns
from typing import Protocol

from consistency.features import FeatureBatch
from consistency.protocols import Scorer
from consistency.scored import Outputs


@dataclass(frozen=True, slots=True)
class Answer:
    """A backend's answer to one request's feature rows.

    Attributes:
        outputs: raw outputs of these rows.
        batch_rows: rows in the batch that was really scored, this request's and others'.
        batch_position: where this request's rows began in it.
        queue_ns: nanoseconds spent waiting for a batch or a connection.
        backend_ns: nanoseconds spent scoring.
        instance: which of several instances answered; empty when there is one place only.
    """

    outputs: Outputs
    batch_rows: int
    batch_position: int
    queue_ns: int
    backend_ns: int
    instance: str = ""


class Backend(Protocol):
    """Scores the rows of one request; may wait, batch, or ask another machine."""

    async def score(self, features: FeatureBatch) -> Answer:
        """Return the raw outputs of N feature rows.

        Raises:
            BackendError: it failed.
            TimeoutError: no answer in time.
        """
        ...


class InProcessBackend:
    """Calls a scorer on the spot, on the event loop's thread.

    Handing a single row to another thread costs about 50 µs and gains nothing on it: the model's
    own threads, if any, run below the interpreter lock already.
    """

    def __init__(self, scorer: Scorer) -> None:
        self._score = scorer.score

    async def score(self, features: FeatureBatch) -> Answer:
        """Score the rows as one batch; see `Backend.score`."""
        start = perf_counter_ns()
        outputs = self._score(features)
        return Answer(outputs, features.rows, 0, 0, perf_counter_ns() - start)
