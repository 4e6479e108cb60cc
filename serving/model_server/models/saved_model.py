"""A SavedModel as tensorflow_model_server runs it: one session, one prepared call per signature.

A signature of `tf.saved_model.load` retraces the graph, checks shapes against the signature and
costs 87 µs a row. Here the graph runs in a session, which is what TensorFlow Serving runs, through
calls that are prepared once for each set of feeds and fetches (`_make_callable_from_options`: the
one door of Python's session that takes what does not fit a placeholder's static shape, as upstream
does: the graph alone decides).

Only the model server loads this module.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from serving.model_server.status import Code, StatusError, invalid
from serving.model_server.wire import tensors
from serving.model_server.wire.dtypes import DataType, dtype_of

if TYPE_CHECKING:
    from tensorflow.core.framework.tensor_pb2 import TensorProto
    from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

    from serving.model_server.api import Tensor

Session: TypeAlias = Any  # Any: TensorFlow ships no types
Call: TypeAlias = Callable[..., list[Any]]

MAX_CALLS: Final = 64
"""How many prepared calls a model keeps: clients choose the fetches, and so their combinations."""

_HINT_DECAY: Final = 0.999


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A call of the graph.

    Attributes:
        call: takes the feeds by position.
        dtypes: each feed's dtype in the graph.
    """

    call: Call
    dtypes: tuple[DataType, ...]


@dataclass(frozen=True, slots=True)
class _Plan:
    """How some aliases of a signature are run.

    Attributes:
        prepared: the call.
        order: the aliases to feed, as the call takes them.
        places: of each fetch among what the call returns.
    """

    prepared: _Prepared
    order: tuple[str, ...]
    places: tuple[int, ...]


class SavedModel:
    """A loaded SavedModel; any number of threads may run it.

    Its variables live in the session and go with the last reference to this object: a running call
    holds one, so unloading takes nothing from under it.

    Args:
        session: restored and initialised.
        signatures: by key.
    """

    def __init__(self, session: Session, signatures: Mapping[str, SignatureDef]) -> None:
        self._session, self.signatures = session, dict(signatures)
        self._prepared: dict[tuple[tuple[str, ...], tuple[str, ...]], _Prepared] = {}
        self._preparing = threading.Lock()
        # By a signature's identity, which is its own as long as the model has it, and aliases.
        self._plans: dict[tuple[int, tuple[str, ...], tuple[str, ...]], _Plan] = {}
        self._own = frozenset(map(id, self.signatures.values()))
        self.thread_hint_seconds = 0.0
        # At the interpreter's end TensorFlow is taken apart first: its calls then fail to go.
        weakref.finalize(self, self._prepared.clear)
        weakref.finalize(self, self._plans.clear)

    def run(
        self,
        signature: SignatureDef,
        feeds: Mapping[str, Tensor | TensorProto],
        fetches: tuple[str, ...],
    ) -> list[Tensor]:
        """Compute tensors; a signature may also be made up of several ones' tensors.

        Raises:
            StatusError: a feed's dtype is not the graph's, or TensorFlow's own code and text.
        """
        started = time.perf_counter()
        plan = self._plan(signature, tuple(feeds), fetches)
        arrays = [_array(feeds[alias]) for alias in plan.order]
        _check_dtypes(arrays, plan.prepared.dtypes)
        outputs = _run(plan.prepared.call, arrays)
        self.thread_hint_seconds = max(
            time.perf_counter() - started, self.thread_hint_seconds * _HINT_DECAY
        )
        return [outputs[place] for place in plan.places]

    def _plan(
        self, signature: SignatureDef, feeds: tuple[str, ...], fetches: tuple[str, ...]
    ) -> _Plan:
        key = (id(signature), feeds, fetches)
        plan = self._plans.get(key)
        if plan is None:
            plan = self._make_plan(signature, feeds, fetches)
            if id(signature) in self._own:
                if len(self._plans) >= MAX_CALLS:
                    self._plans.clear()
                self._plans[key] = plan
        return plan

    def _make_plan(
        self, signature: SignatureDef, feeds: tuple[str, ...], fetches: tuple[str, ...]
    ) -> _Plan:
        # Sorted by tensor: upstream numbers its arguments so, and the same tensors in another order
        # are the same call.
        given = sorted((signature.inputs[alias].name, alias) for alias in feeds)
        names = [signature.outputs[alias].name for alias in fetches]
        wanted = tuple(sorted(set(names)))
        return _Plan(
            self._prepare(tuple(name for name, _ in given), wanted),
            tuple(alias for _, alias in given),
            tuple(map(wanted.index, names)),
        )

    def _prepare(self, feeds: tuple[str, ...], fetches: tuple[str, ...]) -> _Prepared:
        key = (feeds, fetches)
        prepared = self._prepared.get(key)
        if prepared is not None:
            return prepared
        with self._preparing:
            if key not in self._prepared:
                if len(self._prepared) >= MAX_CALLS:
                    del self._prepared[next(iter(self._prepared))]
                self._prepared[key] = _prepare(self._session, feeds, fetches)
            return self._prepared[key]


