"""TensorFlow SavedModels in process.

One row of a small network takes a signature of `tf.saved_model.load` about 87 µs; 10 of them go
into matching keywords. The signature is wrapped once here into a function that takes its tensors by
position: 76 µs, the same bits. (A `tf.compat.v1.Session`, which is what TensorFlow Serving runs,
would save another 10 µs, but its float32 bits differ from the signature's for a quarter of the
rows.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np

from consistency.errors import BackendError, BundleError, ConfigError
from consistency.features import FeatureBatch
from consistency.protocols import ScorerInfo
from consistency.scored import Outputs
from serving.loaders.named_inputs import Input, check_rows, input_arrays
from serving.loaders.runtimes.devices import CPU, only_cpu
from serving.loaders.runtimes.tensorflow_runtime import TensorFlow, start_tensorflow
from serving.loaders.runtimes.threads import cores

FILE: Final = "saved_model.pb"
DEFAULT_SIGNATURE: Final = "serving_default"

Call: TypeAlias = Callable[..., Sequence[TensorFlow]]


def load(folder: Path, threads: int | None, device: str = CPU) -> SavedModelScorer:
    """Load a SavedModel.

    Args:
        folder: holds `saved_model.pb` and `variables/`.
        threads: of TensorFlow's pools, which all models of a process share; None takes them as they
            are.
        device: `cpu`.

    Raises:
        BundleError: no SavedModel, or one that TensorFlow cannot read.
        ConfigError: another device; TensorFlow runs with other threads; no signature to choose; a
            single input that takes neither a matrix nor a feature.
    """
    only_cpu("TensorFlow", device)
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

    @property
    def inputs(self) -> tuple[Input, ...]:
        """What the model takes."""
        return self._inputs

    def score(self, features: FeatureBatch) -> Outputs:
        """Return the signature's outputs by name, dtypes kept, first axis N.

        Features are cast to the dtype of the input that takes them.

        Raises:
            BackendError: a feature that the model does not take or lacks, or TensorFlow failed.
        """
        arrays = input_arrays(self._inputs, features)
        try:
            tensors = self._call(*map(self._constant, arrays))
        except Exception as error:  # TensorFlow raises its own and Python's errors
            raise BackendError(f"TensorFlow failed: {type(error).__name__}: {error}") from error
        outputs = {n: t.numpy() for n, t in zip(self._names, tensors, strict=True)}
        check_rows(outputs, features.rows)
        return outputs


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
        Input(
            name,
            np.dtype(spec.dtype.as_numpy_dtype),
            spec.shape.rank,
            spec.shape[1] if spec.shape.rank == 2 else None,
        )
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
