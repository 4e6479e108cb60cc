"""Promotes a Keras model to float64, once, at bundling.

A float32 network's scores move with the size of the batch; in float64 the same rows agreed within
3e-16 across batch sizes, on each of ten architectures. The model is rebuilt from its own saved
configuration with every dtype policy turned to float64 and gets the very same weights. Its inputs
stay as they were, with a cast behind them, so that no client breaks.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from consistency.errors import ConfigError

if TYPE_CHECKING:
    import keras

Array: TypeAlias = NDArray[Any]  # Any: integer inputs (token ids) beside floating ones
Sample: TypeAlias = Array | Mapping[str, Array]
Keras: TypeAlias = Any  # Any: Keras has no types; nor have its tensors
Config: TypeAlias = Any  # Any: a Keras configuration is nested JSON

FLOAT32_TOLERANCE: Final = 1e-4
"""Relative and absolute difference that computing in float32 explains (about 1,000 roundings)."""

BATCH_TOLERANCE: Final = 5e-11
"""What a row's score may move by with its batch: ten decimals, relative above 1."""

_ROWS_ALONE: Final = 8
_CONFIG: Final = "config.json"
_POLICY: Final = "DTypePolicy"


def promote_to_float64(model: keras.Model, sample: Sample) -> keras.Model:
    """Rebuild a functional or sequential model in float64 and verify it against the original.

    Args:
        model: computes in float32, on Keras' TensorFlow backend; it is left as it is.
        sample: N >= 2 rows as the model takes them, real ones if possible: shape (N, ...), or one
            such array for each input name.

    Returns:
        A model whose inputs have the names, shapes and dtypes of `model` (any number of rows) and
        whose outputs are float64, ready for `.export(folder)`.

    Raises:
        ConfigError: the model or one of its layers (named) cannot be rebuilt in float64, or the
            promoted model's scores differ from the original's by more than float32 explains, or
            still move with the size of the batch.
    """
    import keras

    promoted = rebuild_in_float64(model)
    _verify(keras, model, promoted, sample)
    return promoted


def rebuild_in_float64(model: keras.Model) -> keras.Model:
    """Return what `promote_to_float64` returns, without comparing its scores.

    Raises:
        ConfigError: the model or one of its layers (named) cannot be rebuilt in float64.
    """
    import keras

    _check_model(keras, model)
    core = _rebuild(keras, model)
    _check_weights(model, core)
    return _behind_casts(keras, model, core)


def _check_model(keras: Keras, model: keras.Model) -> None:
    if keras.backend.backend() != "tensorflow":
        raise ConfigError(
            f"Keras runs on {keras.backend.backend()}; promotion to float64 needs"
            " KERAS_BACKEND=tensorflow, set before Keras is imported"
        )
    if not model.built:
        raise ConfigError(
            f"model {model.name!r} has no weights yet; fit it, or begin it with keras.Input"
        )
    if not getattr(model, "inputs", None):
        raise ConfigError(
            f"model {model.name!r} is a {type(model).__name__}, which declares no inputs; only"
            " functional and sequential models can be promoted"
        )


def _rebuild(keras: Keras, model: keras.Model) -> keras.Model:
    """Return the model with float64 throughout, inputs included, by way of a saved file."""
    with tempfile.TemporaryDirectory(prefix="samescore-promotion-") as folder:
        original, promoted = Path(folder, "original.keras"), Path(folder, "promoted.keras")
        suspects: list[str] = []
        try:
            model.save(original)
            config = _read_config(original)
            suspects = sorted(set(_foreign_layers(config, model.name)))
            _promote(config, model.name)
            _replace_config(original, promoted, config)
            with _float64_by_default(keras):
                # Safe mode never runs code that a configuration holds (a Lambda's).
                return keras.saving.load_model(promoted, compile=False, safe_mode=True)
        except ConfigError:
            raise
        except Exception as error:  # Keras and custom layers raise errors of many kinds
            where = f"layers {', '.join(suspects)}" if suspects else f"model {model.name!r}"
            raise ConfigError(
                f"promotion to float64: {where} cannot be rebuilt from configuration"
                f" ({type(error).__name__}: {str(error).strip().partition(chr(10))[0]}); use Keras'"
                " own layers, or @keras.saving.register_keras_serializable() classes with a"
                " get_config() that passes dtype on"
            ) from error


def _read_config(path: Path) -> Config:
    with zipfile.ZipFile(path) as file:
        return json.loads(file.read(_CONFIG))


def _replace_config(source: Path, target: Path, config: Config) -> None:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            new.writestr(name, json.dumps(config) if name == _CONFIG else old.read(name))


@contextlib.contextmanager
def _float64_by_default(keras: Keras) -> Iterator[None]:
    """Layers that a custom layer makes by itself have no dtype in the configuration."""
    policy, floatx = keras.config.dtype_policy(), keras.config.floatx()
    keras.config.set_dtype_policy("float64")
    keras.config.set_floatx("float64")
    try:
        yield
    finally:
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(policy)


