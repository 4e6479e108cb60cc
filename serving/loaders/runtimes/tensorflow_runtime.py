"""Starts TensorFlow with the asked number of threads, quietly, on the CPU.

TensorFlow has one runtime a process: its thread pools are made at its first operation and cannot be
changed later. A float32 score may depend on them, so a servable never runs on another number of
threads than it was given.
"""

from __future__ import annotations

import os
import sys
from typing import Any, Final, TypeAlias, cast

from consistency.errors import ConfigError

TensorFlow: TypeAlias = Any  # Any: TensorFlow has no types; nor have its tensors and functions

_KERAS_AT_IMPORT: Final = "keras.src.optimizers"


def import_tensorflow() -> TensorFlow:
    """Import TensorFlow, and leave Keras to those who ask for it.

    `import tensorflow` ends with importing Keras, if it is there, so that its optimizers are known
    when an old SavedModel is restored for training. Keras brings scikit-learn, pandas and
    matplotlib along: 1.4 s and 170 MB of a process's start that no scorer needs. `import keras` and
    `tf.keras` work afterwards as they always do.

    Returns:
        The module `tensorflow`.
    """
    modules = cast("dict[str, object]", sys.modules)
    without_keras = not {"tensorflow", "keras"} & modules.keys()
    if without_keras:
        modules[_KERAS_AT_IMPORT] = None  # Python's own way to say: not to be had
    try:
        import tensorflow as tf
    finally:
        if without_keras:
            del modules[_KERAS_AT_IMPORT]
    return tf


def start_tensorflow(threads: int | None) -> TensorFlow:
    """Import TensorFlow, or check the one that is running.

    Args:
        threads: for the work within an operation, and for operations side by side; None takes
            TensorFlow as it runs, which is what scoring right after training wants.

    Returns:
        The module `tensorflow`.

    Raises:
        ConfigError: TensorFlow already runs in this process with other numbers.
    """
    # Level 3: without a GPU driver TensorFlow 2.21 reports an error at every start. What really
    # fails comes as an exception.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    tf = import_tensorflow()
    config = tf.config.threading
    found = (config.get_intra_op_parallelism_threads(), config.get_inter_op_parallelism_threads())
    try:
        if threads is not None and found != (threads, threads):
            config.set_intra_op_parallelism_threads(threads)
            config.set_inter_op_parallelism_threads(threads)
    except RuntimeError as error:
        raise ConfigError(
            f"threads {threads}: TensorFlow already runs in this process with {found[0]} threads"
            f" within and {found[1]} between operations (0: TensorFlow's own choice); load the"
            " model before anything else uses TensorFlow, with one number of threads for all of a"
            " process's TensorFlow models"
        ) from error
    _hide_gpus(tf)
    return tf


def _hide_gpus(tensorflow: TensorFlow) -> None:
    """Score on the CPU as the scorer's info says, unless TensorFlow already holds a GPU."""
    if not tensorflow.config.get_visible_devices("GPU"):
        return
    try:
        tensorflow.config.set_visible_devices([], "GPU")
    except RuntimeError as error:
        raise ConfigError(
            "TensorFlow already runs in this process with a GPU, and this loader scores on the CPU;"
            " load the model before anything else uses TensorFlow"
        ) from error
