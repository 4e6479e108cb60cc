import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from consistency.errors import ConfigError
from serving.core.loader import Loader
from serving.core.manager import Manager
from serving.core.poller import Poller
from serving.core.source import FileSystemSource, Found, FoundVersion
from serving.core.state import ServableId

ONE: Found = {"m": {1: FoundVersion(Path("/m/1"), "t")}}


class ScriptedSource:
    """Gives one answer a poll, the last one for ever."""

    def __init__(self, *answers: Found | Exception, problems: tuple[str, ...] = ()) -> None:
        self.answers, self.problems, self.polls = list(answers), problems, 0

    def poll(self) -> Found:
        self.polls += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


class RecordingManager:
    def __init__(self) -> None:
        self.found: list[Found] = []
        self.wait_for_give_up = False

    def reconcile(self, found: Found, give_up: threading.Event | None = None) -> None:
        self.found.append(found)
        if self.wait_for_give_up:
            assert give_up is not None
            assert give_up.wait(10)


class Scene:
    def __init__(self) -> None:
        self.manager = RecordingManager()
        self.errors: list[str] = []
        self.pollers: list[Poller] = []

    def poller(self, source: ScriptedSource, interval_seconds: float = 0.001) -> Poller:
        poller = Poller(
            source, self.manager, interval_seconds, lambda error: self.errors.append(str(error))
        )
        self.pollers.append(poller)
        return poller


@pytest.fixture
def scene() -> Iterator[Scene]:
    scene = Scene()
    yield scene
    for poller in scene.pollers:
        poller.stop()


def wait_until(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.001)


def test_the_first_round_is_done_when_start_returns(scene: Scene) -> None:
    scene.poller(ScriptedSource(ONE), interval_seconds=60).start()
    assert scene.manager.found == [ONE]


def test_rounds_go_on_in_the_background(scene: Scene) -> None:
    source = ScriptedSource({}, ONE)
    scene.poller(source).start()
    wait_until(lambda: len(scene.manager.found) > 5)
    assert scene.manager.found[:3] == [{}, ONE, ONE]


def test_a_start_that_cannot_read_its_source_fails(scene: Scene) -> None:
    poller = scene.poller(ScriptedSource(ConfigError("--models: no such directory")))
    with pytest.raises(ConfigError, match="--models"):
        poller.start()
    assert scene.manager.found == []


def test_errors_are_reported_once_and_survived(scene: Scene) -> None:
    away = ConfigError("base is away")
    source = ScriptedSource(ONE, away, away, RuntimeError("odd"), ONE, away, {})
    scene.poller(source).start()
    wait_until(lambda: {} in scene.manager.found)
    assert scene.errors == ["base is away", "odd", "base is away"]
    assert scene.manager.found[:3] == [ONE, ONE, {}]


def test_problems_are_reported_when_they_arise(scene: Scene) -> None:
    source = ScriptedSource(ONE, problems=("01 and 1 clash",))
    poller = scene.poller(source)
    poller.run_once()
    poller.run_once()
    source.problems = ("01 and 1 clash", "no such model")
    poller.run_once()
    source.problems = ()
    poller.run_once()
    source.problems = ("01 and 1 clash",)
    poller.run_once()
    assert scene.errors == ["01 and 1 clash", "no such model", "01 and 1 clash"]


def test_a_broken_listener_does_not_stop_the_wheel(scene: Scene) -> None:
    def fail(error: Exception) -> None:
        scene.errors.append(str(error))
        raise RuntimeError("the listener is broken")

    source = ScriptedSource(ONE, ConfigError("away"), ONE, problems=("clash",))
    poller = Poller(source, scene.manager, 0.001, fail)
    scene.pollers.append(poller)
    poller.start()
    wait_until(lambda: len(scene.manager.found) > 3)
    assert scene.errors == ["clash", "away"]


def test_stop_is_prompt_and_final(scene: Scene) -> None:
    source = ScriptedSource(ONE)
    poller = scene.poller(source, interval_seconds=60)
    poller.start()
    start = time.monotonic()
    poller.stop()
    poller.stop()
    assert time.monotonic() - start < 1
    assert source.polls == 1


def test_stop_has_the_manager_give_up(scene: Scene) -> None:
    poller = scene.poller(ScriptedSource(ONE))
    poller.start()
    scene.manager.wait_for_give_up = True
    wait_until(lambda: len(scene.manager.found) > 1)
    poller.stop()


def test_a_poller_starts_once(scene: Scene) -> None:
    poller = scene.poller(ScriptedSource(ONE), interval_seconds=60)
    poller.start()
    with pytest.raises(RuntimeError, match="once"):
        poller.start()


class TextLoader:
    """Serves the text of a file: the smallest model there is."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> str:
        return (self.path / "model.txt").read_text()

    def unload(self, servable: str) -> None:
        pass


def text_loader(_: ServableId, path: Path) -> Loader[str]:
    return TextLoader(path)


def test_source_poller_and_manager_hot_plug_real_directories(tmp_path: Path) -> None:
    def write(version: str, text: str | None) -> None:
        folder = tmp_path / "m" / version
        folder.mkdir(parents=True, exist_ok=True)
        if text is not None:
            (folder / "model.txt").write_text(text)

    def served() -> str:
        with manager.acquire("m") as text:
            return text

    errors: list[Exception] = []
    manager = Manager[str](text_loader)
    poller = Poller(FileSystemSource(tmp_path), manager, 0.005, errors.append)
    write("1", "one")
    poller.start()
    try:
        assert served() == "one"
        write("0002", None)  # half written: its load fails, and version 1 keeps serving
        wait_until(lambda: any("FileNotFoundError" in s.error for s in manager.statuses("m")))
        assert served() == "one"
        write("0002", "two")  # repaired in place: tried again
        wait_until(lambda: served() == "two")
        (tmp_path / "m").rename(tmp_path / ".retired")
        wait_until(lambda: {s.state.value for s in manager.statuses("m")} == {"END"})
        assert errors == []
    finally:
        poller.stop()
        manager.stop()
