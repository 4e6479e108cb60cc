from __future__ import annotations

import errno
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from consistency.errors import ConfigError, LogError
from consistency.log import LogSettings, RequestLogReader, RequestLogWriter, segments, writer
from consistency.log.durability import Fsync, FsyncWhen
from consistency.log.lines.encoding import encode_line
from consistency.log.lines.entry import LoggedRequest
from consistency.log.lines.line import decode_line
from consistency.log.reader import verify_log
from tests.fixtures.scored import make_request

ROOT = Path(__file__).parents[3]
LINE_BYTES = len(encode_line(make_request("r-000")))


def open_writer(folder: Path, **how: object) -> RequestLogWriter:
    return RequestLogWriter(LogSettings(folder, **how))  # type: ignore[arg-type]


def ids(folder: Path) -> list[str]:
    """The ids of a log in which nothing may be damaged."""
    found = list(RequestLogReader(folder))
    assert all(isinstance(item, LoggedRequest) for item in found)
    return [item.request_id for item in found if isinstance(item, LoggedRequest)]


def names(folder: Path, suffix: str) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.name.endswith(suffix))


# ------------------------------------------------------------------------------------------ writing


def test_a_request_is_in_the_file_when_write_returns(folder: Path) -> None:
    log = open_writer(folder)
    (path,) = folder.iterdir()
    assert path.name.endswith(".jsonl.open")
    for i in range(3):
        log.write(make_request(f"r-{i}"))
        lines = path.read_bytes().splitlines()
        assert [decode_line(line).request_id for line in lines] == [f"r-{n}" for n in range(i + 1)]
    log.close()


def test_closing_seals_the_segment(folder: Path) -> None:
    log = open_writer(folder)
    log.write(make_request())
    (path,) = folder.iterdir()
    content = path.read_bytes()
    log.close()
    (sealed,) = folder.iterdir()
    assert sealed.name == path.name.removesuffix(".open")
    assert sealed.read_bytes() == content


def test_a_segment_without_a_request_leaves_no_file(folder: Path) -> None:
    log = open_writer(folder)
    log.close()
    assert list(folder.iterdir()) == []


def test_a_closed_writer_refuses_and_closes_again_in_peace(folder: Path) -> None:
    log = open_writer(folder)
    log.close()
    log.close()
    with pytest.raises(LogError, match="closed"):
        log.write(make_request())
    assert list(folder.iterdir()) == []


def test_a_full_segment_is_sealed_and_the_next_one_opened(folder: Path) -> None:
    log = open_writer(folder, segment_bytes=2 * LINE_BYTES)
    for i in range(5):
        log.write(make_request(f"r-{i:03d}"))
    assert len(names(folder, ".jsonl")) == 2
    assert len(names(folder, ".open")) == 1
    log.close()
    assert len(names(folder, ".jsonl")) == 3
    assert ids(folder) == [f"r-{i:03d}" for i in range(5)]


def test_a_request_larger_than_a_segment_gets_one_of_its_own(folder: Path) -> None:
    log = open_writer(folder, segment_bytes=1)
    for i in range(3):
        log.write(make_request(f"r-{i}"))
    log.close()
    assert len(names(folder, ".jsonl")) == 3
    assert ids(folder) == ["r-0", "r-1", "r-2"]


@pytest.mark.parametrize("policy", [Fsync(), Fsync(FsyncWhen.EVERY_REQUEST)])
def test_the_policy_decides_when_the_disk_is_forced(
    folder: Path, monkeypatch: pytest.MonkeyPatch, policy: Fsync
) -> None:
    forced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", forced.append)
    log = open_writer(folder, fsync=policy)
    for _ in range(3):
        log.write(make_request())
    assert len(forced) == (3 if policy.when is FsyncWhen.EVERY_REQUEST else 0)
    log.close()


