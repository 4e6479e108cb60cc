"""The model server's calls in our request log, as scored requests: what `samescore replay` reads.

The payload is there as received, the outputs as named tensors, exact. There is no feature stage:
clients send what the model takes.

Only the model server loads this module: it imports the stubs, and with them TensorFlow.
"""

from __future__ import annotations

import itertools
import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

from tensorflow_serving.apis import model_pb2

from consistency.digest import digest_folder
from consistency.environment import cpu_digest
from consistency.errors import LogError
from consistency.execution import Execution, ExecutionMode
from consistency.protocols import LogWriter, ScorerInfo
from consistency.scored import (
    GateState,
    Outcome,
    Payload,
    ScoredRequest,
    ServableInfo,
    StageLatency,
)
from consistency.tensor_calls import MODEL_SERVER_DIGEST, TensorCallCodec
from serving.core.state import ServableId
from serving.model_server.api import ServedModel
from serving.model_server.inference import DEFAULT_SIGNATURE
from serving.model_server.models.bundle_platform import OPERATORS_FILES
from serving.model_server.observing.observed import ObservedCall
from serving.model_server.recording.call_outputs import rows_of, signature_of, version_of
from serving.model_server.status import Code, StatusError
from serving.model_server.wire.dtypes import DataType

_LOG: Final = logging.getLogger(__name__)

_SERVE: Final = frozenset({"serve"})
_BUNDLE: Final = "bundle"
_TFLITE: Final = "tflite"
_TAGS: Final = "tags="
_OUTCOMES: Final = {
    Code.DEADLINE_EXCEEDED: Outcome.TIMEOUT,
    **dict.fromkeys(
        (Code.INVALID_ARGUMENT, Code.OUT_OF_RANGE, Code.FAILED_PRECONDITION, Code.NOT_FOUND),
        Outcome.DATA_ERROR,
    ),
}
"""Every other code is an error of the backend."""

Resolve = Callable[[model_pb2.ModelSpec], "tuple[str, int] | None"]
"""Which version a spec names; None for none."""


@dataclass(frozen=True, slots=True)
class ServedFrom:
    """What a version was served from: all that a replay must know to load it again.

    `str()` gives the form that logs hold, `tfs:DIGEST[:OPTION...]`.

    Attributes:
        digest: `folder_digest` of the version's folder.
        tags: of the meta graph.
        is_bundle: it was loaded as a bundle.
        is_tflite: its TensorFlow Lite model was served.
    """

    digest: str
    tags: frozenset[str] = _SERVE
    is_bundle: bool = False
    is_tflite: bool = False

    def __str__(self) -> str:
        parts = [self.digest]
        parts += [_BUNDLE] if self.is_bundle else []
        parts += [_TFLITE] if self.is_tflite else []
        parts += [] if self.tags == _SERVE else [_TAGS + ",".join(sorted(self.tags))]
        return MODEL_SERVER_DIGEST + ":".join(parts)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `str()` gave.

        >>> str(ServedFrom.parse("tfs:00ff:bundle"))
        'tfs:00ff:bundle'
        """
        digest, *options = text.removeprefix(MODEL_SERVER_DIGEST).split(":")
        tags = next((o.removeprefix(_TAGS) for o in options if o.startswith(_TAGS)), None)
        return cls(
            digest,
            _SERVE if tags is None else frozenset(tags.split(",")),
            _BUNDLE in options,
            _TFLITE in options,
        )


def folder_digest(folder: Path) -> str:
    """Return the digest of a version's files, less what only the server reads."""
    return digest_folder(folder, without=OPERATORS_FILES)


