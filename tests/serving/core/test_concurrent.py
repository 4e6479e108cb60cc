import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from serving.core.concurrent import ConcurrentManager
from serving.core.options import ManagerOptions
from serving.core.policy import AllVersions, resource_preserving
from serving.core.resources import MemoryLimit
from serving.core.source import Found, FoundVersion
from serving.core.state import ServableId, VersionStatus


@dataclass
class Servable:
    id: ServableId
    is_loaded: bool = True


@dataclass
class Shelf:
    """Makes loaders that wait at gates and fail as often as they are told to."""

    failures: dict[str, int] = field(default_factory=dict)
    gates: dict[str, threading.Event] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)

    def __call__(self, servable_id: ServableId, path: Path) -> "ShelfLoader":
        return ShelfLoader(self, servable_id)


@dataclass
class ShelfLoader:
    shelf: Shelf
    id: ServableId

    def load(self) -> Servable:
        key = f"{self.id.name}/{self.id.version}"
        self.shelf.events.append(f"load {key}")
        if key in self.shelf.gates:
            assert self.shelf.gates[key].wait(30)
        if self.shelf.failures.get(key, 0) > 0:
            self.shelf.failures[key] -= 1
            raise ValueError("torn")
        return Servable(self.id)

    def unload(self, servable: Servable) -> None:
        servable.is_loaded = False
        self.shelf.events.append(f"unload {self.id.name}/{self.id.version}")


def found(base: Path = Path("/"), **models: list[int]) -> Found:
    return {
        name: {v: FoundVersion(base / name / str(v), "") for v in versions}
        for name, versions in models.items()
    }


def states(manager: ConcurrentManager[Servable]) -> dict[str, str]:
    return {f"{s.id.name}/{s.id.version}": s.state.value for s in manager.statuses()}


def wait_until(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.001)


@contextmanager
def running(
    shelf: Shelf, options: ManagerOptions | None = None, **more: object
) -> Iterator[ConcurrentManager[Servable]]:
    manager: ConcurrentManager[Servable] = ConcurrentManager(
        shelf,
        options=options or ManagerOptions(forgives=True),
        default_policy=AllVersions(),
        **more,  # type: ignore[arg-type]
    )
    try:
        yield manager
    finally:
        for gate in shelf.gates.values():
            gate.set()
        manager.stop()


def test_reconcile_returns_at_once_and_the_work_goes_on() -> None:
    shelf = Shelf(gates={"a/1": threading.Event()})
    with running(shelf) as manager:
        manager.reconcile(found(a=[1], b=[1]))
        wait_until(lambda: states(manager) == {"a/1": "LOADING", "b/1": "START"})
        shelf.gates["a/1"].set()
        wait_until(lambda: set(states(manager).values()) == {"AVAILABLE"})
        manager.reconcile(found(a=[2]))
        wait_until(lambda: states(manager)["a/1"] == "END")
        with manager.acquire("a") as servable:
            assert servable.id.version == 2


def test_as_many_loads_at_a_time_as_there_are_threads() -> None:
    shelf = Shelf(gates={f"m/{n}": threading.Event() for n in range(1, 6)})
    with running(shelf, load_threads=2) as manager:
        manager.reconcile(found(m=[1, 2, 3, 4, 5]))
        wait_until(lambda: len(shelf.events) == 2)
        assert sorted(states(manager).values()) == ["LOADING"] * 2 + ["START"] * 3
        manager.load_threads = 4
        wait_until(lambda: len(shelf.events) == 4)
        assert sorted(shelf.events) == ["load m/2", "load m/3", "load m/4", "load m/5"]


def test_a_load_is_tried_again_and_delays_no_other() -> None:
    shelf = Shelf(failures={"bad/1": 3})
    options = ManagerOptions(max_retries=3, retry_seconds=60.0, forgives=True)
    with running(shelf, options, drain_seconds=5.0) as manager:
        manager.reconcile(found(bad=[1], good=[1]))
        # The bad one waits for a minute, and its only load thread is free all the same.
        wait_until(lambda: states(manager).get("good/1") == "AVAILABLE")
        assert states(manager)["bad/1"] == "LOADING"


