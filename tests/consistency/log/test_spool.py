"""The spool before a stalled disk: `write` blocks in the kernel, on a full pipe."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from consistency.errors import LogError
from consistency.log import LoggedRequest, LogSettings, RequestLogReader, RequestLogWriter, spool
from consistency.log.front import LogIncidents, open_front
from consistency.log.lines.encoding import encode_line
from consistency.log.lines.line import decode_line
from consistency.log.reader import verify_log
from consistency.log.settings import LogMode
from consistency.log.spool import LogSpool
from consistency.protocols import LogWriter
from tests.fixtures.scored import make_request
from tests.fixtures.server import wait_until

ROOT = Path(__file__).parents[3]
LINE = encode_line(make_request("r-000"))
ROOM = len(LINE) + 64
"""Memory that one line takes."""
AMPLE = 64 << 20
"""Nothing is dropped, however late the writing thread gets its turn."""


def ids(folder: Path) -> list[str]:
    found = list(RequestLogReader(folder))
    assert all(isinstance(item, LoggedRequest) for item in found)
    return [item.request_id for item in found if isinstance(item, LoggedRequest)]


class Stall:
    """A disk that takes nothing: the writer's file is a full pipe, until it is drained.

    What a request meets is the kernel's own blocking write, but for a pipe and not for a file.
    """

    def __init__(self, writer: RequestLogWriter) -> None:
        self.reads, writes = os.pipe()
        fcntl.fcntl(writes, fcntl.F_SETPIPE_SZ, 4096)
        os.set_blocking(writes, False)
        self.filling = os.write(writes, b"x" * 4096)
        os.set_blocking(writes, True)
        self._writer = writer
        self._file = os.dup(writer._fd)
        os.dup2(writes, writer._fd)
        os.close(writes)

    def end(self, lines: int) -> list[str]:
        """Drain the pipe of so many lines, and return their ids."""
        held = b""
        while held.count(b"\n") < lines:
            held += os.read(self.reads, 65536)
        assert held[: self.filling] == b"x" * self.filling
        return [decode_line(line).request_id for line in held[self.filling :].splitlines()]

    def put_file_back(self) -> None:
        os.dup2(self._file, self._writer._fd)
        os.close(self._file)
        os.close(self.reads)


@pytest.fixture
def writer(folder: Path) -> Iterator[RequestLogWriter]:
    made = RequestLogWriter(LogSettings(folder))
    yield made
    made.close()


def spooled(
    writer: RequestLogWriter,
    max_bytes: int = 1 << 20,
    dropped: Callable[[int], None] = lambda _: None,
    *,
    refuses: bool = False,
) -> LogSpool:
    return LogSpool(writer, max_bytes, dropped=dropped, refuses=refuses)


def test_lines_reach_the_file_in_order_and_are_flushed_when_it_closes(
    folder: Path, writer: RequestLogWriter
) -> None:
    held = spooled(writer, AMPLE)
    for i in range(2000):
        held.add(encode_line(make_request(f"r-{i}")))
    held.close()
    assert ids(folder) == [f"r-{i}" for i in range(2000)]
    assert held.held_bytes == 0
    assert len(list(folder.glob("*.jsonl"))) == 1, "and the segment is sealed"


def test_a_line_is_written_without_another_one_or_closing(
    folder: Path, writer: RequestLogWriter
) -> None:
    held = spooled(writer)
    for i in range(3):
        held.add(encode_line(make_request(f"r-{i}")))
        wait_until(lambda n=i + 1: len(ids(folder)) == n, "the line is written")  # type: ignore[misc]
    held.close()


def test_a_stalled_disk_stalls_nobody_and_takes_all_when_it_goes_on(
    writer: RequestLogWriter,
) -> None:
    stall = Stall(writer)
    drops: list[int] = []
    held = spooled(writer, dropped=drops.append)
    for i in range(500):  # each returns although the disk takes nothing
        held.add(encode_line(make_request(f"r-{i}")))
    assert held.held_bytes > 400 * len(LINE)
    assert stall.end(500) == [f"r-{i}" for i in range(500)]
    wait_until(lambda: held.held_bytes == 0, "the spool is empty")
    stall.put_file_back()
    held.close()
    assert drops == []


def test_memory_is_bounded_and_what_does_not_fit_is_counted(writer: RequestLogWriter) -> None:
    stall = Stall(writer)
    drops: list[int] = []
    held = spooled(writer, 10 * ROOM, drops.append)
    for i in range(25):
        held.add(encode_line(make_request(f"r-{i:03d}")))
        assert held.held_bytes <= 10 * ROOM
    assert sum(drops) == 15
    assert stall.end(10) == [f"r-{i:03d}" for i in range(10)], "the oldest are kept"
    wait_until(lambda: held.held_bytes == 0, "the spool is empty")
    stall.put_file_back()
    held.close()


def test_a_full_spool_refuses_when_it_was_told_to(writer: RequestLogWriter) -> None:
    stall = Stall(writer)
    drops: list[int] = []
    held = spooled(writer, 2 * ROOM, drops.append, refuses=True)
    held.add(LINE)
    held.add(LINE)
    with pytest.raises(LogError, match="are waiting for the disk; mend the disk"):
        held.add(LINE)
    assert drops == []
    stall.end(2)
    wait_until(lambda: held.held_bytes == 0, "the spool is empty")
    stall.put_file_back()
    held.close()


def test_closing_on_a_stalled_disk_gives_up_and_counts_what_is_lost(
    monkeypatch: pytest.MonkeyPatch, writer: RequestLogWriter, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(spool, "CLOSE_SECONDS", 0.1)
    stall = Stall(writer)
    drops: list[int] = []
    held = spooled(writer, dropped=drops.append)
    for _ in range(7):
        held.add(LINE)
    held.close()
    assert sum(drops) == 7
    assert "7 lines are lost" in caplog.text
    with pytest.raises(LogError, match="closed"):
        held.add(LINE)
    held.close()
    stall.end(7)  # so that the thread ends before the file is put back
    wait_until(lambda: not held._thread.is_alive(), "the thread ends")
    stall.put_file_back()


DISK_FULL = """
    import resource, sys, time
    from pathlib import Path
    from consistency.log import LogSettings, RequestLogWriter
    from consistency.log.lines.encoding import encode_line
    from consistency.log.spool import LogSpool
    from tests.fixtures.scored import make_request

    size = len(encode_line(make_request("r-000")))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3 * size + size // 2, limits[1]))
    drops = []
    writer = RequestLogWriter(LogSettings(Path(sys.argv[1])))
    spool = LogSpool(writer, 1 << 20, dropped=drops.append, refuses=False)
    for i in range(10):
        spool.add(encode_line(make_request(f"r-{i:03d}")))
    (path,) = Path(sys.argv[1]).iterdir()
    while path.stat().st_size != 3 * size:  # as much as fits, and no half of a line
        time.sleep(0.01)
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    spool.close()
    print(sum(drops))
