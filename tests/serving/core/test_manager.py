import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from consistency.errors import BundleError, ModelNotFoundError, SamescoreError
from serving.core.handle import Handle, Loaded
from serving.core.manager import Manager
from serving.core.policy import AllVersions, LatestVersions, SpecificVersions, VersionPolicy
from serving.core.source import Found, FoundVersion
from serving.core.state import ManagerState, ServableId, VersionStatus

AVAILABLE, END = ManagerState.AVAILABLE, ManagerState.END


@dataclass
class Servable:
    id: ServableId
    loaded: bool = True


@dataclass
class Shelf:
    """Makes loaders, writes down what they do, and fails where it is told to."""

    broken: dict[str, BaseException] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)
    before_load: Callable[[ServableId], None] = lambda _: None
    unload_error: BaseException | None = None

    def __call__(self, id: ServableId, path: Path) -> "ShelfLoader":
        if error := self.broken.get(f"factory {id.name}/{id.version}"):
            raise error
        return ShelfLoader(self, id)


@dataclass
class ShelfLoader:
    shelf: Shelf
    id: ServableId

    def load(self) -> Servable:
        self.shelf.before_load(self.id)
        key = f"{self.id.name}/{self.id.version}"
        self.shelf.events.append(f"load {key}")
        if error := self.shelf.broken.get(key):
            raise error
        return Servable(self.id)

    def unload(self, servable: Servable) -> None:
        servable.loaded = False
        self.shelf.events.append(f"unload {self.id.name}/{self.id.version}")
        if self.shelf.unload_error:
            raise self.shelf.unload_error


def found(token: str = "t", **models: list[int]) -> Found:
    return {
        name: {v: FoundVersion(Path(f"/{name}/{v}"), token) for v in versions}
        for name, versions in models.items()
    }


def states(manager: Manager[Servable], name: str | None = None) -> dict[str, str]:
    return {f"{s.id.name}/{s.id.version}": s.state.value for s in manager.statuses(name)}


def serving(manager: Manager[Servable], name: str, version: int | None = None) -> int:
    with manager.acquire(name, version) as servable:
        assert servable.loaded
        return servable.id.version


def error_of(manager: Manager[Servable], name: str, version: int) -> str:
    (error,) = [s.error for s in manager.statuses(name) if s.id.version == version]
    return error


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def manager(shelf: Shelf) -> Iterator[Manager[Servable]]:
    manager = Manager[Servable](shelf, drain_seconds=5.0)
    yield manager
    manager.stop()


def test_the_largest_version_wins(manager: Manager[Servable]) -> None:
    manager.reconcile(found(m=[9, 10, 1]))
    assert serving(manager, "m") == 10
    assert states(manager) == {"m/10": "AVAILABLE"}


def test_every_aspired_version_can_be_named(shelf: Shelf) -> None:
    manager = Manager[Servable](shelf, default_policy=AllVersions())
    manager.reconcile(found(m=[1, 2, 3]))
    assert [serving(manager, "m", v) for v in (1, 2, 3)] == [1, 2, 3]
    assert serving(manager, "m") == 3


def test_each_model_has_its_own_policy(shelf: Shelf) -> None:
    policies: dict[str, VersionPolicy] = {
        "a": SpecificVersions(frozenset({1})),
        "b": LatestVersions(2),
    }
    manager = Manager[Servable](shelf, policies=policies)
    manager.reconcile(found(a=[1, 2], b=[1, 2, 3], c=[1, 2]))
    assert states(manager) == dict.fromkeys(["a/1", "b/3", "b/2", "c/2"], "AVAILABLE")


def test_the_order_of_loading_is_by_name_then_largest_first(shelf: Shelf) -> None:
    manager = Manager[Servable](shelf, default_policy=AllVersions())
    manager.reconcile(found(b=[1], a=[1, 3, 2]))
    assert shelf.events == ["load a/3", "load a/2", "load a/1", "load b/1"]


def test_a_swap_loads_the_new_version_before_it_unloads_the_old(
    manager: Manager[Servable], shelf: Shelf
) -> None:
    manager.reconcile(found(a=[1], b=[1]))
    shelf.events.clear()
    manager.reconcile(found(a=[1, 2], b=[1, 2]))
    assert shelf.events == ["load a/2", "unload a/1", "load b/2", "unload b/1"]
    assert states(manager, "a") == {"a/2": "AVAILABLE", "a/1": "END"}


def test_a_version_that_was_removed_gives_way_to_the_one_before(manager: Manager[Servable]) -> None:
    manager.reconcile(found(m=[1, 2]))
    manager.reconcile(found(m=[1]))
    assert serving(manager, "m") == 1
    manager.reconcile(found(m=[1, 2]))
    assert serving(manager, "m") == 2
    assert error_of(manager, "m", 1) == ""


