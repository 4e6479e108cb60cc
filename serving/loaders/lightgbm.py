"""LightGBM models (`model.txt`) in process.

One row of a 100-tree model takes `Booster.predict` about 15 µs, of which the trees need 3. The
library's documented C interface has a call for single rows whose settings are parsed once
(`LGBM_BoosterPredictForMatSingleRowFast`); Python's `Booster` does not use it. The whole model goes
through the C interface here, so that it is in memory once. The bits are the same.
"""

from __future__ import annotations

import ctypes
import logging
import threading
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from consistency.errors import BackendError, BundleError, ConfigError
from consistency.features import FeatureBatch
from consistency.protocols import ScorerInfo
from consistency.scored import Outputs

FILE: Final = "model.txt"
_FLOAT64: Final = 1
_ROW_MAJOR: Final = 1
_NORMAL: Final = 0
_FROM_FIRST_TO_LAST: Final = (0, -1)


def load(folder: Path, threads: int) -> LightGBMScorer:
    """Load `model.txt` from a folder.

    Args:
        folder: holds the file that `Booster.save_model` wrote.
        threads: LightGBM's `num_threads`; its answers do not depend on it.

    Raises:
        BundleError: the file is missing or is not a whole LightGBM model.
        ConfigError: LightGBM's own library is not where its package keeps it.
    """
    import lightgbm

    path = folder / FILE
    _check_whole(folder, path)
    # LightGBM prints to standard output unless it is given a logger.
    lightgbm.register_logger(logging.getLogger("samescore.lightgbm"))
    library = _Library(_library_file(Path(lightgbm.__file__).parent))
    try:
        model = _Model(library, path)
    except BackendError as error:
        raise BundleError(
            folder, f"{FILE} is not a model that LightGBM {lightgbm.__version__} reads: {error}"
        ) from error
    info = ScorerInfo(f"in_process/lightgbm {lightgbm.__version__}", "float64", threads=threads)
    return LightGBMScorer(model, info)


class LightGBMScorer:
    """Scores with all trees of a model, in float64; NaN means what it meant in training."""

    def __init__(self, model: _Model, info: ScorerInfo) -> None:
        self._model, self._info = model, info
        self._settings = f"num_threads={info.threads} verbosity=-1".encode()
        self._call = _CallState(model, self._settings)

    @property
    def info(self) -> ScorerInfo:
        """LightGBM's version, float64, threads."""
        return self._info

    def score(self, features: FeatureBatch) -> Outputs:
        """Return `output`: float64, shape (N,), or (N, k) for k classes.

        Raises:
            BackendError: another number of features than the model takes, or LightGBM failed.
        """
        matrix = features.matrix()
        if matrix.shape[1] != self._model.width:
            raise BackendError(
                f"the LightGBM model takes {self._model.width} features, the row has"
                f" {matrix.shape[1]}; bundle the model with the pipeline that it was trained with"
            )
        if len(matrix) == 1:
            return {"output": self._call.one_row.predict(matrix)}
        return {"output": self._model.predict(matrix, self._settings)}


class _Library:
    """LightGBM's C interface, with errors raised."""

    def __init__(self, path: Path) -> None:
        self._calls = ctypes.CDLL(str(path))
        self._calls.LGBM_GetLastError.restype = ctypes.c_char_p
        self.predict_one_row = self._calls.LGBM_BoosterPredictForMatSingleRowFast

    def call(self, name: str, *arguments: object) -> None:
        """Call a function by name.

        Raises:
            BackendError: with LightGBM's own message.
        """
        self.check(getattr(self._calls, name)(*arguments))

    def check(self, status: int) -> None:
        """Raise when a call answered that it failed."""
        if status:
            message = self._calls.LGBM_GetLastError().decode(errors="replace")
            raise BackendError(f"LightGBM failed: {message}")


