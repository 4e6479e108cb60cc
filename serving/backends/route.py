"""One version of a model on the instances: which of them have shown that they may answer for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from consistency.errors import BackendError, ConfigError
from consistency.execution import Execution, apply_execution
from consistency.features import FeatureBatch
from consistency.gate import GateReport
from consistency.protocols import Scorer, ScorerInfo
from consistency.scored import Outputs
from serving.backends.fleet import Instance
from serving.backends.instance_errors import InstanceError, InstanceTimeoutError
from serving.backends.signature import Signature
from serving.backends.transport import AVAILABLE, RemoteModel, Transport
from serving.loaders.named_inputs import check_rows, input_arrays

GATE_SECONDS: Final = 5.0
"""How long a golden batch may take at least: the first one after a start may be slow."""

REMOTE: Final = "remote"
"""The device of a model that another machine computes."""


@dataclass(frozen=True, slots=True)
class Examined:
    """What an instance showed of a version.

    Attributes:
        instance: its address.
        problem: why it may not answer; empty when it passed its golden gate.
        report: of the gate; None if it did not come to that.
        signature: of the model there; None if it did not come to that.
        is_absent: the instance does not serve the version now.
    """

    instance: str
    problem: str
    report: GateReport | None = None
    signature: Signature | None = None
    is_absent: bool = False


@dataclass(slots=True, eq=False)
class Route:
    """See the module's text. `able` is read by the event loop and changed by other threads.

    Attributes:
        model: name and version.
        execution: how batches reach the model.
        gate: runs the golden gate with a scorer.
        timeout_seconds: of a golden batch.
        needs_gate: whether an instance must pass; not so for a version that is served unverified.
        able: signature by index of each instance that may answer.
        problems: by index, why an instance may not; for the log, once each.
        try_again_at: by index, when an instance that failed may be examined again.
    """

    model: RemoteModel
    execution: Execution
    gate: Callable[[Scorer], GateReport]
    timeout_seconds: float
    needs_gate: bool = True
    able: Mapping[int, Signature] = field(default_factory=dict)
    problems: dict[int, str] = field(default_factory=dict)
    try_again_at: dict[int, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def accept(self, index: int, signature: Signature) -> None:
        """Let an instance answer."""
        with self._lock:
            self.able = {**self.able, index: signature}
        self.problems.pop(index, None)
        self.try_again_at.pop(index, None)

    def withdraw(self, index: int) -> None:
        """Let an instance answer no more."""
        with self._lock:
            self.able = {i: signature for i, signature in self.able.items() if i != index}

    def examine(self, instance: Instance, state: str | None) -> Examined:
        """Put an instance through the golden gate, in a thread that holds `instance.blocking`.

        Args:
            instance: must answer.
            state: of the version there; None when the instance does not know it.

        Raises:
            InstanceError: the connection was refused or broke.
            InstanceTimeoutError: it does not answer in time.
        """
        if state != AVAILABLE:
            said = "does not have it" if state is None else f"has it in state {state}"
            return Examined(instance.address, said, is_absent=True)
        try:
            signature = instance.transport.signature(self.model, self.timeout_seconds)
            scorer = RemoteScorer(
                instance.transport, instance.address, self.model, signature, self.timeout_seconds
            )
            report = self.gate(apply_execution(self.execution, scorer))
        except InstanceTimeoutError:
            raise
        except (BackendError, ConfigError) as e:
            if isinstance(e, InstanceError) and e.failure.ejects:
                raise
            return Examined(instance.address, f"cannot score the golden rows: {e}")
        return Examined(instance.address, "" if report.passed else str(report), report, signature)


class RemoteScorer:
    """Scores with one version on one instance, from a thread of its own."""

    def __init__(
        self,
        transport: Transport,
        instance: str,
        model: RemoteModel,
        signature: Signature,
        timeout_seconds: float,
    ) -> None:
        self._transport, self._model = transport, model
        self._signature, self._timeout_seconds = signature, timeout_seconds
        self._info = remote_info(instance, signature)

    @property
    def info(self) -> ScorerInfo:
        """The instance, and the outputs' dtypes."""
        return self._info

    def score(self, features: FeatureBatch) -> Outputs:
        """Return the raw outputs of N feature rows; see `Scorer.score`.

        Raises:
            InstanceTimeoutError: there was no answer in time.
        """
        feeds = input_arrays(self._signature.takes, features)
        outputs = self._transport.predict_blocking(
            self._model, self._signature, feeds, self._timeout_seconds
        )
        check_rows(outputs, features.rows)
        return outputs


def remote_info(backend: str, signature: Signature) -> ScorerInfo:
    """Return how a remote model computes, as far as that is known here."""
    return ScorerInfo(backend, signature.dtype, device=REMOTE, threads=0)