def test_retries_end_in_a_success_or_in_the_last_error() -> None:
    shelf = Shelf(failures={"a/1": 2, "b/1": 3})
    options = ManagerOptions(max_retries=2, retry_seconds=0.001, describe=lambda e: (9, str(e)))
    with running(shelf, options) as manager:
        manager.reconcile(found(a=[1], b=[1]))
        wait_until(lambda: states(manager) == {"a/1": "AVAILABLE", "b/1": "END"})
        (status,) = manager.statuses("b")
        assert (status.code, status.error) == (9, "torn")
        manager.reconcile(found(a=[1], b=[1]))
        assert shelf.events.count("load b/1") == 3


def test_what_would_fail_the_same_way_is_not_tried_again() -> None:
    shelf = Shelf(failures={"a/1": 1})
    options = ManagerOptions(
        max_retries=5, retry_seconds=600.0, is_final=lambda error: str(error) == "torn"
    )
    with running(shelf, options) as manager:
        manager.reconcile(found(a=[1]))
        wait_until(lambda: states(manager) == {"a/1": "END"})
        assert shelf.events == ["load a/1"]


def test_the_wait_for_the_next_attempt_ends_when_nobody_wants_the_version() -> None:
    shelf = Shelf(failures={"m/1": 1})
    options = ManagerOptions(max_retries=5, retry_seconds=600.0, forgives=True)
    with running(shelf, options) as manager:
        manager.reconcile(found(m=[1]))
        wait_until(lambda: shelf.events == ["load m/1"] and shelf.failures["m/1"] == 0)
        manager.reconcile(found(m=[]))
        wait_until(lambda: states(manager) == {"m/1": "END"})
        assert shelf.events == ["load m/1"]
        manager.reconcile(found(m=[1]))
        wait_until(lambda: states(manager) == {"m/1": "AVAILABLE"})


def test_a_failed_version_is_tried_again_when_it_is_aspired_anew_only() -> None:
    shelf = Shelf(failures={"m/1": 1})
    with running(shelf) as manager:
        manager.reconcile(found(m=[1]))
        wait_until(lambda: states(manager) == {"m/1": "END"})
        for _ in range(3):
            manager.reconcile(found(m=[1]))
        assert shelf.events == ["load m/1"]
        manager.reconcile(found(m=[]))
        manager.reconcile(found(m=[1]))
        wait_until(lambda: states(manager) == {"m/1": "AVAILABLE"})


def test_what_is_aspired_again_while_it_unloads_comes_back() -> None:
    shelf = Shelf()
    with running(shelf) as manager:
        manager.reconcile(found(m=[1]))
        wait_until(lambda: states(manager) == {"m/1": "AVAILABLE"})
        handle = manager.acquire("m")
        manager.reconcile(found(m=[]))
        wait_until(lambda: states(manager) == {"m/1": "UNLOADING"})
        manager.reconcile(found(m=[1]))
        assert states(manager) == {"m/1": "UNLOADING"}
        handle.release()
        wait_until(lambda: states(manager) == {"m/1": "AVAILABLE"})
        assert shelf.events == ["load m/1", "unload m/1", "load m/1"]


def test_a_load_that_nobody_wants_any_more_is_unloaded_when_it_is_done() -> None:
    shelf = Shelf(gates={"m/1": threading.Event()})
    with running(shelf) as manager:
        manager.reconcile(found(m=[1]))
        wait_until(lambda: shelf.events == ["load m/1"])
        manager.reconcile(found(m=[2]))
        shelf.gates["m/1"].set()
        wait_until(lambda: states(manager) == {"m/2": "AVAILABLE", "m/1": "END"})


def test_resource_preserving_never_holds_two() -> None:
    shelf, told = Shelf(), []

    def note(status: VersionStatus) -> None:
        told.append(f"{status.id.version} {status.state}")

    options = ManagerOptions(transition=resource_preserving, forgives=True)
    with running(shelf, options, on_status=note) as manager:
        manager.reconcile(found(m=[1]))
        wait_until(lambda: states(manager) == {"m/1": "AVAILABLE"})
        manager.reconcile(found(m=[2]))
        wait_until(lambda: states(manager).get("m/2") == "AVAILABLE")
    assert told[3:8] == ["2 START", "1 UNLOADING", "1 END", "2 LOADING", "2 AVAILABLE"]


