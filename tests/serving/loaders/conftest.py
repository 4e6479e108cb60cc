from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from consistency.features import FeatureBatch
from consistency.schema import FeatureSchema

FEATURES = 6


@pytest.fixture(scope="session")
def table() -> NDArray[np.float64]:
    """Feature rows with gaps."""
    rng = np.random.default_rng(7)
    matrix = rng.normal(size=(400, FEATURES))
    matrix[rng.random(matrix.shape) < 0.05] = np.nan
    return matrix


@pytest.fixture(scope="session")
def labels(table: NDArray[np.float64]) -> NDArray[np.float64]:
    noise = np.random.default_rng(8).normal(size=len(table))
    return (np.nansum(table[:, :3], axis=1) + noise > 0).astype(np.float64)


@pytest.fixture(scope="session")
def batch_of() -> Callable[[NDArray[np.float64]], FeatureBatch]:
    """Feature batches f0, f1, ... as pipelines make them."""

    def make(matrix: NDArray[np.float64]) -> FeatureBatch:
        schema = FeatureSchema.float64(tuple(f"f{i}" for i in range(matrix.shape[1])))
        return FeatureBatch(schema, len(matrix), np.asfortranarray(matrix, dtype=np.float64))

    return make


@pytest.fixture(scope="session")
def tensorflow() -> Any:
    """TensorFlow, started with one thread: its runtime is one a process and cannot be changed."""
    from serving.loaders.runtimes.tensorflow_runtime import start_tensorflow

    return start_tensorflow(1)


@pytest.fixture(scope="session")
def keras(tensorflow: Any) -> Any:
    import keras

    assert keras.backend.backend() == "tensorflow"
    assert tensorflow.config.threading.get_intra_op_parallelism_threads() == 1
    keras.utils.set_random_seed(3)
    return keras
