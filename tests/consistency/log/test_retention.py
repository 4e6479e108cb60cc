from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from consistency.errors import ConfigError, LogError
from consistency.log import LoggedRequest, LogSettings, RequestLogReader, RequestLogWriter
from consistency.log.reader import verify_log
from consistency.log.retention import (
    DAY_SECONDS,
    Retention,
    RetentionKeeper,
    SegmentFile,
    due,
    prune,
    segment_files,
)
from tests.fixtures.scored import make_request
from tests.fixtures.server import wait_until

ROOT = Path(__file__).parents[3]
NOW = 1_800_000_000.0


def segment(number: int, days: float, size: int = 100, suffix: str = ".jsonl") -> SegmentFile:
    return SegmentFile(Path(f"2026010{number}{suffix}"), size, NOW - days * DAY_SECONDS)


def gone(files: list[SegmentFile], **bounds: float | None) -> list[str]:
    return [f.path.name for f in due(files, Retention(**bounds), NOW)]  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------- the decision


def test_what_is_older_than_the_days_goes_oldest_first() -> None:
    files = [segment(3, 1), segment(1, 40), segment(2, 30.1), segment(4, 0)]
    assert gone(files, keep_days=30) == ["20260101.jsonl", "20260102.jsonl"]


def test_what_is_over_the_size_goes_oldest_first_and_no_more_than_that() -> None:
    files = [segment(n, 0) for n in range(1, 6)]
    assert gone(files, keep_bytes=300) == ["20260101.jsonl", "20260102.jsonl"]
    assert gone(files, keep_bytes=299) == [f"2026010{n}.jsonl" for n in (1, 2, 3)]
    assert gone(files, keep_bytes=500) == []


def test_an_open_segment_counts_and_stays_however_old() -> None:
    files = [segment(1, 99, suffix=".jsonl.open"), segment(2, 0), segment(3, 0)]
    assert gone(files, keep_days=1, keep_bytes=150) == ["20260102.jsonl", "20260103.jsonl"]


def test_compacted_segments_and_cut_off_tails_go_too() -> None:
    suffixes = (".parquet", ".merged.parquet", ".torn", ".jsonl")
    files = [segment(n, 9, suffix=suffix) for n, suffix in enumerate(suffixes, 1)]
    assert len(gone(files, keep_days=8)) == 4


def test_without_a_bound_nothing_goes() -> None:
    assert gone([segment(1, 9999)]) == []
    assert not Retention().is_bounded


@pytest.mark.parametrize("bounds", [{"keep_days": 0}, {"keep_days": -1}, {"keep_bytes": 0}])
def test_a_bound_that_is_not_above_zero_is_refused(bounds: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="above 0"):
        Retention(**bounds)


def test_a_quiet_segment_is_sealed_in_time_to_be_removed() -> None:
    assert Retention(keep_days=30).seal_after_seconds == DAY_SECONDS
    assert Retention(keep_days=1).seal_after_seconds == DAY_SECONDS / 10
    assert Retention(keep_bytes=1).seal_after_seconds is None


def test_a_log_that_would_be_full_before_anything_is_removed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="keep less, or raise the size at which it is full"):
        LogSettings(tmp_path, max_total_bytes=1000, retention=Retention(keep_bytes=1000))


# --------------------------------------------------------------------------------------- the folder


def write_segments(folder: Path, count: int) -> list[Path]:
    """Write one request to each of several sealed segments, a day apart, the last one now."""
    log = RequestLogWriter(LogSettings(folder, segment_bytes=1))
    for i in range(count):
        log.write(make_request(f"r-{i}"))
    log.close()
    paths = sorted(folder.glob("*.jsonl"))
    for i, path in enumerate(paths):
        then = time.time() - (count - 1 - i) * DAY_SECONDS
        os.utime(path, (then, then))
    return paths


def ids(folder: Path) -> list[str]:
    return [r.request_id for r in RequestLogReader(folder) if isinstance(r, LoggedRequest)]


def test_pruning_removes_segments_and_nothing_else(folder: Path) -> None:
    paths = write_segments(folder, 5)
    others = [folder / f"notes.{suffix}" for suffix in ("txt", "jsonl", "parquet", "torn")]
    for other in others:
        other.write_text("")
        os.utime(other, (0, 0))
    (folder / ".metrics").mkdir()
    pruned = prune(folder, Retention(keep_days=2.5))
    assert [f.path for f in pruned.removed] == paths[:2]
    assert ids(folder) == ["r-2", "r-3", "r-4"]
    assert all(other.exists() for other in others)
    assert pruned.kept_bytes == sum(f.size_bytes for f in segment_files(folder))


