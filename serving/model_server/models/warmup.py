"""Runs the recorded requests of a version before it is served, as upstream's `enable_model_warmup`.

The file is that of upstream: TFRecord of `PredictionLog`. The model's name in a request is not
looked at; what the requests answer is thrown away, and the first one that fails fails the load.

Only the model server loads this module: the stubs bring TensorFlow with them.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from google.protobuf.message import DecodeError
from tensorflow_serving.apis import model_pb2
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from serving.model_server import inference
from serving.model_server.multi_inference import multi_inference
from serving.model_server.status import Code, StatusError, invalid
from serving.model_server.wire.tfrecord import read_records

if TYPE_CHECKING:
    from serving.model_server.api import ServedModel
    from serving.model_server.observing.serving_metrics import ServingMetrics

_LOG: Final = logging.getLogger(__name__)

FILE: Final = Path("assets.extra", "tf_serving_warmup_requests")
MOST_RECORDS: Final = 1000


def warm_up(model: ServedModel, folder: Path, metrics: ServingMetrics, iterations: int = 1) -> int:
    """Run the recorded requests of a version; nothing to do without the file.

    Args:
        model: that was loaded from the folder.
        folder: of the version.
        metrics: is added to.
        iterations: how often each request is run.

    Returns:
        The records that were read.

    Raises:
        StatusError: a request failed, a record is none or of a kind that cannot be run, there are
            more than `MOST_RECORDS`, or the file is no TFRecord.
    """
    file = folder / FILE
    if not file.exists():
        _LOG.info("No warmup data file found at %s", file)
        return 0
    started = time.perf_counter()
    status = "OK"
    count = 0
    try:
        for record in read_records(file):
            _run(model, _parsed(record, file), iterations)
            count += 1
            if count > MOST_RECORDS:
                raise invalid(
                    f"Number of warmup records exceeds the maximum ({MOST_RECORDS}) at {file}"
                )
    except StatusError as error:
        status = f"{error.code.name}: {error.message}"
        raise _explained(error) from error
    finally:
        taken = int((time.perf_counter() - started) * 1e6)
        metrics.warmup_latency.observe(taken, str(folder), status)
        metrics.warmup_records_read.add(str(folder), by=count)
    _LOG.info("Finished warming up with %d records of %s in %d µs", count, file, taken)
    return count


def _parsed(record: bytes, file: Path) -> PredictionLog:
    try:
        return PredictionLog.FromString(record)
    except DecodeError as error:
        shown = record.decode("utf-8", "replace")
        raise invalid(f"Failed to parse warmup record: {shown} from {file}") from error


def _explained(error: StatusError) -> StatusError:
    if error.code is not Code.DATA_LOSS:
        return error
    hint = ". Please verify your warmup data is in TFRecord format."
    return StatusError(Code.DATA_LOSS, error.message + hint)


def _run(model: ServedModel, log: PredictionLog, iterations: int) -> None:
    kind = log.WhichOneof("log_type")
    spec = model_pb2.ModelSpec()
    for _ in range(iterations):
        if kind == "predict_log":
            inference.predict(model, log.predict_log.request, spec)
        elif kind == "classify_log":
            inference.classify(model, log.classify_log.request, spec)
        elif kind == "regress_log":
            inference.regress(model, log.regress_log.request, spec)
        elif kind == "multi_inference_log":
            multi_inference(model, log.multi_inference_log.request, spec)
        elif kind == "session_run_log":
            number = PredictionLog.SESSION_RUN_LOG_FIELD_NUMBER
            raise StatusError(Code.UNIMPLEMENTED, f"Unsupported log_type for warmup: {number}")
        # An empty log is skipped; so is a streamed one, as upstream's session does.