def test_a_model_with_an_empty_entry_is_unloaded_and_one_without_stays(
    manager: Manager[Servable],
) -> None:
    manager.reconcile(found(a=[1], b=[1]))
    manager.reconcile(found(a=[]))
    assert states(manager) == {"a/1": "END", "b/1": "AVAILABLE"}
    with pytest.raises(ModelNotFoundError):
        manager.acquire("a")


def test_what_is_available_stays_as_loaded_when_its_files_change(
    manager: Manager[Servable], shelf: Shelf
) -> None:
    manager.reconcile(found(m=[1]))
    manager.reconcile(found("changed", m=[1]))
    assert shelf.events == ["load m/1"]


def test_reconciling_again_does_nothing(manager: Manager[Servable], shelf: Shelf) -> None:
    for _ in range(3):
        manager.reconcile(found(m=[1]))
    assert shelf.events == ["load m/1"]


# ------------------------------------------------------------------------------------ failed loads


def test_a_failing_version_keeps_the_one_before_serving(
    manager: Manager[Servable], shelf: Shelf
) -> None:
    shelf.broken["m/2"] = BundleError("/m/2", "golden check: row 7 differs")
    manager.reconcile(found(m=[1]))
    manager.reconcile(found(m=[1, 2]))
    assert serving(manager, "m") == 1
    assert states(manager) == {"m/2": "END", "m/1": "AVAILABLE"}
    assert error_of(manager, "m", 2) == "bundle /m/2: golden check: row 7 differs"


def test_a_failed_version_is_told_for_as_long_as_it_is_wanted(
    manager: Manager[Servable], shelf: Shelf
) -> None:
    shelf.broken["m/2"] = BundleError("/m/2", "golden check: row 7 differs")
    manager.reconcile(found(m=[1]))
    assert manager.load_failures() == ()
    manager.reconcile(found(m=[1, 2]))
    assert [(s.id.name, s.id.version) for s in manager.load_failures()] == [("m", 2)]
    manager.reconcile(found(m=[1]))
    assert manager.load_failures() == (), "it was withdrawn"


def test_a_failing_version_harms_no_other(shelf: Shelf) -> None:
    manager = Manager[Servable](shelf, default_policy=AllVersions())
    shelf.broken["b/1"] = MemoryError("too large")
    shelf.broken["factory a/2"] = KeyError("format")
    manager.reconcile(found(a=[1, 2, 3], b=[1], c=[1]))
    assert [serving(manager, "a", v) for v in (1, 3)] == [1, 3]
    assert serving(manager, "c") == 1
    assert error_of(manager, "a", 2) == "KeyError: 'format'"
    assert error_of(manager, "b", 1) == "MemoryError: too large"


def test_an_error_without_a_text_is_told_by_its_class(
    manager: Manager[Servable], shelf: Shelf
) -> None:
    shelf.broken["m/1"] = SamescoreError()
    manager.reconcile(found(m=[1]))
    assert error_of(manager, "m", 1) == "SamescoreError: "


def test_a_model_that_calls_sys_exit_only_fails_itself(
    manager: Manager[Servable], shelf: Shelf
) -> None:
    shelf.before_load = lambda tried: sys.exit(3) if tried.name == "a" else None
    manager.reconcile(found(a=[1], b=[1]))
    assert states(manager) == {"a/1": "END", "b/1": "AVAILABLE"}
    assert error_of(manager, "a", 1) == "SystemExit: 3"


def test_a_failed_version_is_tried_again_only_when_its_files_changed(
    manager: Manager[Servable], shelf: Shelf
) -> None:
    shelf.broken["m/2"] = BundleError("/m/2", "torn")
    manager.reconcile(found(m=[1]))
    for _ in range(3):
        manager.reconcile(found("first", m=[1, 2]))
    assert shelf.events == ["load m/1", "load m/2"]
    manager.reconcile(found("second", m=[1, 2]))
    assert shelf.events == ["load m/1", "load m/2", "load m/2"]
    del shelf.broken["m/2"]
    manager.reconcile(found("second", m=[1, 2]))
    assert serving(manager, "m") == 1
    manager.reconcile(found("third", m=[1, 2]))
    assert serving(manager, "m") == 2
    assert states(manager) == {"m/2": "AVAILABLE", "m/1": "END"}


def test_a_failed_version_that_comes_back_unchanged_is_not_tried_again(
    manager: Manager[Servable], shelf: Shelf
) -> None:
    shelf.broken["m/2"] = BundleError("/m/2", "torn")
    manager.reconcile(found(m=[1, 2]))
    manager.reconcile(found(m=[1]))
    manager.reconcile(found(m=[1, 2]))
    assert shelf.events == ["load m/2", "load m/1"]
    assert serving(manager, "m") == 1


