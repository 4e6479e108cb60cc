"""One request on its way through the stages of the data plane."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Any

from consistency.codecs import codec_named
from consistency.errors import BackendError, DataError, LimitError
from consistency.features import FeatureBatch
from consistency.jsontype import Json
from consistency.opaque import read_answer
from consistency.pipeline import make_features
from consistency.protocols import Decoded, Guard
from consistency.scored import (
    Outcome,
    Outputs,
    Payload,
    ScoredRequest,
    Scores,
    StageLatency,
)
from serving.backends.backend import Answer
from serving.backends.instance_errors import InstanceError, InstanceTimeoutError
from serving.servable import Servable

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a face answers from.

    Attributes:
        request: the scored request.
        opaque: whether an InferenceService answered.
        opaque_answer: its own answer, passed on as it is.
    """

    request: ScoredRequest
    opaque: bool = False
    opaque_answer: Json = None


class RequestRun:
    """One request on its way; holds what is known of it so far."""

    __slots__ = (
        "answer", "decoded", "features", "flags", "had_no_room", "ingest_time_us", "instance",
        "label", "marks", "opaque_answer", "outputs", "payload", "request_id", "rows", "scores",
        "stage",
    )  # fmt: skip

    def __init__(self, payload: Payload, label: str | None, request_id: str) -> None:
        self.marks = [perf_counter_ns()]
        self.ingest_time_us = time.time_ns() // 1000
        self.payload, self.label, self.request_id = payload, label, request_id
        self.rows = 0
        self.stage = "payload"
        self.decoded: Decoded | None = None
        self.features: FeatureBatch | None = None
        self.answer: Answer | None = None
        self.outputs: Outputs | None = None
        self.scores: Scores | None = None
        self.opaque_answer: Any = None
        self.instance, self.had_no_room = "", False
        self.flags: dict[str, Sequence[int]] = {}

    async def through(
        self, servable: Servable, guards: Sequence[Guard], max_rows: int
    ) -> ScoredRequest:
        """Take every stage; an error of the request becomes its outcome."""
        try:
            self._decode(servable, max_rows)
            self._guard(guards, servable)
            if servable.opaque is not None:
                self._ask_opaque(servable)
            else:
                self._make_features(servable)
                await self._score(servable)
        except DataError as e:
            return self._result(servable, Outcome.DATA_ERROR, str(e), self.stage)
        except TimeoutError as e:
            return self._result(servable, Outcome.TIMEOUT, str(e) or "the backend timed out")
        except BackendError as e:
            return self._result(servable, Outcome.BACKEND_ERROR, str(e))
        except LimitError:
            raise
        except Exception as e:
            # a pipeline's or a model's bug must cost its own request only
            logger.exception("request %s failed in stage %s", self.request_id, self.stage)
            text = f"stage {self.stage} failed: {type(e).__name__}: {e}"
            return self._result(servable, Outcome.BACKEND_ERROR, text)
        return self._result(servable, Outcome.OK, "")

    def _decode(self, servable: Servable, max_rows: int) -> None:
        decoded = codec_named(self.payload.codec).decode(self.payload, servable.schema)
        if decoded.records is not None:
            self.rows = len(decoded.records)
        else:
            self.rows = 1 if decoded.features is None else decoded.features.rows
        if self.rows > max_rows:
            raise LimitError(
                "rows in one request", got=self.rows, limit=max_rows, remedy="send several requests"
            )
        self.decoded = decoded
        self.marks.append(perf_counter_ns())

    def _guard(self, guards: Sequence[Guard], servable: Servable) -> None:
        assert self.decoded is not None
        for guard in guards:
            self.stage = guard.name
            if found := guard.check(self.decoded, servable.info):
                self.flags.update(found)
        self.marks.append(perf_counter_ns())

    def _make_features(self, servable: Servable) -> None:
        assert self.decoded is not None
        self.stage = "features"
        if self.decoded.records is None:
            self.features = self.decoded.features
        else:
            self.features = make_features(servable.pipeline, self.decoded.records)
        self.marks.append(perf_counter_ns())

    async def _score(self, servable: Servable) -> None:
        assert self.features is not None
        self.stage = "backend"
        assert servable.backend is not None
        try:
            self.answer = await servable.backend.score(self.features)
        except (InstanceError, InstanceTimeoutError) as e:
            self.instance, self.had_no_room = e.instance, not e.instance
            raise
        self.instance = self.answer.instance
        self.outputs = self.answer.outputs
        self.marks.append(perf_counter_ns())
        self.stage = "postprocess"
        self.scores = servable.postprocess(self.outputs)

    def _ask_opaque(self, servable: Servable) -> None:
        assert self.decoded is not None
        assert servable.opaque is not None
        self.marks.append(perf_counter_ns())
        self.stage = "backend"
        self.opaque_answer = servable.opaque.process(self.decoded.opaque)
        now = perf_counter_ns()
        self.rows, self.outputs, self.scores = read_answer(self.opaque_answer)
        self.answer = Answer({}, self.rows, 0, 0, now - self.marks[-1])
        self.marks.append(now)

    def _result(
        self, servable: Servable, outcome: Outcome, message: str, refused_by: str = ""
    ) -> ScoredRequest:
        answer, decoded, features = self.answer, self.decoded, self.features
        return ScoredRequest(
            request_id=self.request_id,
            servable=servable.info,
            label=self.label,
            payload=self.payload,
            rows=self.rows,
            ingest_time_us=self.ingest_time_us,
            event_time_us=None if decoded is None else decoded.event_time_us,
            features=features,
            outputs=self.outputs if outcome is Outcome.OK else None,
            scores=self.scores if outcome is Outcome.OK else None,
            batch_rows=0 if answer is None else answer.batch_rows,
            batch_position=0 if answer is None else answer.batch_position,
            latency=self._latency(),
            outcome=outcome,
            message=message,
            refused_by=refused_by,
            snapshots={} if features is None else features.snapshots,
            instance=self.instance,
            flags=self.flags,
        )

    def _latency(self) -> StageLatency:
        """Turn the marks into durations; a stage that was not reached took none.

        A backend that failed was reached: how long it was waited for is what one wants to know.
        """
        end = perf_counter_ns()
        marks = self.marks + [end] * (5 - len(self.marks))
        queue = backend = 0
        if self.answer is not None:
            queue, backend = self.answer.queue_ns, self.answer.backend_ns
        elif self.stage == "backend" and len(self.marks) == 4:
            waited = end - marks[3]
            queue, backend = (waited, 0) if self.had_no_room else (0, waited)
        return StageLatency(
            decode_ns=marks[1] - marks[0],
            guards_ns=marks[2] - marks[1],
            features_ns=marks[3] - marks[2],
            queue_ns=queue,
            backend_ns=backend,
            postprocess_ns=end - marks[4],
            total_ns=end - marks[0],
        )
