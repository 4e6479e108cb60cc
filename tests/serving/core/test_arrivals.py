import threading
from collections.abc import Callable

import pytest

from serving.core.arrivals import Arrivals
from serving.core.state import ManagerState, ServableId, VersionStatus


def status(name: str, version: int, state: str, error: str = "") -> VersionStatus:
    return VersionStatus(ServableId(name, version), ManagerState(state), error)


def decided(arrivals: Arrivals, *names: str) -> dict[str, tuple[int, str] | None]:
    arrived = arrivals.wait(names)
    return {
        name: None if s is None else (s.id.version, s.state.value) for name, s in arrived.items()
    }


def test_a_model_has_arrived_when_a_version_is_available_or_failed() -> None:
    arrivals = Arrivals()
    arrivals.expect(["a", "b"])
    for told in (
        status("a", 1, "START"),
        status("a", 1, "AVAILABLE"),
        status("b", 3, "END", "torn"),
        status("b", 2, "LOADING"),
    ):
        arrivals.note(told)
    assert decided(arrivals, "a", "b") == {"a": (1, "AVAILABLE"), "b": (3, "END")}
    assert decided(arrivals) == {}


def test_of_several_versions_the_newest_decides() -> None:
    arrivals = Arrivals()
    arrivals.expect(["m"])
    arrivals.note(status("m", 1, "AVAILABLE"))
    arrivals.note(status("m", 2, "END", "torn"))
    assert decided(arrivals, "m") == {"m": (2, "END")}


def test_what_was_before_does_not_count() -> None:
    arrivals = Arrivals()
    arrivals.note(status("m", 1, "AVAILABLE"))
    arrivals.expect(["m"])
    arrivals.note(status("m", 1, "UNLOADING"))
    arrivals.note(status("m", 1, "END"))
    done = threading.Event()

    def wait() -> None:
        arrivals.wait(["m"])
        done.set()

    waiting = threading.Thread(target=wait)
    waiting.start()
    assert not done.wait(0.05)
    arrivals.note(status("m", 1, "AVAILABLE"))
    assert done.wait(10)
    waiting.join(10)


def test_a_model_that_went_away_again_had_arrived() -> None:
    arrivals = Arrivals()
    arrivals.expect(["m"])
    arrivals.note(status("m", 1, "AVAILABLE"))
    arrivals.note(status("m", 1, "END"))
    assert decided(arrivals, "m") == {"m": (1, "AVAILABLE")}


@pytest.mark.parametrize("end", [lambda a: a.forget(["m", "unknown"]), lambda a: a.close()])
def test_who_waits_is_freed_when_the_model_is_forgotten_or_all_is_closed(
    end: Callable[[Arrivals], None],
) -> None:
    arrivals, seen = Arrivals(), list[dict[str, tuple[int, str] | None]]()
    arrivals.expect(["m", "n"])
    arrivals.note(status("n", 1, "AVAILABLE"))
    waiting = threading.Thread(target=lambda: seen.append(decided(arrivals, "m", "n")))
    waiting.start()
    end(arrivals)
    waiting.join(10)
    assert seen == [{"m": None, "n": (1, "AVAILABLE")}]
