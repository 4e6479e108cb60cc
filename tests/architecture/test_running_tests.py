"""How the tests are run: one that hangs fails, what costs a minute is made once."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.fixtures.longest_first import LONGEST
from tests.fixtures.made_once import made_once
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


def test_the_longest_files_are_there() -> None:
    tests = Path(__file__).parents[1]
    assert [name for name in LONGEST if not (tests / name).is_file()] == []


class Factory:
    """As pytest's in a worker of pytest-xdist."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def getbasetemp(self) -> Path:
        return self._folder


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