def test_an_interval_forces_the_disk_soon_after_and_no_request_waits(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forced = threading.Event()
    by: list[str] = []

    def note(_: int) -> None:
        by.append(threading.current_thread().name)
        forced.set()

    monkeypatch.setattr(os, "fdatasync", note)
    log = open_writer(folder, fsync=Fsync.parse("interval:1ms"))
    log.write(make_request("r-0"))
    assert forced.wait(30)
    log.close()
    assert set(by) == {"log-fsync"}
    assert ids(folder) == ["r-0"]


def test_a_disk_that_is_forced_has_what_was_written_and_is_not_forced_for_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", lambda fd: forced.append(os.fstat(fd).st_size))
    log = open_writer(folder, fsync=Fsync.parse("interval:3600s"))
    for i in (1, 2):
        log.write(make_request("r-000"))
        log.sync()
        log.sync()
        assert forced == [LINE_BYTES * n for n in range(1, i + 1)]
    log.close()
    log.sync()


def test_a_disk_that_cannot_be_forced_gets_a_new_segment_and_loses_no_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    log = open_writer(folder, fsync=Fsync.parse("interval:3600s"))
    log.write(make_request("r-0"))

    def fail(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(writer.os, "fdatasync", fail)
        log.sync()
    assert "cannot be forced to the disk" in caplog.text
    log.write(make_request("r-1"))
    assert len(names(folder, ".open")) == 2
    log.close()
    open_writer(folder).close()  # seals what was left open
    assert ids(folder) == ["r-0", "r-1"]


def test_forcing_the_disk_stalls_no_request(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stalls, goes_on = threading.Event(), threading.Event()

    def stall(_: int) -> None:
        stalls.set()
        assert goes_on.wait(30)

    monkeypatch.setattr(os, "fdatasync", stall)
    log = open_writer(folder, fsync=Fsync.parse("interval:1ms"), segment_bytes=2 * LINE_BYTES)
    log.write(make_request("r-000"))
    assert stalls.wait(30)
    for i in range(1, 5):  # over the end of a segment
        log.write(make_request(f"r-{i:03d}"))
    assert ids(folder) == [f"r-{i:03d}" for i in range(5)]
    goes_on.set()
    log.close()


def test_several_threads_write_whole_lines(folder: Path) -> None:
    log = open_writer(folder, segment_bytes=10 * LINE_BYTES)

    def write(thread: int) -> None:
        for i in range(50):
            log.write(make_request(f"{thread}-{i}"))

    threads = [threading.Thread(target=write, args=(t,)) for t in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    assert sorted(ids(folder)) == sorted(f"{t}-{i}" for t in range(4) for i in range(50))


def test_the_log_is_not_for_everybodys_eyes(folder: Path) -> None:
    log = open_writer(folder)
    (path,) = folder.iterdir()
    assert path.stat().st_mode & 0o007 == 0
    log.close()


# ---------------------------------------------------------------------------------------- bad disks


@pytest.mark.parametrize(("segment_bytes", "max_total_bytes"), [(0, 1), (1, 0), (-1, 1)])
def test_sizes_below_one_byte_are_refused(segment_bytes: int, max_total_bytes: int) -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        LogSettings(Path(), segment_bytes, max_total_bytes)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LogError, match="give a writable folder"):
        open_writer(tmp_path / "file" / "log")


def test_a_full_log_refuses_the_request_that_does_not_fit(folder: Path) -> None:
    log = open_writer(folder, max_total_bytes=2 * LINE_BYTES)
    log.write(make_request("r-000"))
    log.write(make_request("r-001"))
    with pytest.raises(LogError, match=f"is full: {2 * LINE_BYTES} bytes; move sealed segments"):
        log.write(make_request("r-002"))
    log.close()
    assert ids(folder) == ["r-000", "r-001"]


def test_what_is_there_already_counts(folder: Path) -> None:
    first = open_writer(folder)
    first.write(make_request("r-000"))
    first.close()
    log = open_writer(folder, max_total_bytes=2 * LINE_BYTES)
    log.write(make_request("r-001"))
    with pytest.raises(LogError, match="is full"):
        log.write(make_request("r-002"))
    log.close()


def test_moving_sealed_segments_away_makes_room(folder: Path) -> None:
    log = open_writer(folder, segment_bytes=1, max_total_bytes=2 * LINE_BYTES)
    log.write(make_request("r-000"))
    log.write(make_request("r-001"))
    with pytest.raises(LogError, match="move sealed segments away"):
        log.write(make_request("r-002"))
    (folder / names(folder, ".jsonl")[0]).unlink()
    log.write(make_request("r-003"))
    log.close()
    assert ids(folder) == ["r-001", "r-003"]


def test_a_short_write_leaves_nothing_behind(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = open_writer(folder)
    log.write(make_request("r-0"))
    (path,) = folder.iterdir()
    intact = path.read_bytes()
    really_write = os.write

    def write_half(fd: int, data: bytes) -> int:
        return really_write(fd, data[: len(data) // 2])

    with monkeypatch.context() as patch:
        patch.setattr(writer.os, "write", write_half)
        with pytest.raises(LogError, match="free space"):
            log.write(make_request("r-1"))
    assert path.read_bytes() == intact
    log.write(make_request("r-2"))
    log.close()
    assert ids(folder) == ["r-0", "r-2"]


def test_a_line_that_the_disk_would_not_take_leaves_nothing_behind(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = open_writer(folder, fsync=Fsync(FsyncWhen.EVERY_REQUEST))
    log.write(make_request("r-0"))

    def fail(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(writer.os, "fdatasync", fail)
        with pytest.raises(LogError, match="Input/output error"):
            log.write(make_request("r-1"))
    log.close()
    assert ids(folder) == ["r-0"]


DISK_FULL = """
    import resource, sys
    from pathlib import Path
    from consistency.errors import LogError
    from consistency.log import LogSettings, RequestLogWriter
    from consistency.log.lines.encoding import encode_line
    from tests.fixtures.scored import make_request

    size = len(encode_line(make_request("r-000")))
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * size + size // 2, resource.RLIM_INFINITY))
    log = RequestLogWriter(LogSettings(Path(sys.argv[1])))
    for i in range(4):
        try:
            log.write(make_request(f"r-{i:03d}"))
            print("written", i)
        except LogError as e:
            print("refused", i, "free space" in str(e))
    log.close()
"""


def test_a_disk_that_is_full_in_the_middle_of_a_line_loses_only_that_line(folder: Path) -> None:
    done = run_python(DISK_FULL, str(folder))
    assert done.stdout.splitlines() == [
        "written 0",
        "written 1",
        "refused 2 True",
        "refused 3 True",
    ]
    assert ids(folder) == ["r-000", "r-001"]


def test_a_failed_rotation_costs_no_request_and_the_log_recovers(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    log = open_writer(folder, segment_bytes=1)

    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(segments.os, "fsync", fail)
        log.write(make_request("r-0"))
        assert "No space left on device" in caplog.text
        with pytest.raises(LogError, match="No space left"):
            log.write(make_request("lost"))
    log.write(make_request("r-1"))
    log.close()
    assert ids(folder) == ["r-0", "r-1"]


# ---------------------------------------------------------------------------------- several writers

TWO_WRITERS = """
    import sys
    from pathlib import Path
    from consistency.log import LogSettings, RequestLogWriter
    from tests.fixtures.scored import make_request

    folder, name, count, segment_bytes = Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:])
    log = RequestLogWriter(LogSettings(folder, segment_bytes))
    for i in range(count):
        log.write(make_request(f"{name}-{i}"))
    log.close()
"""


def run_python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )


def start_python(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_processes_share_a_folder_and_neither_loses_a_line(folder: Path) -> None:
    rows = 150
    both = [
        start_python(TWO_WRITERS, str(folder), name, str(rows), str(3 * LINE_BYTES))
        for name in "ab"
    ]
    errors = [process.communicate(timeout=60)[1] for process in both]
    assert errors == ["", ""]
    verdict = verify_log(folder)
    assert verdict.intact
    assert (verdict.segments_open, verdict.damage) == (0, [])
    found = ids(folder)
    for name in "ab":
        assert [i for i in found if i.startswith(name)] == [f"{name}-{n}" for n in range(rows)]


MANY_LIVES = """
    import sys
    from pathlib import Path
    from consistency.log import LogSettings, RequestLogWriter
    from tests.fixtures.scored import make_request

    for life in range(10):
        log = RequestLogWriter(LogSettings(Path(sys.argv[1]), segment_bytes=2000))
        for i in range(8):
            log.write(make_request(f"{sys.argv[2]}-{life}-{i}"))
        log.close()
"""


def test_writers_that_come_and_go_all_at_once_do_not_disturb_each_other(folder: Path) -> None:
    crowd = [start_python(MANY_LIVES, str(folder), name) for name in "abcd"]
    errors = [process.communicate(timeout=60)[1] for process in crowd]
    assert errors == [""] * 4
    wanted = [f"{name}-{life}-{i}" for name in "abcd" for life in range(10) for i in range(8)]
    assert sorted(ids(folder)) == sorted(wanted)
    assert names(folder, ".open") == []


def test_a_writers_living_segment_is_left_alone_by_the_next_one(folder: Path) -> None:
    first = open_writer(folder)
    first.write(make_request("r-0"))
    second = open_writer(folder)
    assert second.recovered == ()
    first.write(make_request("r-1"))
    second.write(make_request("r-2"))
    first.close()
    second.close()
    assert sorted(ids(folder)) == ["r-0", "r-1", "r-2"]


def test_a_new_segment_that_another_process_took_for_a_dead_ones_is_given_up(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_lock = writer.lock_segment
    thefts = iter([True, False])

    def lock_late(fd: int) -> bool:
        if next(thefts):  # another writer starts between the new file and its lock
            assert list(segments.seal_abandoned(folder)) == []
        return really_lock(fd)

    monkeypatch.setattr(writer, "lock_segment", lock_late)
    log = open_writer(folder)
    log.write(make_request())
    log.close()
    assert ids(folder) == ["r-1"]


def test_a_segment_that_another_process_seals_first_is_no_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.mkdir()
    gone = folder / f"20260101T000000{segments.OPEN_SUFFIX}"
    monkeypatch.setattr(segments, "list_segments", lambda _: [gone])
    assert list(segments.seal_abandoned(folder)) == []


DYING = """
    import os, signal, sys
    from pathlib import Path
    from consistency.log import LogSettings, RequestLogWriter
    from tests.fixtures.scored import make_request

    log = RequestLogWriter(LogSettings(Path(sys.argv[1])))
    for i in range(int(sys.argv[2])):
        log.write(make_request(f"r-{i}"))
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("rows", [0, 1, 5])
def test_what_a_killed_process_wrote_is_sealed_by_the_next_writer(folder: Path, rows: int) -> None:
    dying = start_python(DYING, str(folder), str(rows))
    dying.communicate(timeout=60)
    assert dying.returncode == -9
    assert len(names(folder, ".open")) == 1
    log = open_writer(folder)
    assert [sealed.torn_bytes for sealed in log.recovered] == [0] * bool(rows)
    log.close()
    assert ids(folder) == [f"r-{i}" for i in range(rows)]
    assert names(folder, ".open") == []
    assert len(names(folder, ".jsonl")) == bool(rows), "an empty segment leaves no file"
