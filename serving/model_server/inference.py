"""The inference calls on one loaded model: pure functions of a model, a request and a spec.

Every function takes the answered spec: the model's name as asked, and the version that was looked
up. Its signature name is not read: what the answer carries depends on the call.

Only the model server loads this module: the stubs bring TensorFlow with them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    model_pb2,
    predict_pb2,
    regression_pb2,
)

from serving.model_server import examples
from serving.model_server.api import ServedModel
from serving.model_server.status import Code, StatusError, invalid
from serving.model_server.wire import tensors

if TYPE_CHECKING:
    from tensorflow.core.framework.tensor_pb2 import TensorProto
    from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

    from serving.model_server.api import Tensor

DEFAULT_SIGNATURE: Final = "serving_default"
PREDICT_METHOD: Final = "tensorflow/serving/predict"
METADATA_FIELD: Final = "signature_def"
_METHODS: Final = (PREDICT_METHOD, examples.CLASSIFY_METHOD, examples.REGRESS_METHOD)


def predict(
    model: ServedModel,
    request: predict_pb2.PredictRequest,
    spec: model_pb2.ModelSpec,
    *,
    as_content: bool = False,
    check_method: bool = False,
) -> predict_pb2.PredictResponse:
    """Run a signature on tensors.

    Args:
        model: what runs.
        request: names the signature and carries the tensors.
        spec: of the answer.
        as_content: answer with `tensor_content` instead of typed fields.
        check_method: refuse a signature of none of the known method names (the flag
            enable_signature_method_name_check).

    Raises:
        StatusError: unknown signature, wrong inputs, unknown output, or the graph failed.
    """
    key = signature_key(request.model_spec)
    signature = predict_signature(model, key)
    if check_method and signature.method_name not in _METHODS:
        raise StatusError(
            Code.INTERNAL,
            f"Expected prediction signature method_name to be one of {{{', '.join(_METHODS)}}}."
            f" Was: {signature.method_name}",
        )
    feeds = _feeds(signature, request)
    fetches = _fetches(signature, request)
    outputs = model.run(signature, feeds, fetches)
    response = predict_pb2.PredictResponse(model_spec=spec)
    response.model_spec.signature_name = key
    for alias, output in zip(fetches, outputs, strict=True):
        tensors.encode(output, response.outputs[alias], as_content)
    return response


def classify(
    model: ServedModel,
    request: classification_pb2.ClassificationRequest,
    spec: model_pb2.ModelSpec,
    *,
    check_method: bool = False,
) -> classification_pb2.ClassificationResponse:
    """Classify examples.

    Raises:
        StatusError: unknown signature or no classification's, no example, or the graph failed.
    """
    key = signature_key(request.model_spec)
    signature = _examples_signature(model, key)
    aliases = examples.classify_outputs(signature, check_method)
    rows = examples.serialised_examples(request.input)
    outputs = dict(
        zip(aliases, model.run(signature, {examples.INPUTS: rows}, aliases), strict=True)
    )
    response = classification_pb2.ClassificationResponse(model_spec=answered(spec, key))
    examples.fill_classifications(
        outputs.get(examples.CLASSES), outputs.get(examples.SCORES), len(rows), response.result
    )
    return response


def regress(
    model: ServedModel,
    request: regression_pb2.RegressionRequest,
    spec: model_pb2.ModelSpec,
    *,
    check_method: bool = False,
) -> regression_pb2.RegressionResponse:
    """Regress examples.

    Raises:
        StatusError: unknown signature or no regression's, no example, or the graph failed.
    """
    key = signature_key(request.model_spec)
    signature = _examples_signature(model, key)
    aliases = examples.regress_outputs(signature, check_method)
    rows = examples.serialised_examples(request.input)
    (output,) = model.run(signature, {examples.INPUTS: rows}, aliases)
    response = regression_pb2.RegressionResponse(model_spec=answered(spec, key))
    examples.fill_regressions(output, len(rows), response.result)
    return response


def get_model_metadata(
    model: ServedModel,
    request: get_model_metadata_pb2.GetModelMetadataRequest,
    spec: model_pb2.ModelSpec,
) -> get_model_metadata_pb2.GetModelMetadataResponse:
    """Return the signature definitions.

    Raises:
        StatusError: see `check_metadata_request`.
    """
    check_metadata_request(request)
    response = get_model_metadata_pb2.GetModelMetadataResponse(model_spec=spec)
    response.model_spec.ClearField("signature_name")
    found = get_model_metadata_pb2.SignatureDefMap()
    for key, signature in model.signatures.items():
        found.signature_def[key].CopyFrom(signature)
    response.metadata[METADATA_FIELD].Pack(found)
    return response


def check_metadata_request(request: get_model_metadata_pb2.GetModelMetadataRequest) -> None:
    """Refuse a metadata request that no model could answer: upstream does before it looks one up.

    Raises:
        StatusError: no model spec, no field, or an unknown one.
    """
    if not request.HasField("model_spec"):
        raise invalid("Missing ModelSpec")
    if not request.metadata_field:
        raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
    for field in request.metadata_field:
        if field != METADATA_FIELD:
            raise invalid(f"Metadata field {field} is not supported")


def signature_key(spec: model_pb2.ModelSpec) -> str:
    """Return the signature that a request asks for."""
    return spec.signature_name or DEFAULT_SIGNATURE


def answered(spec: model_pb2.ModelSpec, key: str) -> model_pb2.ModelSpec:
    """Return the spec of an answer, with the signature that ran."""
    return model_pb2.ModelSpec(name=spec.name, version=spec.version, signature_name=key)


def predict_signature(model: ServedModel, key: str) -> SignatureDef:
    """Return a signature for Predict.

    Raises:
        StatusError: FAILED_PRECONDITION, the model has none of this key.
    """
    signature = model.signatures.get(key)
    if signature is None:
        raise StatusError(Code.FAILED_PRECONDITION, f'Serving signature key "{key}" not found.')
    return signature


def _examples_signature(model: ServedModel, key: str) -> SignatureDef:
    signature = model.signatures.get(key)
    if signature is None:
        raise invalid(f"No signature was found with the name: {key}")
    return signature


def _feeds(signature: SignatureDef, request: predict_pb2.PredictRequest) -> dict[str, Tensor]:
    _check_inputs_count(signature, request)
    sent = request.inputs
    feeds, used = {}, 0
    for alias in signature.inputs:
        if alias in sent:
            proto, used = sent[alias], used + 1
        else:
            proto = _default(signature, request, alias)
        try:
            feeds[alias] = tensors.decode(proto)
        except tensors.MalformedTensorError as error:
            raise invalid(f"tensor parsing error: {alias}") from error
    if used != len(sent):
        raise _unused_inputs(signature, request)
    return feeds


def _default(
    signature: SignatureDef, request: predict_pb2.PredictRequest, alias: str
) -> TensorProto:
    if alias in signature.defaults:
        return signature.defaults[alias]
    raise invalid(
        f"Signature input alias: {alias}(feed name: {signature.inputs[alias].name}) not found in"
        " request and no default value provided. Inputs expected to be in the request"
        f" {{{_joined(request.inputs)}}}, or default input alias set:"
        f" {_joined(signature.defaults)}"
    )


def _check_inputs_count(signature: SignatureDef, request: predict_pb2.PredictRequest) -> None:
    missing = len(signature.inputs) - len(request.inputs)
    if not missing or (missing > 0 and signature.defaults):
        return
    sent, taken = set(request.inputs), set(signature.inputs)
    raise invalid(
        f"input size does not match signature: {len(sent)}!={len(taken)}"
        f" len({{{_joined(sent)}}}) != len({{{_joined(taken)}}})."
        f" Sent extra: {{{_joined(sent - taken)}}}."
        f" Missing but required: {{{_joined(taken - sent)}}}."
    )


def _unused_inputs(signature: SignatureDef, request: predict_pb2.PredictRequest) -> StatusError:
    used = [alias for alias in request.inputs if alias in signature.inputs]
    return invalid(
        f"Inputs contains invalid name. Used request inputs: {_joined(used)},"
        f" request input: {_joined(request.inputs)}"
    )


def _fetches(signature: SignatureDef, request: predict_pb2.PredictRequest) -> tuple[str, ...]:
    if not request.output_filter:
        return tuple(signature.outputs)
    seen: dict[str, None] = {}
    for alias in request.output_filter:
        if alias not in signature.outputs:
            raise invalid(
                f"output tensor alias not found in signature: {alias} Outputs expected to be in the"
                f" set {{{_joined(signature.outputs)}}}."
            )
        if alias in seen:
            raise invalid(f"duplicate output tensor alias: {alias}")
        seen[alias] = None
    return tuple(seen)


def _joined(names: Iterable[str] | Mapping[str, object]) -> str:
    return ",".join(sorted(names))