def served_info(
    id: ServableId,
    model: ServedModel,
    how: ScorerInfo,
    *,
    served: ServedFrom,
    execution: Execution = Execution(ExecutionMode.AS_IS),  # noqa: B008 - frozen
    gate_decimals: int = 10,
) -> ServableInfo:
    """Return the facts of a version, gated by nobody.

    Args:
        id: of the version.
        model: that was loaded.
        how: what computes.
        served: what from.
        execution: of a bundle's model.
        gate_decimals: of a bundle.
    """
    signature = model.signatures.get(DEFAULT_SIGNATURE)
    outputs = signature.outputs.values() if signature else ()
    dtypes = (DataType(info.dtype).word for info in outputs)
    return ServableInfo(
        name=id.name,
        version=id.version,
        gate=GateState.NONE,
        bundle_digest=str(served),
        pipeline_digest="",
        backend=how.backend,
        device=how.device,
        dtype=how.dtype or "+".join(dict.fromkeys(dtypes)),
        execution=str(execution),
        threads=how.threads,
        cpu_digest=cpu_digest(),
        gate_decimals=gate_decimals,
    )


class ServedVersions:
    """The facts of every version that was loaded; any thread may note and ask."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, int], ServableInfo] = {}

    def note(self, info: ServableInfo) -> None:
        """Remember a version, in place of another load of it."""
        self._held[info.name, info.version] = info

    def checked(self, id: ServableId, gate: GateState) -> None:
        """Remember what the golden gate said of a version that was noted."""
        info = self._held.get((id.name, id.version))
        if info is not None:
            self._held[id.name, id.version] = replace(info, gate=gate)

    def of(self, name: str, version: int) -> ServableInfo | None:
        """Return a version's facts."""
        return self._held.get((name, version))


class ScoredCalls:
    """Writes each call to the request log before it is answered. A `CallObserver`.

    A call that names no version which is served is not logged: no model was asked.

    Args:
        log: where to.
        versions: what is served.
        resolve: which version a spec names, for calls that failed.
        rejects: whether a call that cannot be logged is answered with an error.
    """

    def __init__(
        self, log: LogWriter, versions: ServedVersions, resolve: Resolve, *, rejects: bool
    ) -> None:
        self._write, self._versions, self._resolve = log.write, versions, resolve
        self._rejects = rejects
        self._id_prefix = f"{time.time_ns() // 1_000_000:x}-{secrets.token_hex(4)}-"
        self._sequence = itertools.count(1)

    def observe(self, call: ObservedCall) -> None:
        """Log a call.

        Raises:
            StatusError: UNAVAILABLE: it could not be logged, and such calls are rejected.
        """
        asked = version_of(call.response) if call.response else self._resolve(call.spec)
        info = None if asked is None else self._versions.of(*asked)
        if info is None:
            return
        try:
            self._write(self._scored(call, info))
        except LogError as e:
            if self._rejects:
                text = f"the call was not logged, and so is not answered: {e}"
                raise StatusError(Code.UNAVAILABLE, text) from e
            _LOG.exception("a call of %s is answered without a log line", info.name)

    def _scored(self, call: ObservedCall, info: ServableInfo) -> ScoredRequest:
        codec = TensorCallCodec(call.method, call.received.wire)
        rows, outputs = (0, None) if call.response is None else rows_of(call.response)
        taken_ns = time.perf_counter_ns() - call.received.started_ns
        label = call.spec.version_label if call.spec.HasField("version_label") else None
        error = call.error
        outcome = Outcome.OK if error is None else _OUTCOMES.get(error.code, Outcome.BACKEND_ERROR)
        return ScoredRequest(
            request_id=f"{self._id_prefix}{next(self._sequence):x}",
            servable=info,
            label=label,
            payload=Payload(call.received.body, codec.id, codec.content_type),
            rows=rows,
            ingest_time_us=(time.time_ns() - taken_ns) // 1000,
            event_time_us=None,
            features=None,
            outputs=outputs,
            scores=None,
            batch_rows=rows,
            batch_position=0,
            latency=StageLatency(backend_ns=int(call.seconds * 1e9), total_ns=taken_ns),
            outcome=outcome,
            message="" if error is None else error.message,
            refused_by="payload" if outcome is Outcome.DATA_ERROR else "",
            signature="" if call.response is None else signature_of(call.response),
        )
