"""XGBoost models (`model.ubj` or `model.json`) in process.

One row of a 100-tree model takes `Booster.inplace_predict` about 90 µs, of which the trees need
less than 10. It calls the documented C function `XGBoosterPredictFromDense` after 40 µs of type
checks, and passes no proxy matrix, so that the library builds one for every call: it opens cgroup
files to count processors. Calling that function with one proxy a thread takes about 25 µs and gives
the same bits.
"""

from __future__ import annotations

import ctypes
import json
import math
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from consistency.errors import BackendError, BundleError, ConfigError
from consistency.features import FeatureBatch
from consistency.jsontype import Json
from consistency.protocols import ScorerInfo
from consistency.scored import Outputs
from serving.loaders.runtimes.devices import CPU, Device
from serving.loaders.runtimes.threads import cores

if TYPE_CHECKING:
    from xgboost import Booster

FILES: Final = ("model.ubj", "model.json")
_FLOAT32_BYTES: Final = 4
_PREDICT: Final = (
    b'{"type":0,"training":false,"iteration_begin":0,"iteration_end":0,'
    b'"missing":NaN,"strict_shape":false,"cache_id":0}'
)


def load(folder: Path, threads: int | None, device: str = CPU) -> XGBoostScorer:
    """Load `model.ubj` or `model.json` from a folder.

    Args:
        folder: holds exactly one of the two files.
        threads: XGBoost's `nthread`, None for every core; its answers do not depend on it.
        device: where the trees are walked. A GPU rounds otherwise than the CPU.

    Raises:
        BundleError: no model file, two of them, or one that XGBoost cannot read.
        ConfigError: the booster (gblinear) cannot predict in place; the device is not there.
    """
    import xgboost

    place = Device.parse(device)
    _check_build(xgboost.build_info(), xgboost.__version__, place)
    path, count = _model_file(folder), threads or cores()
    try:
        booster = xgboost.Booster(params={"nthread": count, "device": str(place)}, model_file=path)
    except (xgboost.core.XGBoostError, UnicodeDecodeError, ValueError) as error:
        raise BundleError(
            folder,
            f"{path.name} is not a model that XGBoost {xgboost.__version__} reads:"
            f" {_reason(str(error))}",
        ) from error
    _check_device(booster, place)
    info = ScorerInfo(
        f"in_process/xgboost {xgboost.__version__}", "float32", device=str(place), threads=count
    )
    scorer = XGBoostScorer(booster, info)
    _try_out(scorer, path)
    return scorer


class XGBoostScorer:
    """Scores with all trees of a booster; NaN means missing.

    XGBoost rounds features to float32 and computes in float32. A model stopped early is to be cut
    to its best iteration before it is saved (`booster[: booster.best_iteration + 1]`), since every
    tree in the file counts here.
    """

    def __init__(self, booster: Booster, info: ScorerInfo) -> None:
        from xgboost.libpath import find_lib_path

        self._booster, self._info = booster, info
        self._width = booster.num_features()
        self._library = ctypes.CDLL(find_lib_path()[0])
        self._library.XGBGetLastError.restype = ctypes.c_char_p
        self._call = _CallState(self._library)

    @property
    def info(self) -> ScorerInfo:
        """XGBoost's version, float32, threads."""
        return self._info

    @property
    def width(self) -> int:
        """How many features the model takes."""
        return self._width

    def score(self, features: FeatureBatch) -> Outputs:
        """Return `output`: float32, shape (N,), or (N, k) for k classes or targets.

        Raises:
            BackendError: another number of features than the model takes, or XGBoost failed.
        """
        matrix = features.matrix()
        if matrix.shape[1] != self._width:
            raise BackendError(
                f"the XGBoost model takes {self._width} features, the row has {matrix.shape[1]};"
                " bundle the model with the pipeline that it was trained with"
            )
        return {"output": self.predict(matrix)}

    def predict(self, matrix: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return scores of shape (N,) or (N, k) for a C-ordered matrix of shape (N, width).

        Raises:
            BackendError: XGBoost failed.
        """
        call = self._call
        failed = self._library.XGBoosterPredictFromDense(
            self._booster.handle,
            _array_interface(matrix),
            _PREDICT,
            call.proxy.handle,
            *call.answer,
        )
        if failed:
            raise _failure(self._library)
        # The answer lies in memory that the library uses again at this thread's next call.
        shape = call.shape[: call.dims.value]
        size = _FLOAT32_BYTES * math.prod(shape)
        return np.frombuffer(ctypes.string_at(call.scores, size), np.float32).reshape(shape)


class _Proxy:
    """XGBoost's description of the matrix at hand, made once and freed with this object."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library, self.handle = library, ctypes.c_void_p()
        if library.XGProxyDMatrixCreate(ctypes.byref(self.handle)):
            raise _failure(library)

    def __del__(self) -> None:
        self._library.XGDMatrixFree(self.handle)


class _CallState(threading.local):
    """What a call fills in; each thread has its own, so that calls may run side by side."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self.proxy = _Proxy(library)
        self.shape = ctypes.POINTER(ctypes.c_uint64)()
        self.dims = ctypes.c_uint64()
        self.scores = ctypes.POINTER(ctypes.c_float)()
        self.answer = tuple(map(ctypes.byref, (self.shape, self.dims, self.scores)))


def _array_interface(matrix: NDArray[np.float64]) -> bytes:
    return b'{"data":[%d,true],"shape":[%d,%d],"typestr":"<f8","version":3,"strides":null}' % (
        matrix.ctypes.data,
        *matrix.shape,
    )


def _failure(library: ctypes.CDLL) -> BackendError:
    message: bytes = library.XGBGetLastError()
    return BackendError(f"XGBoost failed: {_reason(message.decode(errors='replace'))}")


def _reason(message: str) -> str:
    """Return XGBoost's message as one line, without the stack trace of its C++."""
    return " ".join(message.partition("Stack trace:")[0].split())


def _model_file(folder: Path) -> Path:
    found = [folder / name for name in FILES if (folder / name).is_file()]
    if len(found) != 1:
        what = "both" if found else "neither"
        raise BundleError(
            folder, f"{what} of {' and '.join(FILES)} found; an XGBoost model is exactly one file"
        )
    return found[0]


def _check_build(build: Mapping[str, Json], version: str, device: Device) -> None:
    """Refuse a GPU before XGBoost without CUDA quietly takes the CPU."""
    if device.gpu is not None and not build.get("USE_CUDA"):
        raise ConfigError(
            f"device {device!s}: XGBoost {version} here was built without CUDA; install the"
            " distribution xgboost in place of xgboost-cpu, or use device 'cpu'"
        )


def _check_device(booster: Booster, device: Device) -> None:
    """Refuse a GPU that XGBoost did not find: it warns and takes the CPU."""
    taken = json.loads(booster.save_config())["learner"]["generic_param"]["device"]
    if taken != str(device):
        raise ConfigError(
            f"device {device!s}: XGBoost finds no such GPU and would take {taken}; see nvidia-smi,"
            " or use device 'cpu'"
        )


def _try_out(scorer: XGBoostScorer, path: Path) -> None:
    """Score one row of missing values: the first call also finishes the booster's set-up."""
    try:
        scorer.predict(np.full((1, scorer.width), np.nan))
    except BackendError as error:
        raise ConfigError(
            f"{path}: {error}; boosters of the kinds gbtree and dart can be served"
        ) from error