"""


def test_a_full_disk_takes_the_rest_when_there_is_space_again(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(DISK_FULL), folder],
        cwd=ROOT, check=True, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout == "0\n"
    assert ids(folder) == [f"r-{i:03d}" for i in range(10)]
    assert "it is tried again" in done.stderr


def test_many_threads_lose_and_double_nothing(folder: Path, writer: RequestLogWriter) -> None:
    held = spooled(writer, AMPLE)

    def add(thread: int) -> None:
        for i in range(300):
            held.add(encode_line(make_request(f"{thread}-{i}")))

    threads = [threading.Thread(target=add, args=(t,)) for t in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    held.close()
    assert sorted(ids(folder)) == sorted(f"{t}-{i}" for t in range(4) for i in range(300))


KILLED = """
    import os, signal, sys
    from pathlib import Path
    from consistency.log import LogSettings, RequestLogWriter
    from consistency.log.front import LogIncidents, open_front
    from consistency.log.settings import LogMode
    from tests.fixtures.scored import make_request

    settings = LogSettings(Path(sys.argv[1]), mode=LogMode(sys.argv[2]))
    log = open_front(RequestLogWriter(settings), settings, LogIncidents(), refuses=True)
    for i in range(2000):
        log.write(make_request(f"r-{i}"))
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("mode", list(LogMode))
def test_a_kill_takes_nothing_in_direct_mode_and_the_newest_lines_of_a_spool(
    folder: Path, mode: LogMode
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLED), folder, mode],
        cwd=ROOT, check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (-9, "")
    RequestLogWriter(LogSettings(folder)).close()  # the next one seals it
    assert verify_log(folder).intact
    found = [r.request_id for r in RequestLogReader(folder) if isinstance(r, LoggedRequest)]
    assert found == [f"r-{i}" for i in range(len(found))], "without a gap"
    if mode is LogMode.DIRECT:
        assert len(found) == 2000


# ---------------------------------------------------------------------------------------- the front


def front(writer: RequestLogWriter, folder: Path, **how: object) -> LogWriter:
    settings = LogSettings(folder, **how)  # type: ignore[arg-type]
    return open_front(writer, settings, LogIncidents(), refuses=True)


def test_by_default_the_front_is_the_writer_itself(folder: Path, writer: RequestLogWriter) -> None:
    assert front(writer, folder) is writer


def test_a_front_with_a_spool_flushes_when_it_closes(
    folder: Path, writer: RequestLogWriter
) -> None:
    log = front(writer, folder, mode=LogMode.SPOOL, key_field="x")
    for i in range(50):
        log.write(make_request(f"r-{i}"))
    log.close()
    assert ids(folder) == [f"r-{i}" for i in range(50)]
    found = [r for r in RequestLogReader(folder) if isinstance(r, LoggedRequest)]
    assert {r.key for r in found} == {"1.5"}
