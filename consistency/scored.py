"""The scored request: the one event that the log, the monitors and replay observe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from consistency.features import FeatureBatch
from consistency.records import Column

Scores: TypeAlias = NDArray[np.float64]
"""Post-processed scores, float64, shape (N,) or (N, k)."""

Outputs: TypeAlias = Mapping[str, Column]
"""A backend's raw answer: output name to an array whose first axis is the rows, dtype kept."""


class Outcome(StrEnum):
    """How a request ended."""

    OK = "ok"
    DATA_ERROR = "data_error"
    BACKEND_ERROR = "backend_error"
    TIMEOUT = "timeout"


class GateState(StrEnum):
    """What the golden gate said of the version that answered."""

    VERIFIED = "verified"
    UNVERIFIED = "unverified"
    """It failed, and the operator chose to serve it all the same (`--gate report`)."""
    NONE = "none"
    """The servable has no golden set (an opaque InferenceService)."""


@dataclass(frozen=True, slots=True, eq=False)
class ServableInfo:
    """What answered: facts that are the same for every request of one servable.

    One object a servable, compared by identity: it is a cache key on the request path.

    Attributes:
        bundle_digest: covers the digests of pipeline sources, fitted state, model and schemas.
        backend: where it was scored, for example ``"in_process/xgboost 3.2.0"``.
        dtype: the dtype in which the model computes.
        execution: ``"as_is"``, ``"padded:N"`` or ``"float64"``.
        cpu_digest: digest of the CPU's feature flags.
        gate_decimals: that its golden gate demanded.
    """

    name: str
    version: int
    gate: GateState
    bundle_digest: str
    pipeline_digest: str
    backend: str
    device: str
    dtype: str
    execution: str
    threads: int
    cpu_digest: str
    gate_decimals: int = 10


@dataclass(frozen=True, slots=True)
class Payload:
    """A request's bytes as they were received.

    Attributes:
        body: the bytes.
        codec: id of the codec that decoded them, with its version, for example ``"tione/1"``.
        content_type: as the client sent it.
    """

    body: bytes
    codec: str
    content_type: str


@dataclass(frozen=True, slots=True)
class StageLatency:
    """Nanoseconds spent in each stage; `total_ns` runs from the received body to the log write."""

    decode_ns: int = 0
    guards_ns: int = 0
    features_ns: int = 0
    queue_ns: int = 0
    backend_ns: int = 0
    postprocess_ns: int = 0
    total_ns: int = 0


STAGES = ("decode", "guards", "features", "queue", "backend", "postprocess", "total")
"""The stages' names, in order; `StageLatency` has one field for each."""


@dataclass(frozen=True, slots=True)
class ScoredRequest:
    """One wire request of N rows, after it was scored or refused.

    Attributes:
        request_id: made by the server, unique across processes.
        servable: what answered.
        label: the version label that the client asked for, if any.
        payload: the bytes as received.
        rows: N; 0 when the payload could not be decoded.
        ingest_time_us: microseconds since the epoch when the body had arrived.
        event_time_us: when the event happened, if the client said so.
        features: None when there was no feature stage, or it failed.
        outputs: raw model outputs; None unless scored.
        scores: post-processed; None unless scored.
        batch_rows: rows in the batch that the backend really scored.
        batch_position: where this request's rows began in that batch.
        message: what the client was told, when the outcome is not ok.
        refused_by: what raised a data error: ``"payload"``, ``"features"`` or a guard's name.
        instance: which of a backend's several instances answered, or failed to; empty when there is
            only the servable's own backend.
        signature: of the model server: which one answered; empty elsewhere.
        flags: rules that a guard flagged, each with the rows that break it, ascending.
    """

    request_id: str
    servable: ServableInfo
    label: str | None
    payload: Payload
    rows: int
    ingest_time_us: int
    event_time_us: int | None
    features: FeatureBatch | None
    outputs: Outputs | None
    scores: Scores | None
    batch_rows: int
    batch_position: int
    latency: StageLatency
    outcome: Outcome = Outcome.OK
    message: str = ""
    refused_by: str = ""
    snapshots: Mapping[str, str] = field(default_factory=dict)
    instance: str = ""
    signature: str = ""
    flags: Mapping[str, Sequence[int]] = field(default_factory=dict)
