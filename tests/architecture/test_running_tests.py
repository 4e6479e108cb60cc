"""How the tests are run: one that hangs fails, what costs a minute is made once."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import pytest

from tests.fixtures.made_once import made_once
from tests.fixtures.shuffled import shuffle
from tests.fixtures.time_limit import time_limit


def test_what_hangs_is_ended_with_the_process_that_it_waits_for() -> None:
    said = r"a nap was still running after 0\.2 s"
    with pytest.raises(pytest.fail.Exception, match=said), time_limit("a nap", 0.2):
        subprocess.run([sys.executable, "-c", "import time; time.sleep(600)"], check=False)


def test_what_ends_in_time_is_left_alone() -> None:
    before = signal.getsignal(signal.SIGALRM)
    with time_limit("nothing", 3_600):
        pass
    assert signal.getitimer(signal.ITIMER_REAL)[0] < 3_000
    assert signal.getsignal(signal.SIGALRM) is before


@dataclass(frozen=True)
class Item:
    """A test, as far as its place in a run is concerned."""

    nodeid: str


def test_a_seed_is_an_order_of_whole_files() -> None:
    collected = [Item(f"tests/test_{file}.py::test_{n}") for file in "abcdefgh" for n in range(9)]

    def ordered(seed: int) -> list[Item]:
        items = list(collected)
        shuffle(items, seed)  # type: ignore[arg-type]
        return items

    assert sorted(ordered(1), key=collected.index) == collected
    assert len([file for file, _ in groupby(i.nodeid.partition("::")[0] for i in ordered(1))]) == 8
    assert ordered(1) == ordered(1)
    assert ordered(1) != ordered(2)
    assert ordered(1)[:9] != sorted(ordered(1)[:9], key=collected.index)


class Factory:
    """As pytest's in a worker of pytest-xdist."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def getbasetemp(self) -> Path:
        return self._folder


@pytest.mark.slow
def test_tensorflow_has_one_thread_whoever_imports_it_first() -> None:
    """In a process of its own, that used TensorFlow before anyone asked for a number of threads."""
    lines = (
        "from tests.fixtures.one_thread import tensorflow_on_one_thread",
        "tensorflow_on_one_thread()",
        "import tensorflow as tf",
        "tf.constant([1.0]) + 1.0",
        "from serving.loaders.runtimes.tensorflow_runtime import start_tensorflow",
        "start_tensorflow(1)",
    )
    command = [sys.executable, "-c", "\n".join(lines)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_several_processes_need_is_made_once(tmp_path: Path) -> None:
    made = []

    def make(folder: Path) -> None:
        made.append(folder)
        time.sleep(0.05)  # the others come meanwhile
        (folder / "model").write_text("whole")

    factories = [Factory(tmp_path / f"popen-gw{i}") for i in range(4)]
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda f: made_once(f, "models", make), factories))  # type: ignore[arg-type]
    assert len(made) == 1
    assert [(folder / "model").read_text() for folder in found] == ["whole"]


def test_what_failed_half_way_is_made_anew(tmp_path: Path) -> None:
    factory = Factory(tmp_path / "popen-gw0")

    def fail(folder: Path) -> None:
        (folder / "model").write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        made_once(factory, "models", fail)  # type: ignore[arg-type]
    made = made_once(factory, "models", lambda folder: (folder / "other").touch())  # type: ignore[arg-type]
    assert [path.name for path in made.iterdir()] == ["other"]