def _objects(node: Config, layer: str) -> Iterator[tuple[Config, str]]:
    """Yield every serialised object of a configuration with the name of the layer it belongs to."""
    if isinstance(node, list):
        for item in node:
            yield from _objects(item, layer)
    elif isinstance(node, dict):
        if "class_name" in node:
            settings = node.get("config")
            if isinstance(settings, dict) and _POLICY not in node["class_name"]:
                layer = settings.get("name", layer)
            yield node, layer
        for value in node.values():
            yield from _objects(value, layer)


def _foreign_layers(config: Config, model: str) -> Iterator[str]:
    for node, layer in _objects(config, model):
        module = str(node.get("module") or "keras")
        if node["class_name"] == "Lambda" or module.partition(".")[0] != "keras":
            yield f"{layer!r} ({node.get('registered_name') or node['class_name']})"


def _promote(config: Config, model: str) -> None:
    """Turn float32 into float64 in a configuration, in place."""
    for node, layer in _objects(config, model):
        kind, settings = node["class_name"], node.get("config")
        if not isinstance(settings, dict):
            continue
        if settings.get("stateful"):
            raise ConfigError(
                f"layer {layer!r} is stateful: its scores depend on the requests before; build it"
                " with stateful=False"
            )
        if settings.get("batch_shape"):
            settings["batch_shape"][0] = None
        key = "name" if kind == _POLICY else "dtype"
        dtype = settings.get(key)
        if (_POLICY in kind and kind != _POLICY) or _is_low(dtype, kind):
            raise ConfigError(
                f"layer {layer!r} computes in {dtype or kind}; only float32 models can be promoted"
                " to float64"
            )
        if dtype == "float32" or (kind == "InputLayer" and "float" in str(dtype)):
            settings[key] = "float64"


def _is_low(dtype: object, kind: str) -> bool:
    # A float16 input is widened behind the cast; a float16 layer loses what nobody can bring back.
    return isinstance(dtype, str) and "float16" in dtype and kind != "InputLayer"


def _check_weights(model: keras.Model, core: keras.Model) -> None:
    """Every float is float64 now, and has exactly the value that it had."""
    for old, new in zip(model.weights, core.weights, strict=True):
        if "float" in new.dtype and new.dtype != "float64":
            raise ConfigError(
                f"weight {new.path!r} is still {new.dtype}; let its layer take its dtype from the"
                " dtype policy (self.variable_dtype) instead of naming one"
            )
        if not np.array_equal(new.numpy(), old.numpy().astype(new.dtype), equal_nan=True):
            raise ConfigError(f"weight {new.path!r} is not what {old.path!r} was in the original")


def _behind_casts(keras: Keras, model: keras.Model, core: keras.Model) -> keras.Model:
    declared = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    inputs = keras.tree.map_structure(
        lambda t: keras.Input(t.shape[1:], dtype=t.dtype, sparse=t.sparse, name=t.name), declared
    )
    widened = keras.tree.map_structure(
        lambda t: keras.ops.cast(t, "float64") if "float" in t.dtype else t, inputs
    )
    return keras.Model(inputs, core(widened), name=model.name)


def _verify(keras: Keras, model: keras.Model, promoted: keras.Model, sample: Sample) -> None:
    rows = len(next(iter(sample.values())) if isinstance(sample, Mapping) else sample)
    if rows < 2:
        raise ConfigError(f"the sample has {rows} rows; give at least 2, to compare batch sizes")
    original, together = _scores(keras, model, sample), _scores(keras, promoted, sample)
    for output in together:
        if output.dtype.kind == "f" and output.dtype != np.float64:
            raise ConfigError(
                f"promotion to float64: an output of {model.name!r} is still {output.dtype}; let"
                " its layer take its dtype from the dtype policy instead of naming one"
            )
    _compare(original, together, FLOAT32_TOLERANCE, "scores differ from the original's")
    for row in range(min(rows, _ROWS_ALONE)):
        one = slice(row, row + 1)
        alone = _scores(keras, promoted, _rows_of(sample, one))
        among = [output[one] for output in together]
        _compare(among, alone, BATCH_TOLERANCE, "a row's score moves with its batch")


def _rows_of(sample: Sample, rows: slice) -> Sample:
    if isinstance(sample, Mapping):
        return {name: values[rows] for name, values in sample.items()}
    return sample[rows]


def _scores(keras: Keras, model: keras.Model, sample: Sample) -> list[Array]:
    outputs = keras.tree.flatten(model(sample, training=False))
    return [keras.ops.convert_to_numpy(output) for output in outputs]


def _compare(expected: list[Array], got: list[Array], tolerance: float, problem: str) -> None:
    for index, (before, after) in enumerate(zip(expected, got, strict=True)):
        wide = before.astype(np.float64)
        with np.errstate(invalid="ignore"):  # inf - inf
            agree = np.isclose(after, wide, rtol=tolerance, atol=tolerance, equal_nan=True)
        if not agree.all():
            worst = tuple(int(i) for i in np.argwhere(~agree)[0])
            raise ConfigError(
                f"promotion to float64: {problem}: output {index} at {worst}: expected"
                f" {wide[worst]!r}, got {after[worst]!r}; allowed are {tolerance:g} +"
                f" {tolerance:g}·|score|; a layer still computes in float32, or it turns small"
                " differences into large ones: bundle the model as 'padded:N'"
            )
