"""ONNX models (`model.onnx`) in process, through onnxruntime.

A model of doubles is scored in doubles: features are cast to what each input declares and never
sent through float32 on the way. Sequential execution, deterministic kernels and a stated number of
threads leave nothing to the machine's load.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from consistency.errors import BackendError, BundleError, ConfigError
from consistency.features import FeatureBatch
from consistency.protocols import ScorerInfo
from consistency.records import Column
from consistency.scored import Outputs
from serving.loaders.named_inputs import Input, check_rows, input_arrays
from serving.loaders.runtimes.devices import CPU, Device
from serving.loaders.runtimes.onnx_runtime import OnnxRuntime, import_onnxruntime
from serving.loaders.runtimes.threads import cores

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, NodeArg

FILE: Final = "model.onnx"
_GPU: Final = "CUDAExecutionProvider"
_ERRORS_ONLY: Final = 3
_DTYPES: Final[Mapping[str, np.dtype[Any]]] = {
    "tensor(float)": np.dtype(np.float32),
    "tensor(double)": np.dtype(np.float64),
    "tensor(float16)": np.dtype(np.float16),
    "tensor(int64)": np.dtype(np.int64),
    "tensor(int32)": np.dtype(np.int32),
    "tensor(int16)": np.dtype(np.int16),
    "tensor(int8)": np.dtype(np.int8),
    "tensor(uint8)": np.dtype(np.uint8),
    "tensor(bool)": np.dtype(np.bool_),
    "tensor(string)": np.dtype(object),
}
_ZIPMAPS: Final[Mapping[str, np.dtype[Any]]] = {
    "seq(map(int64,tensor(float)))": np.dtype(np.float32),
    "seq(map(string,tensor(float)))": np.dtype(np.float32),
}
"""What sklearn-onnx's ZipMap makes: a dict of class to probability for each row."""


def load(folder: Path, threads: int | None, device: str = CPU) -> OnnxScorer:
    """Load `model.onnx` from a folder.

    Args:
        folder: holds the file, and beside it the external data that it names, if any.
        threads: of one operator, None for every core.
        device: `cuda` needs an onnxruntime with its CUDA provider.

    Raises:
        BundleError: the file is missing, or onnxruntime cannot read it.
        ConfigError: an input or output of a type that feature rows cannot be; the device is not
            there.
    """
    onnxruntime = import_onnxruntime()
    place, count = Device.parse(device), threads or cores()
    _check_provider(onnxruntime.get_available_providers(), place)
    path = folder / FILE
    if not path.is_file():
        raise BundleError(folder, f"{FILE} is missing; an ONNX model is that file")
    try:
        session = onnxruntime.InferenceSession(
            path, _options(onnxruntime, count), providers=_providers(place)
        )
    except Exception as error:  # onnxruntime raises a class of its own for each status
        raise BundleError(
            folder, f"onnxruntime {onnxruntime.__version__} cannot read {FILE}: {error}"
        ) from error
    if place.gpu is not None and _GPU not in session.get_providers():
        raise ConfigError(f"device {place!s}: onnxruntime finds no such GPU; see nvidia-smi")
    inputs = tuple(_input(folder, spec) for spec in session.get_inputs())
    info = ScorerInfo(
        f"in_process/onnxruntime {onnxruntime.__version__}",
        _dtype(folder, session.get_outputs()),
        device=str(place),
        threads=count,
    )
    return OnnxScorer(session, inputs, info)


class OnnxScorer:
    """Scores with all outputs of an ONNX model, by name.

    A model with a single input of two axes gets all features as one matrix in schema order; any
    other gets one feature for each input, by name. A ZipMap output becomes a matrix, one column a
    class in ascending order.
    """

    def __init__(
        self, session: InferenceSession, inputs: tuple[Input, ...], info: ScorerInfo
    ) -> None:
        self._run, self._inputs, self._info = session.run, inputs, info
        self._names = [spec.name for spec in session.get_outputs()]

    @property
    def info(self) -> ScorerInfo:
        """The version of onnxruntime, the outputs' floating dtypes, device, threads."""
        return self._info

    @property
    def inputs(self) -> tuple[Input, ...]:
        """What the model takes."""
        return self._inputs

    def score(self, features: FeatureBatch) -> Outputs:
        """Return the model's outputs by name, dtypes kept, first axis N.

        Raises:
            BackendError: features that the model does not take, or onnxruntime failed.
        """
        arrays = input_arrays(
            self._inputs, features, "export it with a dynamic first axis (dynamic_axes)"
        )
        feed = {spec.name: array for spec, array in zip(self._inputs, arrays, strict=True)}
        try:
            answer = self._run(self._names, feed)
        except Exception as error:  # onnxruntime raises a class of its own for each status
            raise BackendError(f"onnxruntime failed: {error}") from error
        outputs = {n: _column(v) for n, v in zip(self._names, answer, strict=True)}
        check_rows(outputs, features.rows)
        return outputs


# Any: nor have its options types
def _options(onnxruntime: OnnxRuntime, threads: int) -> Any:  # noqa: ANN401
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.use_deterministic_compute = True
    options.log_severity_level = _ERRORS_ONLY
    return options


def _check_provider(available: Sequence[str], device: Device) -> None:
    if device.gpu is not None and _GPU not in available:
        raise ConfigError(
            f"device {device!s}: this onnxruntime has no {_GPU} (it has {', '.join(available)});"
            " install onnxruntime-gpu in place of onnxruntime, or use device 'cpu'"
        )


def _providers(device: Device) -> list[tuple[str, dict[str, str]]]:
    cpu: tuple[str, dict[str, str]] = ("CPUExecutionProvider", {})
    if device.gpu is None:
        return [cpu]
    # TensorFloat-32 keeps 10 bits; an exhaustive search may take another kernel at every start.
    exact = {"device_id": str(device.gpu), "use_tf32": "0", "cudnn_conv_algo_search": "DEFAULT"}
    return [(_GPU, exact), cpu]


def _input(folder: Path, spec: NodeArg) -> Input:
    if spec.type not in _DTYPES:
        raise ConfigError(
            f"{folder}: input {spec.name!r} is a {spec.type}; a feature can become one of"
            f" {', '.join(_DTYPES)}"
        )
    # A free axis is a name or None; a scalar input has no axes and can hold no rows.
    rows, *rest = [n if isinstance(n, int) else None for n in spec.shape] or [0]
    width = rest[0] if len(rest) == 1 else None
    return Input(spec.name, _DTYPES[spec.type], len(spec.shape), width, rows)


def _dtype(folder: Path, outputs: Sequence[NodeArg]) -> str:
    found = {}
    for spec in outputs:
        dtype = _DTYPES.get(spec.type, _ZIPMAPS.get(spec.type))
        if dtype is None:  # a nested sequence, a map, an optional
            raise ConfigError(
                f"{folder}: output {spec.name!r} is a {spec.type}, which is no column of numbers"
                " or texts; export the model without it (sklearn-onnx: options={'zipmap': False})"
            )
        found[dtype.name] = dtype.kind
    # A label beside probabilities says nothing of the computation.
    return "+".join([name for name, kind in found.items() if kind == "f"] or found)


def _column(value: Column | list[dict[int, float]] | list[dict[str, float]]) -> Column:
    """Return an output as an array; a ZipMap's rows as a matrix of its classes in order."""
    if isinstance(value, list):
        return np.array([[p for _, p in sorted(row.items())] for row in value], np.float32)
    return value
