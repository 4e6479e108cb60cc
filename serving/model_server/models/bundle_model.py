"""A bundle of any model format as the model server serves it: XGBoost, LightGBM, torch, ONNX, ...

Its signatures are made up from the bundle's features, of which a TensorFlow client knows by
GetModelMetadata as of any model's:

- `serving_default`: one input a feature, by name, in the feature's own dtype, shape (N,) (a
  client's (N, 1) is taken as well); the output `scores`, float64: what `samescore serve` answers;
- `matrix`: the same from one input `features`, float64, (N, F), columns in the bundle's order; not
  there when a feature is a text or has several values a row;
- `raw_outputs`: as `serving_default`, with the model's own outputs, by name, dtypes kept.

Only the model server loads this module, and a replay of what it answered.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from consistency.errors import BackendError, DataError
from consistency.features import FeatureBatch, feature_batch
from consistency.postprocess import PostProcess
from consistency.protocols import Scorer
from consistency.records import Column
from consistency.schema import FeatureSchema, FeatureType
from consistency.scored import Outputs
from serving.model_server.examples import BUNDLE_TENSOR
from serving.model_server.inference import DEFAULT_SIGNATURE, PREDICT_METHOD
from serving.model_server.status import Code, StatusError, invalid
from serving.model_server.wire import tensors
from serving.model_server.wire.dtypes import DataType, dtype_of

if TYPE_CHECKING:
    from tensorflow.core.framework.tensor_pb2 import TensorProto
    from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef, TensorInfo

    from serving.model_server.api import Tensor

MATRIX_SIGNATURE: Final = "matrix"
RAW_SIGNATURE: Final = "raw_outputs"
FEATURES: Final = "features"
SCORES: Final = "scores"
_MATRIX_TENSOR: Final = f"{BUNDLE_TENSOR}:matrix:0"
_SCORES_TENSOR: Final = f"{BUNDLE_TENSOR}:scores:0"
"""A colon before a name sets them apart: the tensors of features and outputs have it behind."""
_OUTPUT: Final = ":0"
_HINT_DECAY: Final = 0.999

_DTYPES: Final = {
    FeatureType.FLOAT64: DataType.DOUBLE,
    FeatureType.FLOAT32: DataType.FLOAT,
    FeatureType.INT64: DataType.INT64,
    FeatureType.BOOL: DataType.BOOL,
    FeatureType.STRING: DataType.STRING,
    FeatureType.TOKENS: DataType.STRING,
}


@dataclass(frozen=True, slots=True)
class _Feature:
    """What a feature's tensor must be.

    Attributes:
        tail: the shape of one row's value; -1 for any length.
    """

    name: str
    kind: FeatureType
    tail: tuple[int, ...]


class BundleModel:
    """A loaded bundle, a `ServedModel`; any number of threads may run it.

    Args:
        scorer: the bundle's model, executed as its manifest says.
        sample: one feature row at least: its values' shapes are every row's, and what the model
            makes of it has the outputs' dtypes and shapes.
        postprocess: from raw outputs to scores.

    Attributes:
        scorer: as given.

    Raises:
        BackendError: the model cannot score the sample.
    """

    def __init__(self, scorer: Scorer, sample: FeatureBatch, postprocess: PostProcess) -> None:
        self.scorer, self._postprocess = scorer, postprocess
        self._schema: FeatureSchema = sample.schema
        pairs = zip(sample.columns().items(), sample.schema.types, strict=True)
        self._features = [_Feature(n, kind, _tail(column, kind)) for (n, column), kind in pairs]
        outputs = scorer.score(sample)
        self.signatures = _signatures(self._features, outputs, postprocess(outputs))
        self.thread_hint_seconds = 0.0

    def run(
        self,
        signature: SignatureDef,
        feeds: Mapping[str, Tensor | TensorProto],
        fetches: tuple[str, ...],
    ) -> list[Tensor]:
        """Score rows.

        Raises:
            StatusError: INVALID_ARGUMENT: a feed of another dtype or shape, no row, a text that is
                not UTF-8. INTERNAL: the model failed.
        """
        started = time.perf_counter()
        # By tensor, not by alias: a batch comes with a signature of its own, made of the names.
        arrays = {signature.inputs[alias].name: _array(value) for alias, value in feeds.items()}
        batch = self._batch(arrays)
        try:
            found = self._outputs(batch, [signature.outputs[alias].name for alias in fetches])
        except DataError as error:
            raise invalid(str(error)) from error
        except BackendError as error:
            raise StatusError(Code.INTERNAL, str(error)) from error
        self.thread_hint_seconds = max(
            time.perf_counter() - started, self.thread_hint_seconds * _HINT_DECAY
        )
        return found

    def _outputs(self, batch: FeatureBatch, names: list[str]) -> list[Tensor]:
        raw = self.scorer.score(batch)
        return [
            self._postprocess(raw) if name == _SCORES_TENSOR else as_tensor(raw[_plain(name)])
            for name in names
        ]

    def _batch(self, arrays: Mapping[str, Tensor]) -> FeatureBatch:
        if _MATRIX_TENSOR in arrays:
            return self._from_matrix(arrays[_MATRIX_TENSOR])
        given = {_plain(name): array for name, array in arrays.items()}
        for feature in self._features:
            _check_dtype(feature.name, given[feature.name], _DTYPES[feature.kind])
        rows = _rows(given)
        columns = {f.name: _column(f, given[f.name], rows) for f in self._features}
        return feature_batch(self._schema, columns, {})

    def _from_matrix(self, matrix: Tensor) -> FeatureBatch:
        _check_dtype(FEATURES, matrix, DataType.DOUBLE)
        if matrix.ndim != 2 or matrix.shape[1] != len(self._features) or not len(matrix):
            raise invalid(
                f"input {FEATURES!r} has shape {list(matrix.shape)}; send [N, "
                f"{len(self._features)}], one row for each of N >= 1 instances"
            )
        columns = {f.name: _cast(f, matrix[:, j]) for j, f in enumerate(self._features)}
        return feature_batch(self._schema, columns, {})


def feeds_of(features: FeatureBatch) -> dict[str, Tensor]:
    """Return feature rows as the inputs of `serving_default` and `raw_outputs`."""
    pairs = zip(features.columns().items(), features.schema.types, strict=True)
    return {
        name: _filled_up(column) if kind is FeatureType.TOKENS else as_tensor(column)
        for (name, column), kind in pairs
    }


def _filled_up(lists: Column) -> Tensor:
    held = lists.tolist()
    filled = np.full((len(held), max(map(len, held), default=0)), b"", object)
    for i, tokens in enumerate(held):
        filled[i, : len(tokens)] = [token.encode() for token in tokens]
    return filled


def _tail(column: Column, kind: FeatureType) -> tuple[int, ...]:
    return (-1,) if kind is FeatureType.TOKENS else column.shape[1:]


def _signatures(
    features: list[_Feature], outputs: Outputs, scores: Column
) -> dict[str, SignatureDef]:
    from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

    by_name = SignatureDef(method_name=PREDICT_METHOD)
    for feature in features:
        shape = (-1, *feature.tail)
        _describe(by_name.inputs[feature.name], feature.name, _DTYPES[feature.kind], shape)
    raw = SignatureDef()
    raw.CopyFrom(by_name)
    for name, output in outputs.items():
        values = as_tensor(output)
        _describe(raw.outputs[name], name, dtype_of(values), (-1, *values.shape[1:]))
    described = by_name.outputs[SCORES]
    _describe(described, "", DataType.DOUBLE, (-1, *scores.shape[1:]))
    described.name = _SCORES_TENSOR
    found = {DEFAULT_SIGNATURE: by_name, RAW_SIGNATURE: raw}
    if all(not f.tail and f.kind is not FeatureType.STRING for f in features):
        found[MATRIX_SIGNATURE] = _matrix_signature(len(features), described)
    return found


def _matrix_signature(width: int, scores: TensorInfo) -> SignatureDef:
    from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

    signature = SignatureDef(method_name=PREDICT_METHOD)
    _describe(signature.inputs[FEATURES], FEATURES, DataType.DOUBLE, (-1, width))
    signature.inputs[FEATURES].name = _MATRIX_TENSOR
    signature.outputs[SCORES].CopyFrom(scores)
    return signature


def _describe(info: TensorInfo, name: str, dtype: DataType, shape: tuple[int, ...]) -> None:
    info.name, info.dtype = f"{BUNDLE_TENSOR}{name}{_OUTPUT}", dtype
    for size in shape:
        info.tensor_shape.dim.add(size=size)


def _plain(tensor: str) -> str:
    """Return the name of the feature or output that a tensor is."""
    return tensor.removeprefix(BUNDLE_TENSOR).removesuffix(_OUTPUT)


def _array(value: Tensor | TensorProto) -> Tensor:
    return value if isinstance(value, np.ndarray) else tensors.decode(value)


def _check_dtype(alias: str, array: Tensor, wanted: DataType) -> None:
    found = dtype_of(array)
    if found != wanted:
        raise invalid(f"Expects input {alias!r} to be {wanted.word} but {found.word} is provided")


def _rows(arrays: Mapping[str, Tensor]) -> int:
    sizes = {alias: array.shape[0] if array.ndim else 0 for alias, array in arrays.items()}
    first, rows = next(iter(sizes.items()))
    for alias, size in sizes.items():
        if size != rows:
            raise invalid(
                f"input {first!r} has {rows} rows and {alias!r} has {size}; send the same number "
                "of rows for each feature"
            )
    if not rows:
        raise invalid("the inputs hold no row; send [N] values for each of N >= 1 instances")
    return rows


def _column(feature: _Feature, array: Tensor, rows: int) -> Column:
    shape = (rows, *feature.tail)
    if array.shape == (rows, 1) and not feature.tail:
        array = array.reshape(rows)
    fits = array.ndim == len(shape) and all(
        wanted in (-1, size) for wanted, size in zip(shape, array.shape, strict=True)
    )
    if not fits:
        wanted = ", ".join(["N", *("any" if size < 0 else str(size) for size in feature.tail)])
        raise invalid(
            f"input {feature.name!r} has shape {list(array.shape)}; send [{wanted}], N instances"
        )
    if feature.kind is FeatureType.TOKENS:
        return _token_lists(feature.name, array)
    return _texts(feature.name, array) if feature.kind is FeatureType.STRING else array


def _texts(name: str, array: Tensor) -> Column:
    texts = np.empty(array.shape, object)
    flat = texts.reshape(-1)
    for i, value in enumerate(array.reshape(-1).tolist()):
        try:
            flat[i] = value.decode()
        except UnicodeDecodeError as error:
            raise invalid(f"input {name!r} holds {value!r:.60}, which is not UTF-8") from error
    return texts


def _token_lists(name: str, array: Tensor) -> Column:
    """Return one list a row; the empty texts at its end only fill the tensor up."""
    lists = np.empty(len(array), object)
    for i, row in enumerate(_texts(name, array).tolist()):
        while row and not row[-1]:
            row.pop()
        lists[i] = row
    return lists


def _cast(feature: _Feature, values: Tensor) -> Column:
    dtype: np.dtype[Any] = np.dtype(feature.kind.numpy)  # Any: the feature's
    if dtype.kind == "f":
        return values.astype(dtype)
    with np.errstate(invalid="ignore"):  # NaN
        cast = values.astype(dtype)
    if not np.array_equal(cast, values):
        raise invalid(
            f"input {FEATURES!r} has a value of feature {feature.name!r} that is no {dtype}; send "
            "what the feature can hold"
        )
    return cast


def as_tensor(values: Column) -> Tensor:
    """Return an array as the wire knows it: texts are objects of bytes."""
    if values.dtype.kind not in "OUS":
        return values
    held = np.empty(values.shape, object)
    held.reshape(-1)[:] = [_bytes(value) for value in values.reshape(-1).tolist()]
    return held


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()
