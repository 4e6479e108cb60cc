"""Cells: what is counted survives the process, and anybody can read it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from consistency.log import LogSettings, RequestLogReader, RequestLogWriter
from consistency.log.reader import verify_log
from monitors.online.cell_folder import METRICS_FOLDER, CellFolder
from monitors.online.cells import CellStore
from tests.fixtures.scored import make_request

HEADER = {"model": "m", "of": ["a", "b"]}

DIES = """
import os, signal, sys
from pathlib import Path
from monitors.online.cells import CellStore

store = CellStore(Path(sys.argv[1]), 1)
cells = store.cells("kind", {"model": "m", "of": ["a", "b"]}, 2)
for _ in range(1000):
    cells[1] += 1
print(store.live_workers(), flush=True)
sys.stdin.read(1)
os.kill(os.getpid(), signal.SIGKILL)
"""


def counted(store: CellStore) -> list[list[int]]:
    return [file.words.tolist() for file in store.files("kind")]


def test_new_cells_are_zero_and_the_same_header_gives_the_same_cells(tmp_path: Path) -> None:
    store = CellStore(tmp_path)
    cells = store.cells("kind", HEADER, 2)
    cells[0] += 5
    assert store.cells("kind", HEADER, 2).tolist() == [5, 0]
    assert store.cells("kind", {"model": "n"}, 1).tolist() == [0]


def test_every_worker_reads_what_all_have_counted_while_they_count(tmp_path: Path) -> None:
    one, other = CellStore(tmp_path, 0), CellStore(tmp_path, 1)
    mine, theirs = one.cells("kind", HEADER, 2), other.cells("kind", HEADER, 2)
    mine[0], theirs[1] = 1, 2
    assert counted(one) == counted(other) == [[1, 0], [0, 2]]
    theirs[1] = -(2**63)
    assert counted(one)[1] == [0, -(2**63)]
    assert [file.header for file in one.files("kind")] == [HEADER, HEADER]
    assert list(one.files("other kind")) == []


def test_nothing_is_lost_when_a_worker_is_killed_and_its_successor_goes_on(tmp_path: Path) -> None:
    store = CellStore(tmp_path, 0)
    with subprocess.Popen(
        [sys.executable, "-c", DIES, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"2\n"
        assert store.live_workers() == 2
        process.stdin.close()
        assert process.wait(30) == -9
    assert store.live_workers() == 1
    assert counted(store) == [[0, 1000]]
    successor = CellStore(tmp_path, 1)
    successor.cells("kind", HEADER, 2)[1] += 1
    assert counted(store) == [[0, 1001]]
    assert store.live_workers() == 2
    successor.close()
    assert store.live_workers() == 1


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="Not a directory"):
        CellStore(tmp_path / "file" / "cells")


def test_a_server_takes_its_folder_away_and_leaves_those_of_others(tmp_path: Path) -> None:
    mine, theirs = CellFolder(tmp_path), CellFolder(tmp_path)
    CellStore(mine.path).cells("kind", HEADER, 2)
    CellStore(theirs.path).cells("kind", HEADER, 2)
    mine.close()
    mine.close()
    assert [p.parent for p in tmp_path.rglob("*.cells")] == [theirs.path]
    theirs.close()
    assert list(tmp_path.iterdir()) == []


def test_the_next_server_removes_what_a_killed_one_has_left(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; "
        "from monitors.online.cell_folder import CellFolder; "
        "CellFolder(Path(sys.argv[1])); os.kill(os.getpid(), 9)"
    )
    died = subprocess.run([sys.executable, "-c", script, tmp_path], check=False)
    assert died.returncode == -9
    (left,) = (tmp_path / METRICS_FOLDER).iterdir()
    folder = CellFolder(tmp_path)
    assert not left.exists()
    assert folder.path.is_dir()
    folder.close()


def test_the_log_and_its_reader_pass_over_the_cells(tmp_path: Path) -> None:
    folder = CellFolder(tmp_path)
    CellStore(folder.path).cells("kind", HEADER, 2)
    writer = RequestLogWriter(LogSettings(tmp_path))
    writer.write(make_request())
    assert len(list(RequestLogReader(tmp_path))) == 1
    writer.close()
    verdict = verify_log(tmp_path)
    assert (verdict.requests, verdict.intact, verdict.damage) == (1, True, [])
    folder.close()
