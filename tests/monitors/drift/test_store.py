"""Judged windows on disk: exact, and untouched unless something has changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from monitors.drift.judgement import Verdict
from monitors.drift.record import WindowRecord
from monitors.drift.store import Change, WindowStore, find_jobs, write_if_changed
from monitors.drift.windows import Window
from monitors.errors import MonitorError


def test_a_window_survives_its_file_exactly(record: WindowRecord, tmp_path: Path) -> None:
    assert record.verdict is Verdict.DRIFT
    store = WindowStore(tmp_path / "job")
    assert store.load() == []
    assert store.save(record) is Change.NEW
    (again,) = store.load()
    assert again.to_json() == record.to_json()
    assert again.judgement == record.judgement
    assert again.subject == record.subject


def test_saving_the_same_again_touches_nothing(record: WindowRecord, tmp_path: Path) -> None:
    store = WindowStore(tmp_path)
    store.save(record)
    (path,) = (tmp_path / "windows").iterdir()
    before = path.stat()
    assert store.save(record) is Change.UNCHANGED
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    assert path.stat().st_mode & 0o777 == 0o644
    assert store.save(replace(record, complete=False)) is Change.CHANGED
    assert path.name == "2026-01-01T000000Z.json"
    assert [p.name for p in path.parent.iterdir()] == [path.name], "no draft is left behind"


def test_windows_come_back_in_the_order_of_time(record: WindowRecord, tmp_path: Path) -> None:
    store = WindowStore(tmp_path)
    for day in (400, -3, 7):
        store.save(replace(record, window=Window(day * 86_400, 86_400)))
    assert [r.window.start_s // 86_400 for r in store.load()] == [-3, 7, 400]


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b"{}", b'{"format":9}', b'{"format":1,"model":"m"}', b"\xff"]
)
def test_a_damaged_file_is_named_with_the_remedy(tmp_path: Path, damage: bytes) -> None:
    folder = tmp_path / "windows"
    folder.mkdir()
    (folder / "w.json").write_bytes(damage)
    with pytest.raises(MonitorError, match=r"w\.json: .*(remove the file|format 9)"):
        WindowStore(tmp_path).load()


@pytest.mark.parametrize("field", ["by", "verdict", "window", "counts", "measures", "thresholds"])
def test_a_missing_field_is_damage(record: WindowRecord, field: str) -> None:
    value = orjson.loads(orjson.dumps(record.to_json()))
    del value[field]
    with pytest.raises(MonitorError, match=f"no judged window.*{field}"):
        WindowRecord.from_json(value, "w.json")


def test_a_folder_that_cannot_be_written_is_told(record: WindowRecord, tmp_path: Path) -> None:
    (tmp_path / "job").write_text("a file")
    with pytest.raises(MonitorError, match="name a writable folder with --out"):
        WindowStore(tmp_path / "job").save(record)


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "f.json"
    write_if_changed(path, b"old")

    def broken(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", broken)
    with pytest.raises(MonitorError, match="No space left"):
        write_if_changed(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_jobs_are_found_below_a_folder(record: WindowRecord, tmp_path: Path) -> None:
    jobs = [tmp_path / "a" / "1" / "1d-event", tmp_path / "b" / "2" / "7d-ingest"]
    for job in reversed(jobs):
        WindowStore(job).save(record)
    (tmp_path / "c" / "windows").mkdir(parents=True)
    assert find_jobs(tmp_path) == jobs
    assert find_jobs(jobs[0]) == jobs[:1]
