"""TensorFlow Serving's REST interface. Needs no TensorFlow here.

gRPC is exact by itself and is the better choice; here every number passes through text. How that
stays exact, and where it cannot, says `exact_json`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import numpy as np
import orjson

from consistency.jsontype import Json
from consistency.records import Column
from consistency.scored import Outputs
from serving.backends.exact_json import json_array
from serving.backends.http_client import HttpConnections, HttpLostError, HttpRefusedError
from serving.backends.instance_errors import Failure, InstanceError, InstanceTimeoutError
from serving.backends.settings import Address
from serving.backends.signature import Signature, Tensor, choose_signature, tensor
from serving.backends.transport import LARGEST_ANSWER_BYTES, RemoteModel

_OK: Final = 200
_NOT_FOUND: Final = 404
_LONGEST_ERROR: Final = 1000
_QUEUE_FULL: Final = "batch scheduling queue"


class RestTransport:
    """One instance, over REST. See `Transport`."""

    def __init__(self, address: Address) -> None:
        self._instance, self._address = str(address), address
        self._lock = threading.Lock()
        self._serving: tuple[asyncio.AbstractEventLoop, HttpConnections] | None = None

    def states(self, name: str, timeout_seconds: float) -> Mapping[int, str]:
        """See `Transport.states`."""
        status, body = self._ask_blocking("GET", _path(name), b"", timeout_seconds)
        if status == _NOT_FOUND:
            return {}
        answer = self._parsed(status, body)
        try:
            found = answer["model_version_status"]
            return {int(version["version"]): str(version["state"]) for version in found}
        except (KeyError, TypeError, ValueError) as e:
            raise self._odd(f"its status cannot be read: {type(e).__name__}: {e}") from e

    def signature(self, model: RemoteModel, timeout_seconds: float) -> Signature:
        """See `Transport.signature`."""
        path = f"{_path(model.name, model.version)}/metadata"
        answer = self._parsed(*self._ask_blocking("GET", path, b"", timeout_seconds))
        where = f"{model} on {self._instance}"
        try:
            held = answer["metadata"]["signature_def"]["signature_def"]
            name = choose_signature(held, where)
            chosen = held[name]
            return Signature(
                name, _tensors(chosen["inputs"], where), _tensors(chosen["outputs"], where)
            )
        except (KeyError, TypeError, ValueError, AttributeError) as e:
            raise self._odd(f"its metadata cannot be read: {type(e).__name__}: {e}") from e

    def predict_blocking(
        self, model: RemoteModel, signature: Signature, feeds: list[Column], timeout_seconds: float
    ) -> Outputs:
        """See `Transport.predict_blocking`."""
        path = f"{_path(model.name, model.version)}:predict"
        body = predict_body(signature, feeds)
        return self._outputs(*self._ask_blocking("POST", path, body, timeout_seconds), signature)

    async def predict(
        self, model: RemoteModel, signature: Signature, feeds: list[Column], timeout_seconds: float
    ) -> Outputs:
        """See `Transport.predict`."""
        path = f"{_path(model.name, model.version)}:predict"
        body = predict_body(signature, feeds)
        connections = self._connections()
        return self._outputs(
            *await self._ask(connections, "POST", path, body, timeout_seconds), signature
        )

    def renew(self) -> None:
        """See `Transport.renew`."""
        with self._lock:
            serving, self._serving = self._serving, None
        if serving is not None and not serving[0].is_closed():
            serving[0].call_soon_threadsafe(serving[1].close)

    def close(self) -> None:
        """See `Transport.close`."""
        self.renew()

    def _connections(self) -> HttpConnections:
        """Return the connections of the running loop."""
        loop = asyncio.get_running_loop()
        with self._lock:
            if self._serving is None or self._serving[0] is not loop:
                self._serving = (loop, self._new_connections())
            return self._serving[1]

    def _new_connections(self) -> HttpConnections:
        address = self._address
        return HttpConnections(address.host, address.port, address.netloc, LARGEST_ANSWER_BYTES)

    def _ask_blocking(
        self, method: str, path: str, body: bytes, timeout_seconds: float
    ) -> tuple[int, bytes]:
        async def once() -> tuple[int, bytes]:
            connections = self._new_connections()
            try:
                return await self._ask(connections, method, path, body, timeout_seconds)
            finally:
                connections.close()
                await asyncio.sleep(0)  # the loop ends, and closing takes it one more round

        return asyncio.run(once())

    async def _ask(
        self, connections: HttpConnections, method: str, path: str, body: bytes, seconds: float
    ) -> tuple[int, bytes]:
        try:
            return await connections.ask(method, path, body, seconds)
        except HttpRefusedError as e:
            raise InstanceError(self._instance, Failure.REFUSED, str(e)) from e
        except HttpLostError as e:
            raise InstanceError(self._instance, Failure.LOST, str(e)) from e
        except TimeoutError as e:
            raise InstanceTimeoutError(self._instance, "no answer in time") from e

    def _outputs(self, status: int, body: bytes, signature: Signature) -> Outputs:
        answer = self._parsed(status, body)
        try:
            return read_outputs(answer["outputs"], signature)
        except (KeyError, TypeError, ValueError, OverflowError) as e:
            raise self._odd(f"its answer does not fit its signature: {e}") from e

    def _parsed(self, status: int, body: bytes) -> Any:  # noqa: ANN401 - whatever JSON an instance sends
        try:
            answer = _json(body)
        except (ValueError, RecursionError) as e:
            raise self._odd(f"HTTP {status} without JSON: {type(e).__name__}") from e
        if status == _OK:
            return answer
        said = answer.get("error") if isinstance(answer, dict) else None
        text = str(said)[:_LONGEST_ERROR]
        failure = Failure.ANSWERED
        if status == _NOT_FOUND and text.startswith("Servable not found"):
            failure = Failure.NO_SUCH_VERSION
        elif _QUEUE_FULL in text:
            failure = Failure.BUSY
        raise InstanceError(self._instance, failure, f"HTTP {status}: {text}")

    def _odd(self, problem: str) -> InstanceError:
        return InstanceError(self._instance, Failure.ANSWERED, problem)


def predict_body(signature: Signature, feeds: list[Column]) -> bytes:
    """Return the body of a predict request, in column format: one array an input."""
    names = (orjson.dumps(taken.alias).decode() for taken in signature.inputs)
    inputs = ",".join(f"{n}:{json_array(a)}" for n, a in zip(names, feeds, strict=True))
    name = orjson.dumps(signature.name).decode()
    return f'{{"signature_name":{name},"inputs":{{{inputs}}}}}'.encode()


def read_outputs(value: Json, signature: Signature) -> Outputs:
    """Return the outputs of an answer in column format: a single one stands there bare.

    Raises:
        KeyError: an output is missing.
        ValueError: one is no array of its dtype.
        TypeError: it holds something else.
    """
    if len(signature.outputs) == 1:
        return {signature.outputs[0].alias: _array(value, signature.outputs[0])}
    return {t.alias: _array(value[t.alias], t) for t in signature.outputs}


def _array(value: Json, expected: Tensor) -> Column:
    """Return a JSON array with the dtype of its output; strings as bytes.

    A float32 is rounded back to float32 before anybody widens it.
    """
    if expected.dtype.kind == "O":
        return _strings(value)
    if expected.dtype.kind == "f":
        return np.asarray(value, np.float64).astype(expected.dtype)
    return np.asarray(value, expected.dtype)


def _strings(value: Json) -> Column:
    import base64

    if isinstance(value, list):
        return np.stack([_strings(v) for v in value]) if value else np.empty(0, object)
    held = base64.b64decode(value["b64"]) if isinstance(value, dict) else value.encode()
    out = np.empty((), object)
    out[()] = held
    return out


def _json(body: bytes) -> Any:  # noqa: ANN401 - whatever JSON an instance sends
    """Return parsed JSON; NaN and Infinity, which are no JSON, are taken too."""
    import json

    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return json.loads(body)


def _tensors(infos: Mapping[str, Any], where: str) -> tuple[Tensor, ...]:
    return tuple(
        tensor(alias, info["dtype"], _shape(info["tensor_shape"]), where)
        for alias, info in sorted(infos.items())
    )


def _shape(value: Mapping[str, Any]) -> tuple[int, ...] | None:
    if value.get("unknown_rank"):
        return None
    return tuple(int(dim["size"]) for dim in value.get("dim", ()))


def _path(name: str, version: int | None = None) -> str:
    path = f"/v1/models/{quote(name, safe='')}"
    return path if version is None else f"{path}/versions/{version}"
