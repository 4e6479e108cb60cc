"""TensorFlow SavedModels in process.

One row of a small network takes a signature of `tf.saved_model.load` about 87 µs; 10 of them go
into matching keywords. The signature is wrapped once here into a function that takes its tensors by
position: 76 µs, the same bits. (A `tf.compat.v1.Session`, which is what TensorFlow Serving runs,
would save another 10 µs, but its float32 bits differ from the signature's for a quarter of the
rows.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np

from consistency.errors import BackendError, BundleError, ConfigError
from consistency.features import FeatureBatch
from consistency.protocols import ScorerInfo
from consistency.records import Column
from consistency.scored import Outputs
from serving.loaders.tensorflow_runtime import TensorFlow, start_tensorflow
from serving.loaders.threads import cores

FILE: Final = "saved_model.pb"
DEFAULT_SIGNATURE: Final = "serving_default"

Call: TypeAlias = Callable[..., Sequence[TensorFlow]]


@dataclass(frozen=True, slots=True)
class Input:
    """An input of a signature.

    Attributes:
        name: the keyword.
        dtype: what features are cast to; object for strings.
        rank: number of axes, rows included; None when the model leaves it open.
    """

    name: str
    dtype: np.dtype[Any]  # Any: it is known when the model is
    rank: int | None


def load(folder: Path, threads: int | None) -> SavedModelScorer:
    """Load a SavedModel.

    Args:
        folder: holds `saved_model.pb` and `variables/`.
        threads: of TensorFlow's pools, which all models of a process share; None takes them as they
            are.

    Raises:
        BundleError: no SavedModel, or one that TensorFlow cannot read.
        ConfigError: TensorFlow runs with other threads; no signature to choose; a single input
            that takes neither a matrix nor a feature.
    """
    tensorflow = start_tensorflow(threads)
    if not (folder / FILE).is_file():
        raise BundleError(folder, f"{FILE} is missing; a SavedModel is a folder that holds it")
    try:
        model = tensorflow.saved_model.load(str(folder))
    except Exception as error:  # TensorFlow raises OSError, ValueError, KeyError, OpError, ...
        raise BundleError(
            folder,
            f"TensorFlow {tensorflow.__version__} cannot read the SavedModel:"
            f" {type(error).__name__}: {error}",
        ) from error
    signature = _choose_signature(folder, model.signatures)
    within = tensorflow.config.threading.get_intra_op_parallelism_threads()
    return SavedModelScorer(tensorflow, model, signature, threads or within or cores())


class SavedModelScorer:
    """Scores with one signature of a SavedModel.

    A signature with a single input of two axes gets all features as one matrix in schema order;
    any other gets one feature for each input, by name.
    """

    def __init__(
        self,
        tensorflow: TensorFlow,
        model: TensorFlow,
        signature: TensorFlow,
        threads: int,
    ) -> None:
        self._model = model  # owns the variables: the signature alone would let them go
        self._constant, self._names = tensorflow.constant, list(signature.structured_outputs)
        self._inputs = _inputs(signature)
        self._takes_matrix = len(self._inputs) == 1 and self._inputs[0].rank in (2, None)
        self._call = _by_position(tensorflow, signature, self._names)
        outputs = signature.structured_outputs.values()
        self._info = ScorerInfo(
            f"in_process/tensorflow {tensorflow.__version__}",
            "+".join(dict.fromkeys(output.dtype.name for output in outputs)),
            threads=threads,
        )

    @property
    def info(self) -> ScorerInfo:
        """TensorFlow's version, the outputs' dtype, threads."""
        return self._info

    def score(self, features: FeatureBatch) -> Outputs:
        """Return the signature's outputs by name, dtypes kept, first axis N.

        Features are cast to the dtype of the input that takes them.

        Raises:
            BackendError: a feature that the model does not take or lacks, or TensorFlow failed.
        """
        arrays = self._matrix(features) if self._takes_matrix else self._columns(features)
        try:
            tensors = self._call(*map(self._constant, arrays))
        except Exception as error:  # TensorFlow raises its own and Python's errors
            raise BackendError(f"TensorFlow failed: {type(error).__name__}: {error}") from error
        outputs = {n: t.numpy() for n, t in zip(self._names, tensors, strict=True)}
        for name, value in outputs.items():
            if value.shape[:1] != (features.rows,):
                raise BackendError(
                    f"output {name!r} has shape {value.shape} for {features.rows} rows; the first"
                    " axis of every output must be the rows: export such a signature"
                )
        return outputs

    def _matrix(self, features: FeatureBatch) -> list[Column]:
        return [_cast(self._inputs[0], features.matrix())]

    def _columns(self, features: FeatureBatch) -> list[Column]:
        known = features.columns()
        return [_fit(spec, known, features.rows) for spec in self._inputs]


def _fit(spec: Input, features: Mapping[str, Column], rows: int) -> Column:
    """Return the feature that an input takes; a scalar feature becomes a column of width 1."""
    if spec.name not in features:
        raise BackendError(
            f"the model's input {spec.name!r} is no feature; the features are"
            f" {', '.join(features)}: name the inputs as the features are named"
        )
    value = features[spec.name]
    if spec.rank == 2 and value.ndim == 1:
        value = value.reshape(rows, 1)
    return _cast(spec, value)


def _cast(spec: Input, value: Column) -> Column:
    """Round to the input's dtype; integers must fit, since nothing would tell that they did not."""
    if spec.dtype.kind not in "iu":
        return np.ascontiguousarray(value, spec.dtype)
    with np.errstate(invalid="ignore"):  # NaN
        cast = np.ascontiguousarray(value, spec.dtype)
    if not np.array_equal(cast, value):
        raise BackendError(
            f"the model's input {spec.name!r} takes {spec.dtype}, and a feature holds a value that"
            " is none (missing, fractional or too large): let the pipeline make what fits"
        )
    return cast


def _choose_signature(folder: Path, signatures: Mapping[str, TensorFlow]) -> TensorFlow:
    names = sorted(signatures)
    chosen = DEFAULT_SIGNATURE if DEFAULT_SIGNATURE in names else names[0] if names else None
    if chosen is None or (chosen != DEFAULT_SIGNATURE and len(names) > 1):
        raise ConfigError(
            f"{folder}: the SavedModel needs the signature {DEFAULT_SIGNATURE!r} or exactly one;"
            f" it has {', '.join(names) or 'none'}; export it with signatures="
        )
    return signatures[chosen]


def _inputs(signature: TensorFlow) -> tuple[Input, ...]:
    specs = signature.structured_input_signature[1]
    return tuple(
        Input(name, np.dtype(spec.dtype.as_numpy_dtype), spec.shape.rank)
        for name, spec in specs.items()
    )


def _by_position(tensorflow: TensorFlow, signature: TensorFlow, outputs: Sequence[str]) -> Call:
    specs = signature.structured_input_signature[1]

    def call(*tensors: TensorFlow) -> list[TensorFlow]:
        answer = signature(**dict(zip(specs, tensors, strict=True)))
        return [answer[name] for name in outputs]

    shapes = [tensorflow.TensorSpec(spec.shape, spec.dtype) for spec in specs.values()]
    # Traced once for the signature's own shapes: no batch size ever traces it again.
    function = tensorflow.function(call, input_signature=shapes, autograph=False)
    concrete: Call = function.get_concrete_function()
    return concrete