def make_call(
    session: Session,
    feeds: tuple[str, ...],
    fetches: tuple[str, ...],
    targets: tuple[str, ...] = (),
) -> Call:
    """Prepare a call of a session.

    Raises:
        StatusError: the graph lacks one of the tensors.
    """
    from tensorflow.core.protobuf.config_pb2 import CallableOptions

    options = CallableOptions(feed=feeds, fetch=fetches, target=targets)
    with tensorflow_errors():
        call: Call = session._make_callable_from_options(options)  # noqa: SLF001  # see the module
    return call


class tensorflow_errors:  # noqa: N801  # used as contextlib's functions are, and costs half of one
    """Turns TensorFlow's errors into `StatusError`, code and text as they are."""

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: object
    ) -> None:
        if error is None or not isinstance(error, Exception) or isinstance(error, StatusError):
            return
        raise status_of(error) from error


def status_of(error: Exception) -> StatusError:
    """Return what upstream would have answered."""
    code, message = getattr(error, "error_code", None), getattr(error, "message", None)
    if isinstance(code, int) and code in Code.__members__.values() and isinstance(message, str):
        return StatusError(Code(code), message)
    if isinstance(error, UnicodeDecodeError):
        # TensorFlow quoted bytes that are no text, and Python could not read its message.
        return StatusError(Code.INVALID_ARGUMENT, error.object.decode(errors="replace"))
    # Python's own checks stand where TensorFlow's C++ would say INVALID_ARGUMENT.
    wrong = isinstance(error, TypeError | ValueError)
    return StatusError(Code.INVALID_ARGUMENT if wrong else Code.INTERNAL, str(error))


def _prepare(session: Session, feeds: tuple[str, ...], fetches: tuple[str, ...]) -> _Prepared:
    call = make_call(session, feeds, fetches)
    graph = session.graph
    dtypes = (graph.get_tensor_by_name(_output(name)).dtype.base_dtype for name in feeds)
    return _Prepared(call, tuple(_dtype(dtype.as_datatype_enum) for dtype in dtypes))


def _dtype(number: int) -> DataType:
    try:
        return DataType(number)
    except ValueError as error:
        text = f"this server feeds no tensors of dtype {number} of TensorFlow"
        raise StatusError(Code.UNIMPLEMENTED, text) from error


def _output(name: str) -> str:
    """Return a tensor's full name: TensorFlow takes an operation's for that of its first output."""
    return name if ":" in name else f"{name}:0"


def _array(value: Tensor | TensorProto) -> Tensor:
    return value if isinstance(value, np.ndarray) else tensors.decode(value)


def _check_dtypes(arrays: list[Tensor], expected: tuple[DataType, ...]) -> None:
    """Say what a session says: a prepared call would find the same out later, in other words."""
    for position, (array, wanted) in enumerate(zip(arrays, expected, strict=True)):
        found = dtype_of(array)
        if found is not wanted:
            raise invalid(
                f"Expects arg[{position}] to be {wanted.word} but {found.word} is provided"
            )


def _run(call: Call, arrays: list[Tensor]) -> list[Tensor]:
    try:
        outputs = call(*arrays)
    except Exception as error:  # TensorFlow raises its own and Python's errors
        raise status_of(error) from error
    return [_whole(output) for output in outputs]


def _whole(output: object) -> Tensor:
    """Return an array: a session gives scalars as numbers or as bytes, which numpy would trim."""
    if isinstance(output, np.ndarray):
        return output
    if isinstance(output, bytes):
        scalar = np.empty((), dtype=object)
        scalar[()] = output
        return scalar
    return np.asarray(output)