def test_what_does_not_fit_fails_with_the_reason_and_fits_later(tmp_path: Path) -> None:
    for version in ("m/1", "m/2", "n/1"):
        (tmp_path / version).mkdir(parents=True)
        (tmp_path / version / "weights").write_bytes(b"x" * 1000)
    shelf = Shelf()
    options = ManagerOptions(memory=MemoryLimit(2500), forgives=True)
    with running(shelf, options) as manager:
        manager.reconcile(found(tmp_path, m=[1], n=[1]))
        wait_until(lambda: set(states(manager).values()) == {"AVAILABLE"})
        manager.reconcile(found(tmp_path, m=[1, 2]))
        wait_until(lambda: states(manager).get("m/2") == "END")
        assert "Insufficient resources" in manager.statuses("m")[0].error
        assert "load m/2" not in shelf.events
        manager.reconcile(found(tmp_path, m=[1], n=[]))
        manager.reconcile(found(tmp_path, m=[1, 2]))
        wait_until(lambda: states(manager)["m/2"] == "AVAILABLE")


def test_a_load_waits_for_the_memory_of_an_unload_at_work(tmp_path: Path) -> None:
    for version in ("m/1", "n/1"):
        (tmp_path / version).mkdir(parents=True)
        (tmp_path / version / "weights").write_bytes(b"x" * 1000)
    shelf = Shelf()
    options = ManagerOptions(memory=MemoryLimit(1200), forgives=True)
    with running(shelf, options) as manager:
        manager.reconcile(found(tmp_path, m=[1]))
        wait_until(lambda: states(manager) == {"m/1": "AVAILABLE"})
        handle = manager.acquire("m")
        manager.reconcile(found(tmp_path, m=[], n=[1]))
        wait_until(lambda: states(manager) == {"m/1": "UNLOADING", "n/1": "LOADING"})
        handle.release()
        wait_until(lambda: states(manager) == {"m/1": "END", "n/1": "AVAILABLE"})


def test_stop_waits_for_what_is_at_work_and_unloads_everything() -> None:
    shelf = Shelf(gates={"b/1": threading.Event()}, failures={"c/1": 1})
    options = ManagerOptions(max_retries=1, retry_seconds=600.0)
    manager: ConcurrentManager[Servable] = ConcurrentManager(shelf, options=options, load_threads=3)
    manager.reconcile(found(a=[1], b=[1], c=[1]))
    wait_until(lambda: states(manager)["a/1"] == "AVAILABLE" and "load b/1" in shelf.events)
    stopping = threading.Thread(target=manager.stop)
    stopping.start()
    shelf.gates["b/1"].set()
    stopping.join(30)
    assert set(states(manager).values()) == {"END"}
    assert shelf.events.count("unload a/1") == 1
    assert shelf.events.count("unload b/1") == 1
    manager.reconcile(found(d=[1]))
    assert "d/1" not in states(manager)


def test_a_load_that_outlasts_the_stop_is_unloaded_when_it_is_done() -> None:
    shelf = Shelf(gates={"m/1": threading.Event()})
    manager: ConcurrentManager[Servable] = ConcurrentManager(shelf, drain_seconds=0.05)
    manager.reconcile(found(m=[1]))
    wait_until(lambda: shelf.events == ["load m/1"])
    manager.stop()
    shelf.gates["m/1"].set()
    wait_until(lambda: shelf.events == ["load m/1", "unload m/1"])
    assert manager.find("m") is None
    wait_until(lambda: states(manager) == {"m/1": "END"})


@pytest.mark.parametrize("threads", [1, 4])
def test_100_swaps_under_4_threads_fail_no_request(threads: int) -> None:
    shelf = Shelf()
    done, failures, served = threading.Event(), [], [0, 0, 0, 0]
    manager: ConcurrentManager[Servable] = ConcurrentManager(shelf, load_threads=threads)
    manager.reconcile(found(m=[1]))
    wait_until(lambda: states(manager) == {"m/1": "AVAILABLE"})

    def client(number: int) -> None:
        while not done.is_set():
            try:
                with manager.acquire("m") as servable:
                    time.sleep(0)
                    assert servable.is_loaded
                served[number] += 1
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is a failure
                failures.append(error)

    clients = [threading.Thread(target=client, args=(n,)) for n in range(4)]
    for thread in clients:
        thread.start()
    try:
        for swap in range(2, 102):
            manager.reconcile(found(m=[swap]))
            wait_until(lambda: states(manager).get(f"m/{swap}") == "AVAILABLE")  # noqa: B023
    finally:
        done.set()
        for thread in clients:
            thread.join(30)
        manager.stop()
    assert failures == []
    assert all(served)
