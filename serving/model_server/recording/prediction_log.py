"""A call as upstream's `PredictionLog`, the record of its request logging and of its warm-up.

Only the model server loads this module: it imports the stubs, and with them TensorFlow.
"""

from __future__ import annotations

from collections.abc import Iterable

from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog
from tensorflow_serving.config.logging_config_pb2 import SamplingConfig

from consistency.tensor_calls import Method
from serving.model_server.observing.observed import ObservedCall
from serving.model_server.recording.call_outputs import signature_of, version_of

_FIELDS = {
    Method.PREDICT: "predict_log",
    Method.CLASSIFY: "classify_log",
    Method.REGRESS: "regress_log",
    Method.MULTI_INFERENCE: "multi_inference_log",
}


def prediction_log(
    call: ObservedCall, sampling: SamplingConfig, tags: Iterable[str], now_seconds: float
) -> PredictionLog:
    """Return the record of a call that was answered: request, response, and what answered.

    Args:
        call: with a request and a response.
        sampling: by which it was chosen.
        tags: of the meta graph that is served.
        now_seconds: since the epoch.
    """
    assert call.request is not None
    assert call.response is not None
    log = PredictionLog()
    metadata = log.log_metadata
    metadata.model_spec.name, metadata.model_spec.version.value = version_of(call.response)
    metadata.model_spec.signature_name = signature_of(call.response)
    metadata.sampling_config.CopyFrom(sampling)
    metadata.saved_model_tags.extend(sorted(tags))
    metadata.timestamp_secs = int(now_seconds)
    pair = getattr(log, _FIELDS[call.method])
    pair.request.CopyFrom(call.request)
    pair.response.CopyFrom(call.response)
    return log