def test_a_dry_run_says_the_same_and_removes_nothing(folder: Path) -> None:
    write_segments(folder, 5)
    said = prune(folder, Retention(keep_days=2.5), dry_run=True)
    assert ids(folder) == [f"r-{i}" for i in range(5)]
    assert prune(folder, Retention(keep_days=2.5)) == said


def test_the_segment_of_a_living_writer_stays(folder: Path) -> None:
    log = RequestLogWriter(LogSettings(folder))
    log.write(make_request())
    (path,) = folder.iterdir()
    os.utime(path, (0, 0))
    assert prune(folder, Retention(keep_days=1, keep_bytes=1)).removed == ()
    log.close()
    assert ids(folder) == ["r-1"]


def test_a_folder_that_is_not_there_is_a_mistake(folder: Path) -> None:
    with pytest.raises(LogError, match="no such folder"):
        prune(folder, Retention(keep_days=1))


def test_a_reader_goes_on_where_retention_took_a_segment(folder: Path) -> None:
    write_segments(folder, 3)
    reading = iter(RequestLogReader(folder))
    first = next(reading)
    prune(folder, Retention(keep_days=0.5))
    assert isinstance(first, LoggedRequest)
    assert [r.request_id for r in reading if isinstance(r, LoggedRequest)] == ["r-2"]


def test_of_several_keepers_one_prunes_and_another_takes_over(folder: Path) -> None:
    write_segments(folder, 3)
    retention = Retention(keep_days=1.5)
    first = RetentionKeeper(folder, retention, seconds=3600)
    assert ids(folder) == ["r-1", "r-2"]
    second = RetentionKeeper(folder, retention, seconds=3600)
    for path in folder.glob("*.jsonl"):
        os.utime(path, (0, 0))
    second.look()
    assert ids(folder) == ["r-1", "r-2"], "the first one has the lock"
    first.close()
    second.look()
    assert ids(folder) == []
    second.close()


def test_a_quiet_writer_seals_by_age(folder: Path) -> None:
    keep = Retention(keep_days=1 / DAY_SECONDS)  # a tenth of a second to the next look
    log = RequestLogWriter(LogSettings(folder, retention=keep))
    log.write(make_request("r-0"))
    wait_until(lambda: any(folder.glob("*.jsonl")), "it was sealed")
    log.close()
    assert ids(folder) == ["r-0"]


def test_only_a_segment_that_holds_something_is_sealed(folder: Path) -> None:
    log = RequestLogWriter(LogSettings(folder))
    (opened,) = folder.iterdir()
    log.seal_now()
    assert list(folder.iterdir()) == [opened], "nothing to seal"
    log.write(make_request("r-0"))
    log.seal_now()
    assert len(list(folder.glob("*.jsonl"))) == 1
    log.write(make_request("r-1"))
    log.close()
    assert ids(folder) == ["r-0", "r-1"]


WRITES_AND_PRUNES = """
    import sys
    from pathlib import Path
    from consistency.log import LogSettings, RequestLogWriter
    from consistency.log.retention import Retention, prune
    from consistency.log.segments import seal_abandoned
    from tests.fixtures.scored import make_request

    folder, name, count, keep = Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:])
    log = RequestLogWriter(LogSettings(folder, segment_bytes=2000))
    removed = []
    for i in range(count):
        log.write(make_request(f"{name}-{i:04d}"))
        if i % 10 == 9:
            list(seal_abandoned(folder))
            removed += prune(folder, Retention(keep_bytes=keep)).removed
    print(*(f.path.name for f in removed))
    log.close()
"""


def test_writers_that_seal_and_prune_at_once_lose_only_the_oldest(folder: Path) -> None:
    count, keep = 200, 40_000
    code = textwrap.dedent(WRITES_AND_PRUNES)
    crowd = [
        subprocess.Popen(
            [sys.executable, "-c", code, folder, name, str(count), str(keep)],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for name in "abc"
    ]  # fmt: skip
    said = [process.communicate(timeout=120) for process in crowd]
    assert [errors for _, errors in said] == [""] * 3
    removed = [name for out, _ in said for name in out.split()]
    assert len(removed) == len(set(removed)), "each segment is removed by one of them"
    assert verify_log(folder).intact
    for name in "abc":  # of each writer the newest lines are there, without a gap
        held = [i for i in ids(folder) if i.startswith(name)]
        assert held == [f"{name}-{n:04d}" for n in range(count - len(held), count)]
    assert ids(folder)
    assert prune(folder, Retention(keep_bytes=keep)).kept_bytes <= keep