def test_a_failed_unload_is_told_and_forgotten(manager: Manager[Servable], shelf: Shelf) -> None:
    shelf.unload_error = OSError("device busy")
    manager.reconcile(found(m=[1]))
    manager.reconcile(found(m=[2]))
    assert error_of(manager, "m", 1) == "OSError: device busy"
    manager.reconcile(found(m=[1]))
    assert serving(manager, "m") == 1


# ---------------------------------------------------------------------------------- not to be found


@pytest.mark.parametrize(
    ("name", "version", "available", "hint"),
    [
        ("nope", None, (), "model 'nope' is not available; models served here: a, b"),
        ("nope", 3, (), "model 'nope' version 3 is not available; models served here: a, b"),
        ("a", 3, (1,), "version 3 is not available; available versions of 'a': 1"),
        ("a", 2, (1,), "version 2 is in state END: bundle /a/2: torn; available versions"),
        ("c", None, (), "'c' is not available; version 1 is in state END: ValueError: x"),
    ],
)
def test_what_cannot_be_acquired_says_why(
    manager: Manager[Servable],
    shelf: Shelf,
    name: str,
    version: int | None,
    available: tuple[int, ...],
    hint: str,
) -> None:
    shelf.broken |= {"a/2": BundleError("/a/2", "torn"), "c/1": ValueError("x\n" * 500)}
    manager.reconcile(found(a=[1], b=[1], c=[1]))
    manager.reconcile(found(a=[1, 2]))
    with pytest.raises(ModelNotFoundError) as caught:
        manager.acquire(name, version)
    assert hint in str(caught.value)
    assert len(str(caught.value)) < 500
    assert caught.value.available == available


def test_before_the_first_model_nothing_is_served_yet(manager: Manager[Servable]) -> None:
    with pytest.raises(ModelNotFoundError, match="models served here: none yet"):
        manager.acquire("m")


# ------------------------------------------------------------------------------------------ handles


def test_unloading_waits_for_requests_in_flight(manager: Manager[Servable], shelf: Shelf) -> None:
    manager.reconcile(found(m=[1]))
    first, second = manager.acquire("m"), manager.acquire("m", 1)
    swap = threading.Thread(target=manager.reconcile, args=(found(m=[2]),))
    swap.start()
    wait_until(lambda: states(manager)["m/1"] == "UNLOADING")
    assert serving(manager, "m") == 2
    with pytest.raises(ModelNotFoundError, match="version 1 is in state UNLOADING"):
        manager.acquire("m", 1)
    first.release()
    first.release()  # a second release of the first is not a release of the second
    time.sleep(0.05)
    assert second.servable.loaded
    assert "unload m/1" not in shelf.events
    second.release()
    swap.join(5)
    assert shelf.events == ["load m/1", "load m/2", "unload m/1"]
    assert not second.servable.loaded


def test_the_wait_for_requests_in_flight_has_a_bound(shelf: Shelf) -> None:
    manager = Manager[Servable](shelf, drain_seconds=0.05)
    manager.reconcile(found(m=[1]))
    handle = manager.acquire("m")
    manager.reconcile(found(m=[2]))
    assert error_of(manager, "m", 1) == "unloaded with 1 requests still in flight"
    assert "unload m/1" in shelf.events
    handle.release()
    assert serving(manager, "m") == 2


def test_a_version_withdrawn_between_lookup_and_claim_is_looked_up_again(
    manager: Manager[Servable], monkeypatch: pytest.MonkeyPatch
) -> None:
    manager.reconcile(found(m=[1]))
    claim = Loaded[Servable].acquire

    def swap_first(loaded: Loaded[Servable]) -> Handle[Servable] | None:
        monkeypatch.undo()
        manager.reconcile(found(m=[2]))
        return claim(loaded)

    monkeypatch.setattr(Loaded, "acquire", swap_first)
    assert serving(manager, "m") == 2
    assert error_of(manager, "m", 1) == ""


def test_a_handle_is_released_when_its_request_fails(manager: Manager[Servable]) -> None:
    manager.reconcile(found(m=[1]))
    with pytest.raises(ZeroDivisionError), manager.acquire("m"):
        raise ZeroDivisionError
    manager.stop()
    assert error_of(manager, "m", 1) == ""


def test_a_handle_names_what_was_acquired(manager: Manager[Servable]) -> None:
    manager.reconcile(found(m=[4]))
    handle = manager.acquire("m")
    assert handle.id == ServableId("m", 4)
    assert not handle.released
    handle.release()
    assert handle.released


