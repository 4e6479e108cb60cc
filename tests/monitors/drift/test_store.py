"""Files of a drift job: untouched unless something has changed; those of earlier releases."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from monitors.drift.record import WindowRecord
from monitors.drift.store import Change, former_windows, make_folder, write_if_changed
from monitors.drift.windows import Window
from monitors.errors import MonitorError


def save(record: WindowRecord, folder: Path) -> None:
    """Write a window as earlier releases did."""
    path = folder / "windows" / f"{record.window.start.replace(':', '')}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(orjson.dumps(record.to_json(), option=orjson.OPT_INDENT_2))


def test_windows_of_earlier_releases_come_back_in_the_order_of_time(
    record: WindowRecord, tmp_path: Path
) -> None:
    assert former_windows(tmp_path) == []
    for day in (400, -3, 7):
        save(replace(record, window=Window(day * 86_400, 86_400)), tmp_path)
    held = former_windows(tmp_path)
    assert [r.window.start_s // 86_400 for r in held] == [-3, 7, 400]
    assert replace(held[0], window=record.window).to_json() == record.to_json()


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b"{}", b'{"format":9}', b'{"format":1,"model":"m"}', b"\xff"]
)
def test_a_damaged_file_is_named_with_the_remedy(tmp_path: Path, damage: bytes) -> None:
    folder = tmp_path / "windows"
    folder.mkdir()
    (folder / "w.json").write_bytes(damage)
    with pytest.raises(MonitorError, match=r"w\.json: .*(remove it|format 9)"):
        former_windows(tmp_path)


@pytest.mark.parametrize("field", ["by", "verdict", "window", "counts", "measures", "thresholds"])
def test_a_missing_field_is_damage(record: WindowRecord, field: str) -> None:
    value = orjson.loads(orjson.dumps(record.to_json()))
    del value[field]
    with pytest.raises(MonitorError, match=f"no judged window.*{field}"):
        WindowRecord.from_json(value, "w.json")


def test_writing_the_same_again_touches_nothing(tmp_path: Path) -> None:
    path = tmp_path / "job" / "summary.json"
    assert write_if_changed(path, b"1") is Change.NEW
    before = path.stat()
    assert write_if_changed(path, b"1") is Change.UNCHANGED
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    assert path.stat().st_mode & 0o777 == 0o644
    assert write_if_changed(path, b"2") is Change.CHANGED
    assert [p.name for p in path.parent.iterdir()] == [path.name], "no draft is left behind"


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "job").write_text("a file")
    with pytest.raises(MonitorError, match="name a writable folder with --out"):
        write_if_changed(tmp_path / "job" / "summary.json", b"1")
    with pytest.raises(MonitorError, match="name a writable folder with --out"):
        make_folder(tmp_path / "job")


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