class _Model:
    """A loaded model.

    Attributes:
        width: how many features it takes.
        outputs: how many numbers it answers for a row.
    """

    def __init__(self, library: _Library, path: Path) -> None:
        self.library, self.handle = library, ctypes.c_void_p()
        trees, width, outputs = ctypes.c_int(), ctypes.c_int(), ctypes.c_int64()
        library.call(
            "LGBM_BoosterCreateFromModelfile",
            str(path).encode(),
            ctypes.byref(trees),
            ctypes.byref(self.handle),
        )
        library.call("LGBM_BoosterGetNumFeature", self.handle, ctypes.byref(width))
        library.call(
            "LGBM_BoosterCalcNumPredict",
            *(self.handle, 1, _NORMAL, *_FROM_FIRST_TO_LAST, ctypes.byref(outputs)),
        )
        self.width, self.outputs = width.value, outputs.value

    def __del__(self) -> None:
        if self.handle.value:
            self.library.call("LGBM_BoosterFree", self.handle)

    def predict(self, matrix: NDArray[np.float64], settings: bytes) -> NDArray[np.float64]:
        """Return scores of shape (N,) or (N, k) for a C-ordered matrix of shape (N, width)."""
        scores = np.empty(len(matrix) * self.outputs)
        self.library.call(
            "LGBM_BoosterPredictForMat",
            *(self.handle, _address(matrix), _FLOAT64, len(matrix), self.width, _ROW_MAJOR),
            *(_NORMAL, *_FROM_FIRST_TO_LAST, settings),
            *(ctypes.byref(ctypes.c_int64()), _address(scores)),
        )
        return scores if self.outputs == 1 else scores.reshape(len(matrix), self.outputs)


class _OneRow:
    """The call for one row, prepared.

    The row and the answer have their places in memory, since looking up an array's address costs
    more than copying 30 numbers.
    """

    def __init__(self, model: _Model, settings: bytes) -> None:
        self._model, self._config = model, ctypes.c_void_p()
        self._row, self._scores = np.empty((1, model.width)), np.empty(model.outputs)
        self._shape = (1,) if model.outputs == 1 else (1, model.outputs)
        model.library.call(
            "LGBM_BoosterPredictForMatSingleRowFastInit",
            *(model.handle, _NORMAL, *_FROM_FIRST_TO_LAST, _FLOAT64, model.width, settings),
            ctypes.byref(self._config),
        )
        length = ctypes.byref(ctypes.c_int64())
        self._arguments = (self._config, _address(self._row), length, _address(self._scores))

    def __del__(self) -> None:
        if self._config.value:
            self._model.library.call("LGBM_FastConfigFree", self._config)

    def predict(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return scores of shape (1,) or (1, k) for a matrix of shape (1, width)."""
        self._row[...] = matrix
        library = self._model.library
        library.check(library.predict_one_row(*self._arguments))
        return self._scores.reshape(self._shape).copy()


class _CallState(threading.local):
    """Each thread has a call of its own, so that calls may run side by side."""

    def __init__(self, model: _Model, settings: bytes) -> None:
        self.one_row = _OneRow(model, settings)


def _address(array: NDArray[np.float64]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def _check_whole(folder: Path, path: Path) -> None:
    """Refuse a file that is missing or cut short: LightGBM itself may crash on one."""
    if not path.is_file():
        raise BundleError(folder, f"{FILE} is missing; save the model with Booster.save_model")
    with path.open("rb") as file:
        begins = file.readline().strip() == b"tree"
        ends = any(line.strip() == b"end of trees" for line in file)
    if not (begins and ends):
        raise BundleError(
            folder, f"{FILE} is not a whole LightGBM model (it runs from 'tree' to 'end of trees')"
        )


def _library_file(package: Path) -> Path:
    names = ("lib_lightgbm.so", "lib_lightgbm.dylib", "lib_lightgbm.dll")
    found = [path for name in names for path in sorted(package.rglob(name))]
    if not found:
        raise ConfigError(
            f"no {' or '.join(names)} below {package}; install LightGBM from PyPI:"
            " pip install --force-reinstall lightgbm"
        )
    return found[0]