@pytest.mark.parametrize("direction", ["forward", "back and forth"])
def test_200_swaps_under_4_threads_fail_no_request(direction: str, shelf: Shelf) -> None:
    manager = Manager[Servable](shelf, drain_seconds=10.0)
    manager.reconcile(found(m=[1]))
    done, failures, served = threading.Event(), [], [0, 0, 0, 0]

    def client(number: int) -> None:
        while not done.is_set():
            try:
                with manager.acquire("m") as servable:
                    first = servable.loaded
                    time.sleep(0)  # let the others in while the handle is held
                    assert first
                    assert servable.loaded
                served[number] += 1
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is a failure
                failures.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    clients = [threading.Thread(target=client, args=(n,)) for n in range(4)]
    try:
        for thread in clients:
            thread.start()
        for swap in range(200):
            before = sum(served)
            manager.reconcile(found(m=[swap + 2 if direction == "forward" else 2 - swap % 2]))
            wait_until(lambda floor=before: sum(served) > floor + 4)  # type: ignore[misc]
    finally:
        done.set()
        for thread in clients:
            thread.join(10)
        sys.setswitchinterval(interval)
    assert failures == []
    assert sum(event.startswith("unload") for event in shelf.events) == 200
    assert all(served)
    manager.stop()
    assert all(s.error == "" and s.state is END for s in manager.statuses())


# ---------------------------------------------------------------------------- stopping and watching


def test_stop_unloads_everything_for_good(manager: Manager[Servable], shelf: Shelf) -> None:
    manager.reconcile(found(a=[1], b=[1]))
    manager.stop()
    manager.stop()
    assert shelf.events == ["load a/1", "load b/1", "unload a/1", "unload b/1"]
    manager.reconcile(found(a=[2]))
    assert shelf.events[-1] == "unload b/1"
    assert states(manager) == {"a/1": "END", "b/1": "END"}
    with pytest.raises(ModelNotFoundError):
        manager.acquire("a")


def test_stop_waits_once_for_all_requests_in_flight(shelf: Shelf) -> None:
    manager = Manager[Servable](shelf, drain_seconds=0.2)
    manager.reconcile(found(a=[1], b=[1], c=[1]))
    _handles = [manager.acquire(name) for name in "abc"]
    start = time.monotonic()
    manager.stop()
    assert time.monotonic() - start < 0.5
    assert [s.error != "" for s in manager.statuses()] == [True, True, True]


def test_stop_ends_a_reconcile_after_the_load_at_hand(shelf: Shelf) -> None:
    manager = Manager[Servable](shelf, default_policy=AllVersions())
    at_work, go_on = threading.Event(), threading.Event()

    def slow(_: ServableId) -> None:
        at_work.set()
        assert go_on.wait(5)

    shelf.before_load = slow
    loading = threading.Thread(target=manager.reconcile, args=(found(m=[1, 2, 3]),))
    loading.start()
    assert at_work.wait(5)
    stopping = threading.Thread(target=manager.stop)
    stopping.start()
    wait_until(lambda: manager._stopping)
    go_on.set()
    loading.join(5)
    stopping.join(5)
    assert shelf.events == ["load m/3", "unload m/3"]
    assert set(states(manager).values()) == {"END"}


def test_who_gives_up_can_go_on_later(manager: Manager[Servable], shelf: Shelf) -> None:
    give_up = threading.Event()
    shelf.before_load = lambda _: give_up.set()
    manager.reconcile(found(a=[1], b=[1]), give_up)
    assert states(manager) == {"a/1": "AVAILABLE", "b/1": "START"}
    manager.reconcile({})
    assert states(manager) == {"a/1": "AVAILABLE", "b/1": "AVAILABLE"}


def test_statuses_can_be_read_while_a_load_is_at_work(manager: Manager[Servable]) -> None:
    manager.reconcile(found(m=[1]))
    assert manager.statuses("unknown") == ()
    seen: list[dict[str, str]] = []
    shelf = manager._factory
    assert isinstance(shelf, Shelf)
    shelf.before_load = lambda _: seen.append(states(manager))
    manager.reconcile(found(m=[1, 2]))
    assert seen == [{"m/2": "LOADING", "m/1": "AVAILABLE"}]


def test_each_new_state_is_told_in_order_and_the_listener_can_fail_nothing(shelf: Shelf) -> None:
    told: list[tuple[int, str]] = []

    def listen(status: VersionStatus) -> None:
        told.append((status.id.version, status.state.value))
        acquirable = status.state in {AVAILABLE, ManagerState.UNLOADING}
        assert (status.id.version in watched._serving.get("m", {})) == acquirable
        raise RuntimeError("the listener is broken")

    watched = Manager[Servable](shelf, on_status=listen)
    watched.reconcile(found(m=[1]))
    watched.reconcile(found(m=[2]))
    path = ["START", "LOADING", "AVAILABLE"]
    assert told == [
        *((1, state) for state in path),
        *((2, state) for state in path),
        (1, "UNLOADING"),
        (1, "END"),
    ]


def wait_until(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.001)
