"""MultiInference: several classify and regress signatures of one model, in one run of its graph.

Only the model server loads this module: the stubs bring TensorFlow with them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorflow_serving.apis import inference_pb2, model_pb2

from serving.model_server import examples
from serving.model_server.api import ServedModel
from serving.model_server.inference import answered, signature_key
from serving.model_server.status import Code, StatusError, invalid

if TYPE_CHECKING:
    from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

    from serving.model_server.api import Tensor


def multi_inference(
    model: ServedModel,
    request: inference_pb2.MultiInferenceRequest,
    spec: model_pb2.ModelSpec,
    *,
    check_method: bool = False,
) -> inference_pb2.MultiInferenceResponse:
    """Run the tasks' signatures on the same examples, their tensors together in one run.

    Raises:
        StatusError: tasks of several models or with several input tensors, a signature twice or
            unknown, no example, or the graph failed.
    """
    signatures = _task_signatures(model, request, check_method)
    merged = _merged(signatures)
    rows = examples.serialised_examples(request.input)
    names = tuple(merged.outputs)
    outputs = dict(zip(names, model.run(merged, {examples.INPUTS: rows}, names), strict=True))
    response = inference_pb2.MultiInferenceResponse()
    for task, signature in zip(request.tasks, signatures, strict=True):
        result = response.results.add()
        _fill(result, task.method_name, signature, outputs, len(rows))
        result.model_spec.CopyFrom(answered(spec, signature_key(task.model_spec)))
    return response


def multi_inference_spec(request: inference_pb2.MultiInferenceRequest) -> model_pb2.ModelSpec:
    """Return the spec by which the model is looked up: the first task's, or an empty one."""
    return request.tasks[0].model_spec if request.tasks else model_pb2.ModelSpec()


def _task_signatures(
    model: ServedModel, request: inference_pb2.MultiInferenceRequest, check_method: bool
) -> list[SignatureDef]:
    signatures: dict[str, SignatureDef] = {}
    tensor = ""
    for task in request.tasks:
        _check_name(task, request)
        key = signature_key(task.model_spec)
        if key in signatures:
            raise invalid(f"Duplicate evaluation of signature: {key}")
        if key not in model.signatures:
            raise invalid(f"Requested signature not found in model graph: {key}")
        signatures[key] = model.signatures[key]
        _check_kind(signatures[key], task.method_name, check_method)
        found = signatures[key].inputs[examples.INPUTS].name
        if tensor not in {"", found}:
            raise invalid("Input tensor must be the same for all Signatures.")
        tensor = found
    return list(signatures.values())


def _check_name(
    task: inference_pb2.InferenceTask, request: inference_pb2.MultiInferenceRequest
) -> None:
    if not task.model_spec.name:
        raise invalid("Found ModelSpec with an empty model name.")
    if task.model_spec.name != request.tasks[0].model_spec.name:
        raise invalid("All ModelSpecs in a MultiInferenceRequest must access the same model name.")


def _check_kind(signature: SignatureDef, method: str, check_method: bool) -> None:
    if method == examples.CLASSIFY_METHOD:
        examples.classify_outputs(signature, check_method)
    elif method == examples.REGRESS_METHOD:
        examples.regress_outputs(signature, check_method)
    else:
        raise StatusError(Code.UNIMPLEMENTED, f"Unsupported signature method_name: {method}")


def _merged(signatures: list[SignatureDef]) -> SignatureDef:
    """Return one signature with all outputs, by the names of their tensors."""
    from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

    merged = SignatureDef()
    for signature in signatures:
        merged.inputs[examples.INPUTS].CopyFrom(signature.inputs[examples.INPUTS])
        for info in signature.outputs.values():
            merged.outputs[info.name].CopyFrom(info)
    return merged


def _fill(
    result: inference_pb2.InferenceResult,
    method: str,
    signature: SignatureDef,
    outputs: dict[str, Tensor],
    count: int,
) -> None:
    found = {alias: outputs[info.name] for alias, info in signature.outputs.items()}
    if method == examples.CLASSIFY_METHOD:
        examples.fill_classifications(
            found.get(examples.CLASSES),
            found.get(examples.SCORES),
            count,
            result.classification_result,
        )
    else:
        examples.fill_regressions(found[examples.REGRESS_OUTPUTS], count, result.regression_result)
