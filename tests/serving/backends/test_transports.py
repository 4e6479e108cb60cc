"""Each protocol against a real server: dtypes, strings, names, errors; blocking and in a loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from consistency.errors import ConfigError
from serving.backends.fleet import transport_to
from serving.backends.instance_errors import Failure, InstanceError, InstanceTimeoutError
from serving.backends.settings import Address, WireProtocol
from serving.backends.signature import Signature, Tensor
from serving.backends.transport import RemoteModel, Transport
from tests.fakes.tfs_stand_in import Served, StandIn, half_plus_two
from tests.serving.backends.conftest import Instances

M = RemoteModel("m", 7)
SECONDS = 20.0
KINDS = ("float32", "float64", "int64", "int32", "bool", "float16", "object")


def transport(instances: Instances) -> Transport:
    return transport_to(Address(WireProtocol(instances.protocol), "127.0.0.1", instances.ports[0]))


def in_a_loop(speaks: Transport, *arguments: Any) -> Any:
    """Predict in an event loop of its own, and close its connections before it ends."""

    async def run() -> Any:
        try:
            return await speaks.predict(*arguments)
        finally:
            speaks.renew()
            for _ in range(3):
                await asyncio.sleep(0)

    return asyncio.run(run())


def echo() -> Served:
    """Gives back what it gets, each input under its name."""
    tensors = tuple(Tensor(kind, np.dtype(kind), (-1, 2)) for kind in sorted(KINDS))
    return Served(Signature("serving_default", tensors, tensors), lambda feeds: feeds)


def values(kind: str) -> Any:
    return {
        "float32": np.array([[0.1, np.nan], [-np.inf, 1e-40]], np.float32),
        "float64": np.array([[0.1 + 0.2, -0.0], [5e-324, np.inf]]),
        "int64": np.array([[2**62 + 1, -1], [0, 1]]),
        "int32": np.array([[-5, 2**31 - 1], [0, 1]], np.int32),
        "bool": np.array([[True, False], [False, True]]),
        "float16": np.array([[0.1, 65504], [-1, 0]], np.float16),
        "object": np.array([["a", "数"], ["", 'q"']], object),
    }[kind]


def test_every_dtype_goes_there_and_back_to_the_bit(instances: Instances) -> None:
    instances.add(StandIn({("m", 7): echo()}))
    speaks = transport(instances)
    signature = speaks.signature(M, SECONDS)
    assert [t.alias for t in signature.inputs] == sorted(KINDS)
    assert signature == echo().signature
    feeds = [values(t.alias) for t in signature.inputs]
    blocking = speaks.predict_blocking(M, signature, feeds, SECONDS)
    for outputs in (blocking, in_a_loop(speaks, M, signature, feeds, SECONDS)):
        for kind in KINDS:
            if kind == "object":
                texts = [[t.decode() for t in row] for row in outputs[kind].tolist()]
                assert texts == values(kind).tolist()
                continue
            assert outputs[kind].dtype == np.dtype(kind)
            assert outputs[kind].tobytes() == values(kind).tobytes(), kind
    speaks.close()


def test_each_event_loop_has_its_own_connections(instances: Instances) -> None:
    instances.add(StandIn({("m", 7): half_plus_two()}))
    speaks = transport(instances)
    signature = speaks.signature(M, SECONDS)
    x = np.array([[1.0], [2.0], [5.0]], np.float32)
    for _ in range(3):
        outputs = in_a_loop(speaks, M, signature, [x], SECONDS)
        assert outputs["y"].tolist() == [[2.5], [3.0], [4.5]]
    speaks.close()


def test_states_are_told_by_version(instances: Instances) -> None:
    instances.add(StandIn({("m", 7): half_plus_two(), ("m", 8): half_plus_two()},
                          {("m", 8): "LOADING"}))  # fmt: skip
    speaks = transport(instances)
    assert speaks.states("m", SECONDS) == {7: "AVAILABLE", 8: "LOADING"}
    assert speaks.states("unknown", SECONDS) == {}
    speaks.close()


@pytest.mark.parametrize("way", ["blocking", "loop"])
def test_what_failed_is_told_apart(instances: Instances, way: str) -> None:
    stand_in = instances.add(StandIn({("m", 7): half_plus_two()}))
    speaks = transport(instances)
    signature = speaks.signature(M, SECONDS)
    x = [np.zeros((1, 1), np.float32)]

    def ask(model: RemoteModel = M, seconds: float = SECONDS) -> Any:
        if way == "blocking":
            return speaks.predict_blocking(model, signature, x, seconds)
        return in_a_loop(speaks, model, signature, x, seconds)

    def failure(call: Callable[[], Any]) -> Failure:
        with pytest.raises(InstanceError) as raised:
            call()
        assert raised.value.instance == instances.address(0)
        assert instances.address(0) in str(raised.value)
        return raised.value.failure

    assert failure(lambda: ask(RemoteModel("m", 8))) is Failure.NO_SUCH_VERSION
    stand_in.queue_is_full = True
    assert failure(ask) is Failure.BUSY
    stand_in.queue_is_full = False
    stand_in.hangs.set()
    with pytest.raises(InstanceTimeoutError, match="no answer in time"):
        ask(seconds=0.3)
    stand_in.hangs.clear()
    instances.kill(0)
    assert failure(ask) in {Failure.REFUSED, Failure.LOST}
    assert failure(ask) is Failure.REFUSED
    instances.start(0)
    speaks.renew()
    assert ask()["y"].tolist() == [[2.0]], "a renewed connection remembers no failure"
    speaks.close()


def test_a_model_without_a_signature_to_choose_is_an_error(instances: Instances) -> None:
    served = half_plus_two()
    named = Signature("other", served.signature.inputs, served.signature.outputs)
    instances.add(StandIn({("m", 7): Served(named, served.compute)}))
    speaks = transport(instances)
    assert speaks.signature(M, SECONDS).name == "other"
    odd = Tensor("x", np.dtype("float32"), None)
    instances.stand_ins[0].models["m", 7] = Served(Signature("other", (odd,), ()), served.compute)
    assert speaks.signature(M, SECONDS).takes[0].rank is None
    speaks.close()


def test_without_the_stubs_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "grpc", None)
    with pytest.raises(ConfigError, match=r"pip install 'samescore\[tfserving\]', or use rest://"):
        transport_to(Address(WireProtocol.GRPC, "a", 1))
