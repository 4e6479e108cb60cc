"""A bundle behind real servers of either protocol: same scores, explicit versions, faults."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from consistency.errors import BundleError
from consistency.scored import GateState, Outcome, ScoredRequest
from serving.backends.fleet_events import FleetEvents
from serving.backends.remote import Remote, RemoteBackend
from serving.core.state import ServableId
from serving.dataplane import DataPlane
from serving.servable import GateMode, LoadSettings, Servable
from tests.fakes.serving import MemoryLog, Shelf
from tests.fakes.tfs_stand_in import Served, StandIn
from tests.fixtures.server import wait_until
from tests.fixtures.tiny import Tiny
from tests.serving.backends.conftest import Instances, payload

Load = Callable[..., Servable]
MakeRemote = Callable[..., Remote]


def scored(
    servable: Servable, batches: Sequence[list[dict[str, Any]]], in_flight: int = 1
) -> list[ScoredRequest]:
    """Send requests through the data plane, so many at a time."""
    plane = DataPlane(Shelf({("tiny", 1): servable}), MemoryLog())

    async def run() -> list[ScoredRequest]:
        room = asyncio.Semaphore(in_flight)

        async def one(records: list[dict[str, Any]]) -> ScoredRequest:
            async with room:
                return (await plane.score("tiny", 1, payload(records))).request

        answered = await asyncio.gather(*map(one, batches))
        await leave(servable)
        return answered

    return asyncio.run(run())


async def leave(servable: Servable) -> None:
    """Close the connections of a loop that ends; a server has one loop for its whole life."""
    if isinstance(servable.backend, RemoteBackend):
        for instance in servable.backend._fleet.instances:
            instance.transport.renew()
        for _ in range(3):
            await asyncio.sleep(0)


def spoilt(served: Served) -> Served:
    """Another model under the same name."""
    return replace(
        served,
        compute=lambda feeds: {n: v + np.float32(1e-3) for n, v in served.compute(feeds).items()},
    )


def test_scores_have_the_bits_of_those_in_process(
    instances: Instances,
    tiny: Tiny,
    tiny_served: Served,
    remote: MakeRemote,
    load: Load,
    loaded: Servable,
) -> None:
    stand_in = instances.add(StandIn({("tiny", 1): tiny_served}))
    servable = load(remote(instances.settings()))
    assert servable.info.gate is GateState.VERIFIED
    assert servable.gate_report is not None
    assert [c.batch_rows for c in servable.gate_report.checks] == [1, 6, 40]
    batches = [tiny.records[i : i + n] for i, n in ((0, 1), (1, 7), (8, 64))]
    there, here = scored(servable, batches), scored(loaded, batches)
    for online, offline in zip(there, here, strict=True):
        assert online.outcome is Outcome.OK, online.message
        np.testing.assert_array_equal(online.scores, offline.scores)
        assert {n: v.dtype for n, v in online.outputs.items()} == {"output": np.float32}
        assert online.instance == instances.address(0)
        assert online.batch_rows == online.rows
        assert online.latency.backend_ns > 0
    assert servable.info.backend == instances.address(0)
    assert (servable.info.device, servable.info.dtype) == ("remote", "float32")
    assert set(stand_in.predictions) == {1}


def test_requests_go_round_by_weight(
    instances: Instances, tiny: Tiny, tiny_served: Served, remote: MakeRemote, load: Load
) -> None:
    for _ in range(2):
        instances.add(StandIn({("tiny", 1): tiny_served}))
    servable = load(remote(instances.settings(weights=(3, 1))))
    answered = scored(servable, [tiny.records[:1]] * 40)
    by = Counter(r.instance for r in answered)
    assert by == {instances.address(0): 30, instances.address(1): 10}


def test_an_instance_that_dies_costs_the_requests_in_flight_at_most_and_comes_back(
    instances: Instances, tiny: Tiny, tiny_served: Served, remote: MakeRemote, load: Load
) -> None:
    for _ in range(2):
        instances.add(StandIn({("tiny", 1): tiny_served}))
    told: list[str] = []
    healthy: dict[str, bool] = {}
    events = FleetEvents(told.append, healthy.__setitem__)
    backend = remote(instances.settings(), events)
    servable = load(backend)
    instances.kill(0)
    answered = scored(servable, [tiny.records[:1]] * 50)
    failed = [r for r in answered if r.outcome is not Outcome.OK]
    # one after the other: what was in flight when it died is nothing; a kept connection that broke
    # is noticed by the request that finds it so
    assert len(failed) <= 1, [r.message for r in failed]
    assert told == [instances.address(0)]
    assert healthy == {instances.address(0): False, instances.address(1): True}
    instances.start(0)
    wait_until(lambda: healthy[instances.address(0)], "the instance is back")
    answered = scored(servable, [tiny.records[:1]] * 50)
    assert {r.outcome for r in answered} == {Outcome.OK}
    assert {r.instance for r in answered} == {instances.address(0), instances.address(1)}


@dataclass
class Told:
    """What the metrics were told."""

    ended: Counter[tuple[str, str]] = field(default_factory=Counter)
    retried: list[str] = field(default_factory=list)
    in_flight: dict[str, int] = field(default_factory=dict)
    busiest: int = 0
    waiting: list[int] = field(default_factory=lambda: [0])
    had_no_room: list[str] = field(default_factory=list)

    def events(self) -> FleetEvents:
        return FleetEvents(
            attempted=lambda address, ended: self.ended.update([(address, ended.value)]),
            retried=self.retried.append,
            in_flight=self._has,
            waiting=self.waiting.append,
            no_room=lambda: self.had_no_room.append("-"),
        )

    def _has(self, address: str, requests: int) -> None:
        self.in_flight[address] = requests
        self.busiest = max(self.busiest, requests)


def test_every_attempt_is_told_and_one_that_is_sent_again_as_well(
    instances: Instances, tiny: Tiny, tiny_served: Served, remote: MakeRemote, load: Load
) -> None:
    for _ in range(2):
        instances.add(StandIn({("tiny", 1): tiny_served}))
    told = Told()
    servable = load(remote(instances.settings(probe_seconds=60.0), told.events()))
    first, second = map(instances.address, (0, 1))
    assert not told.ended, "golden gates are no requests"
    scored(servable, [tiny.records[:1]] * 4)
    assert told.ended == {(first, "ok"): 2, (second, "ok"): 2}
    told.ended.clear()
    instances.stand_ins[0].states["tiny", 1] = "END"
    scored(servable, [tiny.records[:1]] * 4)
    assert told.ended == {(first, "no_such_version"): 1, (second, "ok"): 4}
    assert told.retried == [first]
    assert (told.busiest, set(told.in_flight.values())) == (1, {0})
    assert (told.waiting, told.had_no_room) == ([0], [])


def test_timeouts_errors_and_full_queues_are_told_apart(
    instances: Instances, tiny: Tiny, tiny_served: Served, remote: MakeRemote, load: Load
) -> None:
    stand_in = instances.add(StandIn({("tiny", 1): tiny_served}))
    told = Told()
    servable = load(remote(instances.settings(timeout_seconds=1.0), told.events()))
    stand_in.queue_is_full = True
    scored(servable, [tiny.records[:1]])
    stand_in.queue_is_full = False
    stand_in.models["tiny", 1] = replace(tiny_served, compute=lambda _feeds: {"output": "?"})
    scored(servable, [tiny.records[:1]])
    stand_in.models["tiny", 1] = tiny_served
    stand_in.hangs.set()
    scored(servable, [tiny.records[:1]])
    stand_in.hangs.clear()
    address = instances.address(0)
    assert told.ended == {(address, "busy"): 1, (address, "error"): 1, (address, "timeout"): 1}
    assert told.retried == []


def test_who_waits_for_room_is_told_and_who_gave_up(
    instances: Instances, tiny: Tiny, tiny_served: Served, remote: MakeRemote, load: Load
) -> None:
    stand_in = instances.add(StandIn({("tiny", 1): tiny_served}))
    told = Told()
    settings = instances.settings(max_in_flight=1, timeout_seconds=0.5)
    servable = load(remote(settings, told.events()))
    stand_in.hangs.set()
    answered = scored(servable, [tiny.records[:1]] * 3, in_flight=3)
    stand_in.hangs.clear()
    assert {r.outcome for r in answered} == {Outcome.TIMEOUT}
    queued = [r for r in answered if r.latency.queue_ns and not r.instance]
    assert len(told.had_no_room) == len(queued) >= 1
    assert all(r.latency.queue_ns > 3e8 and not r.latency.backend_ns for r in queued)
    assert max(told.waiting) >= 1
    assert told.waiting[-1] == 0
    assert (told.busiest, told.in_flight) == (1, {instances.address(0): 0})


def test_an_instance_that_comes_back_with_another_model_gets_no_request(
    instances: Instances, tiny: Tiny, tiny_served: Served, remote: MakeRemote, load: Load
) -> None:
    for _ in range(2):
        instances.add(StandIn({("tiny", 1): tiny_served}))
    backend = remote(instances.settings())
    servable = load(backend)
    instances.kill(0)
    wait_until(lambda: backend.fleet.instances[0].health.is_ejected, "it is ejected")
    instances.stand_ins[0].models["tiny", 1] = spoilt(tiny_served)
    instances.start(0)
    wait_until(lambda: not backend.fleet.instances[0].health.is_ejected, "it is back")
    answered = scored(servable, [tiny.records[:1]] * 20)
    assert {(r.outcome, r.instance) for r in answered} == {(Outcome.OK, instances.address(1))}


def test_a_hanging_instance_times_out_is_ejected_and_comes_back(
    instances: Instances, tiny: Tiny, tiny_served: Served, remote: MakeRemote, load: Load
) -> None:
    for _ in range(2):
        instances.add(StandIn({("tiny", 1): tiny_served}))
    backend = remote(instances.settings(timeout_seconds=1.0))
    servable = load(backend)
    first = instances.stand_ins[0]
    first.hangs.set()
    answered = scored(servable, [tiny.records[:1]] * 8)
    outcomes = Counter(r.outcome for r in answered)
    assert outcomes == {Outcome.TIMEOUT: 3, Outcome.OK: 5}
    late = [r for r in answered if r.outcome is Outcome.TIMEOUT]
    assert {r.instance for r in late} == {instances.address(0)}
    assert "no answer in time" in late[0].message
    assert backend.fleet.instances[0].health.is_ejected, "its trial hangs as well"
    first.hangs.clear()
    wait_until(lambda: not backend.fleet.instances[0].health.is_ejected, "it is back")
    answered = scored(servable, [tiny.records[:1]] * 20)
    assert {r.instance for r in answered} == {instances.address(0), instances.address(1)}


def test_an_instance_without_the_version_gets_no_request_until_it_has_it(
    instances: Instances, tiny: Tiny, tiny_served: Served, remote: MakeRemote, load: Load
) -> None:
    instances.add(StandIn({}))
    instances.add(StandIn({("tiny", 1): tiny_served}))
    servable = load(remote(instances.settings()))
    answered = scored(servable, [tiny.records[:1]] * 6)
    assert {(r.outcome, r.instance) for r in answered} == {(Outcome.OK, instances.address(1))}
    instances.stand_ins[0].models["tiny", 1] = tiny_served
    wait_until(lambda: bool(instances.stand_ins[0].predictions), "it is put through the gate")

    def both() -> bool:
        found = {r.instance for r in scored(servable, [tiny.records[:1]] * 4)}
        return len(found) == 2

    wait_until(both, "it gets requests")


def test_a_version_that_an_instance_loses_is_asked_for_on_another(
    instances: Instances, tiny: Tiny, tiny_served: Served, remote: MakeRemote, load: Load
) -> None:
    for _ in range(2):
        instances.add(StandIn({("tiny", 1): tiny_served}))
    servable = load(remote(instances.settings(probe_seconds=60.0)))
    instances.stand_ins[0].states["tiny", 1] = "END"
    answered = scored(servable, [tiny.records[:1]] * 10)
    assert {(r.outcome, r.instance) for r in answered} == {(Outcome.OK, instances.address(1))}
    instances.stand_ins[1].states["tiny", 1] = "END"
    for request in scored(servable, [tiny.records[:1]] * 2):
        assert request.outcome is Outcome.BACKEND_ERROR
    assert "no instance serves tiny/1" in request.message


def test_a_version_that_nobody_offers_is_told_with_every_instances_reason(
    instances: Instances, tiny_served: Served, remote: MakeRemote, load: Load
) -> None:
    instances.add(StandIn({("tiny", 1): tiny_served}, {("tiny", 1): "LOADING"}))
    instances.add(StandIn({("tiny", 2): tiny_served}))
    instances.add(StandIn({}))
    instances.kill(2)
    with pytest.raises(BundleError) as refused:
        load(remote(instances.settings()))
    said = str(refused.value)
    assert f"{instances.address(0)} has it in state LOADING" in said
    assert f"{instances.address(1)} does not have it" in said
    assert instances.address(2) in said.split("does not have it")[1]
    assert "it is tried again by itself" in said


def test_another_model_fails_the_gate_through_the_backend(
    instances: Instances,
    tiny: Tiny,
    tiny_served: Served,
    remote: MakeRemote,
    load: Load,
    settings: LoadSettings,
) -> None:
    instances.add(StandIn({("tiny", 1): spoilt(tiny_served)}))
    with pytest.raises(BundleError, match="golden gate to 10 decimals: FAILED"):
        load(remote(instances.settings()))
    servable = load(remote(instances.settings()), replace(settings, gate=GateMode.REPORT))
    assert servable.info.gate is GateState.UNVERIFIED
    assert scored(servable, [tiny.records[:1]])[0].outcome is Outcome.OK


def test_of_several_instances_only_those_that_pass_answer(
    instances: Instances, tiny: Tiny, tiny_served: Served, remote: MakeRemote, load: Load
) -> None:
    instances.add(StandIn({("tiny", 1): spoilt(tiny_served)}))
    instances.add(StandIn({("tiny", 1): tiny_served}))
    servable = load(remote(instances.settings()))
    assert servable.info.gate is GateState.VERIFIED
    assert {r.instance for r in scored(servable, [tiny.records[:1]] * 6)} == {instances.address(1)}


def test_an_instance_has_no_more_in_flight_than_its_bound_and_more_wait(
    instances: Instances, tiny: Tiny, tiny_served: Served, remote: MakeRemote, load: Load
) -> None:
    stand_in = instances.add(StandIn({("tiny", 1): tiny_served}))
    servable = load(remote(instances.settings(max_in_flight=2, timeout_seconds=30.0)))
    stand_in.delay_seconds, stand_in.busiest = 0.02, 0
    answered = scored(servable, [tiny.records[:1]] * 20, in_flight=20)
    assert {r.outcome for r in answered} == {Outcome.OK}
    assert stand_in.busiest <= 2
    assert max(r.latency.queue_ns for r in answered) > 0


def test_who_waits_for_room_until_the_deadline_is_told_so(
    instances: Instances, tiny: Tiny, tiny_served: Served, remote: MakeRemote, load: Load
) -> None:
    stand_in = instances.add(StandIn({("tiny", 1): tiny_served}))
    servable = load(remote(instances.settings(max_in_flight=1, timeout_seconds=0.4)))
    stand_in.hangs.set()
    answered = scored(servable, [tiny.records[:1]] * 2, in_flight=2)
    assert [r.outcome for r in answered] == [Outcome.TIMEOUT] * 2
    assert any("had room in time" in r.message for r in answered)


def test_an_error_of_the_model_is_a_backend_error_and_ejects_nobody(
    instances: Instances, tiny: Tiny, tiny_served: Served, remote: MakeRemote, load: Load
) -> None:
    stand_in = instances.add(StandIn({("tiny", 1): tiny_served}))
    backend = remote(instances.settings())
    servable = load(backend)

    def fail(_feeds: object) -> Any:
        raise ValueError("Matrix size-incompatible")

    stand_in.models["tiny", 1] = replace(tiny_served, compute=fail)
    answered = scored(servable, [tiny.records[:1]] * 3)
    assert {r.outcome for r in answered} == {Outcome.BACKEND_ERROR}
    assert "Matrix size-incompatible" in answered[0].message
    assert answered[0].instance == instances.address(0)
    assert len(stand_in.predictions) >= 3, "each was asked once"
    assert not backend.fleet.instances[0].health.is_ejected


def test_a_full_queue_is_no_death(
    instances: Instances, tiny: Tiny, tiny_served: Served, remote: MakeRemote, load: Load
) -> None:
    stand_in = instances.add(StandIn({("tiny", 1): tiny_served}))
    backend = remote(instances.settings())
    servable = load(backend)
    stand_in.queue_is_full = True
    assert "queue" in scored(servable, [tiny.records[:1]])[0].message
    stand_in.queue_is_full = False
    assert not backend.fleet.instances[0].health.is_ejected
    assert scored(servable, [tiny.records[:1]])[0].outcome is Outcome.OK


def test_outputs_that_do_not_fit_the_signature_are_a_backend_error(
    instances: Instances, tiny: Tiny, tiny_served: Served, remote: MakeRemote, load: Load
) -> None:
    stand_in = instances.add(StandIn({("tiny", 1): tiny_served}))
    servable = load(remote(instances.settings()))
    for outputs, said in (
        ({"output": np.zeros(3, np.float32)}, "shape"),
        ({"output": np.array(["a"], object).astype("S")}, "output|could not convert|bytes"),
    ):
        if instances.protocol == "rest" and outputs["output"].dtype.kind == "S":
            outputs["output"] = np.array([["a"]])

        def compute(_feeds: object, outputs: Any = outputs) -> Any:
            return {n: (v.astype(object) if v.dtype.kind == "S" else v) for n, v in outputs.items()}

        stand_in.models["tiny", 1] = replace(tiny_served, compute=compute)
        request = scored(servable, [tiny.records[:1]])[0]
        assert request.outcome is Outcome.BACKEND_ERROR
        assert any(part in request.message for part in said.split("|")), request.message


def test_a_swap_goes_on_under_load_without_a_failed_request(
    instances: Instances, tiny: Tiny, tiny_served: Served, remote: MakeRemote, load: Load
) -> None:
    """While versions come and go on the other side, requests go on to the version they name."""
    stand_in = instances.add(StandIn({("tiny", 1): tiny_served}))
    servable = load(remote(instances.settings()))
    plane = DataPlane(Shelf({("tiny", 1): servable}), MemoryLog())

    async def run() -> list[ScoredRequest]:
        answered = []
        for i in range(60):
            if i % 20 == 5:
                stand_in.models["tiny", 2 + i] = spoilt(tiny_served)
            answered.append((await plane.score("tiny", 1, payload(tiny.records[:1]))).request)
        await leave(servable)
        return answered

    assert {r.outcome for r in asyncio.run(run())} == {Outcome.OK}
    assert set(stand_in.predictions) == {1}


def test_a_padded_version_sends_batches_of_one_size_and_gets_the_same_scores(
    instances: Instances,
    tiny: Tiny,
    tiny_served: Served,
    remote: MakeRemote,
    loaded: Servable,
    settings: LoadSettings,
    tmp_path: Path,
) -> None:
    path = tiny.build(tmp_path, execution="padded:16")
    sizes: set[int] = set()

    def compute(feeds: dict[str, Any]) -> Any:
        sizes.add(len(feeds["row"]))
        return tiny_served.compute(feeds)

    instances.add(StandIn({("tiny", 1): replace(tiny_served, compute=compute)}))
    servable = remote(instances.settings()).loader(ServableId("tiny", 1), path, settings).load()
    batches = [tiny.records[:3], tiny.records[3:40]]
    there, here = scored(servable, batches), scored(loaded, batches)
    for online, offline in zip(there, here, strict=True):
        np.testing.assert_array_equal(online.scores, offline.scores)
    assert sizes == {16}


def test_closing_ends_the_threads(instances: Instances, tiny_served: Served, load: Load) -> None:
    instances.add(StandIn({("tiny", 1): tiny_served}))
    backend = Remote(instances.settings())
    load(backend)
    threads = backend.prober._threads
    assert [t.is_alive() for t in threads] == [True]
    backend.close()
    backend.close()
    assert [t.is_alive() for t in threads] == [False]
