"""TI-ONE's operator-named class: `InferenceService(model_path)` with `process_request(request)`.

This is the one place that runs code which an operator named; nothing is imported from a bundle or
from a model's folder on its own.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Final, Protocol

from consistency.errors import BackendError, ConfigError
from consistency.jsontype import Json
from consistency.protocols import ScorerInfo

DEFAULT_CLASS: Final = "InferenceService"


class OpaqueScorer(Protocol):
    """Answers a request body as a whole; nobody else knows what is in it."""

    @property
    def info(self) -> ScorerInfo:
        """Where the code comes from; its dtype is ``"opaque"``."""
        ...

    def process(self, request: Json) -> Json:
        """Return the answer to a parsed JSON body, as JSON types.

        Raises:
            BackendError: the code failed, or its answer is not JSON.
        """
        ...


def load_inference_service(location: str, model_path: Path) -> InferenceServiceScorer:
    """Import the operator's class and construct it.

    Args:
        location: `package.module` or `path/to/file.py`, with `:ClassName` behind it unless the
            class is called `InferenceService`. The folder of a file joins the end of `sys.path`,
            so that the file finds the modules beside it.
        model_path: the model's folder or file; handed to the constructor as a string.

    Raises:
        ConfigError: the code cannot be imported, lacks the class or the method, or its constructor
            failed.
    """
    source, colon, name = location.rpartition(":")
    source, name = (source, name) if colon else (location, DEFAULT_CLASS)
    service_class = getattr(_import(location, source), name, None)
    if not callable(service_class):
        raise ConfigError(
            f"inference service {location!r}: {source} has no class {name!r}; name the class, for"
            f" example '{source}:MyService'"
        )
    service = _construct(location, service_class, model_path)
    method = getattr(service, "process_request", None)
    if not callable(method):
        raise ConfigError(
            f"inference service {location!r}: {name} has no method process_request(request)"
        )
    return InferenceServiceScorer(location, method)


class InferenceServiceScorer:
    """Answers a request body as a whole, an `OpaqueScorer`: nobody else knows what is in it."""

    def __init__(self, location: str, method: Callable[[Json], object]) -> None:
        self._method = method
        self._info = ScorerInfo(f"in_process/inference_service {location}", "opaque")

    @property
    def info(self) -> ScorerInfo:
        """The location; dtype ``"opaque"``."""
        return self._info

    def process(self, request: Json) -> Json:
        """Return the answer to a parsed JSON body as plain JSON types, all digits kept.

        Raises:
            BackendError: the code failed, or its answer is not JSON.
        """
        try:
            answer = self._method(request)
        except Exception as error:
            raise BackendError(f"process_request raised {_named(error)}") from error
        try:
            # There and back: what leaves is plain JSON types (a numpy.float64 passes as float).
            return json.loads(json.dumps(answer, allow_nan=False))
        except (TypeError, ValueError, RecursionError) as error:
            raise BackendError(
                f"process_request answered what JSON cannot hold ({_named(error)}); return dicts,"
                " lists, strings, finite numbers, booleans and None"
            ) from error


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _import(location: str, source: str) -> ModuleType:
    try:
        return _import_file(Path(source)) if source.endswith(".py") else _import_module(source)
    except Exception as error:  # importing runs the operator's code
        raise ConfigError(
            f"inference service {location!r}: {source} cannot be imported: {_named(error)}; name an"
            " installed package.module or a path/to/file.py that imports without errors"
        ) from error


def _import_module(name: str) -> ModuleType:
    return importlib.import_module(name)


def _import_file(path: Path) -> ModuleType:
    path = path.resolve(strict=True)
    # Two versions of a model may bring files of one name.
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:12]
    name = f"samescore_inference_service_{path.stem}_{digest}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    sys.modules[name] = module  # dataclasses and pickle look a class's module up there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _construct(location: str, service_class: Callable[[str], object], model_path: Path) -> object:
    try:
        return service_class(str(model_path))
    except Exception as error:  # the operator's code
        raise ConfigError(
            f"inference service {location!r}: constructing it with {str(model_path)!r} failed:"
            f" {_named(error)}; the constructor takes exactly one argument, model_path"
        ) from error
