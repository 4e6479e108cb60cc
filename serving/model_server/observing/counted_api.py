"""Counts the calls of the model server, between a face and what answers.

Only the model server loads this module: the messages bring TensorFlow with them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeVar

from serving.model_server.inference import signature_key
from serving.model_server.multi_inference import multi_inference_spec
from serving.model_server.observing.passed_on import PassedOn
from serving.model_server.status import Code, StatusError

if TYPE_CHECKING:
    from tensorflow.core.framework.tensor_pb2 import TensorProto
    from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
    from tensorflow_serving.apis import (
        classification_pb2,
        inference_pb2,
        model_pb2,
        predict_pb2,
        regression_pb2,
    )

    from serving.model_server.api import InferenceApi, ServedModel, Tensor
    from serving.model_server.observing.serving_metrics import ServingMetrics

_T = TypeVar("_T")

RUNTIME: Final = "TF1"
"""Upstream's word for a session; the other one, TFRT, is not built into its stock binary."""

Served = Callable[["model_pb2.ModelSpec"], tuple[str, bool]]
"""Which version a spec names, empty for none, and whether it has the signature."""


class Entrypoint(StrEnum):
    """By which door a request came."""

    GRPC = "GRPC"
    REST = "REST"


class _Clock(threading.local):
    """How long models have run for the call that this thread is at, in microseconds."""

    run_us: float | None = None


_CLOCK: Final = _Clock()


class TimedModel:
    """A model whose runs are timed for the call that asked for them.

    Args:
        model: what runs.
    """

    def __init__(self, model: ServedModel) -> None:
        self._model = model

    @property
    def signatures(self) -> Mapping[str, SignatureDef]:
        """By key."""
        return self._model.signatures

    @property
    def thread_hint_seconds(self) -> float:
        """The model's own."""
        return self._model.thread_hint_seconds

    def run(
        self,
        signature: SignatureDef,
        feeds: Mapping[str, Tensor | TensorProto],
        fetches: tuple[str, ...],
    ) -> list[Tensor]:
        """Compute tensors, as the model does; a run that fails is not timed."""
        started = time.perf_counter()
        outputs = self._model.run(signature, feeds, fetches)
        _CLOCK.run_us = (_CLOCK.run_us or 0.0) + microseconds(started)
        return outputs


class CountedApi(PassedOn):
    """An `InferenceApi` that counts what goes through it.

    REST counts its requests itself, the malformed ones too, so of those only the model's runs and
    the versions are counted here.

    Args:
        api: what answers.
        metrics: is added to.
        entrypoint: what stands before it.
        served: which version a spec names; asked only of requests that failed.
    """

    def __init__(
        self, api: InferenceApi, metrics: ServingMetrics, entrypoint: Entrypoint, served: Served
    ) -> None:
        super().__init__(api)
        self._metrics, self._entrypoint = metrics, entrypoint
        self._served = served

    def predict(self, request: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
        """Run a signature on tensors."""
        return self._counted("Predict", request.model_spec, self._api.predict, request)

    def classify(
        self, request: classification_pb2.ClassificationRequest
    ) -> classification_pb2.ClassificationResponse:
        """Classify `tf.Example`s."""
        return self._counted("Classify", request.model_spec, self._api.classify, request)

    def regress(
        self, request: regression_pb2.RegressionRequest
    ) -> regression_pb2.RegressionResponse:
        """Regress `tf.Example`s."""
        return self._counted("Regress", request.model_spec, self._api.regress, request)

    def multi_inference(
        self, request: inference_pb2.MultiInferenceRequest
    ) -> inference_pb2.MultiInferenceResponse:
        """Run several signatures; upstream counts its examples, and neither request nor run."""
        name = multi_inference_spec(request).name
        answer = self._api.multi_inference(request)
        examples = getattr(request.input, request.input.WhichOneof("kind")).examples
        self._metrics.request_example_counts.observe(len(examples), name)
        self._metrics.request_example_count_total.add(name, by=len(examples))
        return answer

    def _counted(
        self, call: str, spec: model_pb2.ModelSpec, work: Callable[..., _T], request: object
    ) -> _T:
        started = time.perf_counter()
        _CLOCK.run_us = None
        try:
            answer = work(request)
        except BaseException as error:
            code = error.code if isinstance(error, StatusError) else Code.INTERNAL
            self._note(call, spec, code, started)
            self._note_failed_version(call, spec, code)
            raise
        self._note(call, spec, Code.OK, started)
        self._note_run(call, spec.name)
        if self._metrics.version_request_count is not None:
            answered: model_pb2.ModelSpec = getattr(answer, "model_spec")  # noqa: B009
            labels = (str(answered.version.value), answered.signature_name)
            self._note_version(call, spec.name, labels, Code.OK, microseconds(started))
        return answer

    def _note(self, call: str, spec: model_pb2.ModelSpec, code: Code, started: float) -> None:
        if self._entrypoint is not Entrypoint.GRPC:
            return
        self._metrics.request_count.add(spec.name, code.name)
        if code is Code.OK:
            taken = microseconds(started)
            self._metrics.request_latency.observe(taken, spec.name, call, self._entrypoint)

    def _note_run(self, call: str, name: str) -> None:
        if _CLOCK.run_us is not None:
            self._metrics.runtime_latency.observe(_CLOCK.run_us, name, call, RUNTIME)

    def _note_failed_version(self, call: str, spec: model_pb2.ModelSpec, code: Code) -> None:
        if self._metrics.version_request_count is None:
            return
        version, has_signature = self._served(spec)
        # Only what there is becomes a label: clients can make up any name.
        labels = (version, signature_key(spec) if has_signature else "")
        self._note_version(call, spec.name if version else "", labels, code, None)

    def _note_version(
        self, call: str, name: str, served: tuple[str, str], code: Code, taken_us: float | None
    ) -> None:
        count, latency = (
            self._metrics.version_request_count,
            self._metrics.version_request_latency,
        )
        assert count is not None
        assert latency is not None
        labels = (name, *served, call, str(self._entrypoint))
        count.add(*labels, code.name)
        if taken_us is not None:
            latency.observe(taken_us, *labels)


def microseconds(started: float) -> int:
    """Return whole microseconds since a reading of `time.perf_counter`."""
    return int((time.perf_counter() - started) * 1e6)
