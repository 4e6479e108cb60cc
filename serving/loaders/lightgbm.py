"""LightGBM models (`model.txt`) in process."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from consistency.errors import BackendError, BundleError
from consistency.features import FeatureBatch
from consistency.protocols import ScorerInfo
from consistency.scored import Outputs
from serving.loaders.runtimes.devices import CPU, only_cpu
from serving.loaders.runtimes.threads import cores

if TYPE_CHECKING:
    from lightgbm import Booster

FILE: Final = "model.txt"


def load(folder: Path, threads: int | None, device: str = CPU) -> LightGBMScorer:
    """Load `model.txt` from a folder.

    Args:
        folder: holds the file that `Booster.save_model` wrote.
        threads: LightGBM's `num_threads`, None for every core; its answers do not depend on it.
        device: `cpu`; LightGBM trains on GPUs, but predicts on the CPU.

    Raises:
        BundleError: the file is missing or is not a whole LightGBM model.
        ConfigError: another device.
    """
    import lightgbm

    only_cpu("LightGBM", device)
    path = folder / FILE
    _check_whole(folder, path)
    # LightGBM prints to standard output unless it is given a logger.
    lightgbm.register_logger(logging.getLogger("samescore.lightgbm"))
    try:
        booster = lightgbm.Booster(model_file=path)
    except lightgbm.basic.LightGBMError as error:
        raise BundleError(
            folder, f"{FILE} is not a model that LightGBM {lightgbm.__version__} reads: {error}"
        ) from error
    count = threads or cores()
    info = ScorerInfo(f"in_process/lightgbm {lightgbm.__version__}", "float64", threads=count)
    return LightGBMScorer(booster, info)


class LightGBMScorer:
    """Scores with all trees of a model, in float64; NaN means what it meant in training."""

    def __init__(self, booster: Booster, info: ScorerInfo) -> None:
        self._booster, self._info = booster, info
        self._width = booster.num_feature()

    @property
    def info(self) -> ScorerInfo:
        """LightGBM's version, float64, threads."""
        return self._info

    def score(self, features: FeatureBatch) -> Outputs:
        """Return `output`: float64, shape (N,), or (N, k) for k classes.

        Raises:
            BackendError: another number of features than the model takes, or LightGBM failed.
        """
        import lightgbm

        matrix = features.matrix()
        if matrix.shape[1] != self._width:
            raise BackendError(
                f"the LightGBM model takes {self._width} features, the row has"
                f" {matrix.shape[1]}; bundle the model with the pipeline that it was trained with"
            )
        try:
            # -1: all trees; the default stops at a best iteration that is not in the file's promise
            output = self._booster.predict(
                matrix, num_iteration=-1, num_threads=self._info.threads, verbosity=-1
            )
        except lightgbm.basic.LightGBMError as error:
            raise BackendError(f"LightGBM failed: {error}") from error
        return {"output": np.asarray(output, np.float64)}


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
