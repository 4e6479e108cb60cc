"""TFRecord files: whole, rotated, bounded, and mended after a server that died."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from consistency.errors import LogError
from serving.model_server.recording.record_files import FileBounds, RecordFiles, frame
from serving.model_server.wire.tfrecord import read_records

RECORDS = [b"", b"a", b"x" * 5000, bytes(range(256))]


def written(folder: Path) -> list[bytes]:
    return [record for path in sorted(folder.glob("*.tfrecord")) for record in read_records(path)]


def test_what_is_written_is_read_and_the_file_gets_its_name_at_the_end(tmp_path: Path) -> None:
    files = RecordFiles(tmp_path / "logs" / "half", FileBounds())
    for record in RECORDS:
        files.write(record)
    assert written(tmp_path / "logs") == []
    (held,) = (tmp_path / "logs").iterdir()
    assert held.name.startswith("half-")
    assert held.name.endswith(".tfrecord.open")
    assert list(read_records(held)) == RECORDS  # each is in the file when it is written
    files.close()
    assert written(tmp_path / "logs") == RECORDS
    with pytest.raises(LogError, match="closed"):
        files.write(b"late")


@pytest.mark.slow
def test_tensorflow_reads_the_files(tmp_path: Path) -> None:
    import tensorflow as tf

    files = RecordFiles(tmp_path / "half", FileBounds())
    for record in RECORDS:
        files.write(record)
    files.close()
    paths = [str(path) for path in tmp_path.glob("*.tfrecord")]
    assert [record.numpy() for record in tf.data.TFRecordDataset(paths)] == RECORDS


def test_files_are_finished_at_their_size_and_end_at_the_bound(tmp_path: Path) -> None:
    size = len(frame(b"x" * 100))
    files = RecordFiles(tmp_path / "m", FileBounds(file_bytes=2 * size, total_bytes=5 * size))
    for number in range(5):
        files.write(b"%d" % number * 100)
    with pytest.raises(LogError, match="move finished ones away"):
        files.write(b"5" * 100)
    assert len(list(tmp_path.glob("*.tfrecord"))) == 2
    files.close()
    assert written(tmp_path) == [b"%d" % n * 100 for n in range(5)]
    again = RecordFiles(tmp_path / "m", FileBounds(total_bytes=5 * size))
    with pytest.raises(LogError, match="move finished ones away"):
        again.write(b"x" * 100)
    min(tmp_path.glob("*.tfrecord")).unlink()
    again.write(b"x" * 100)
    again.close()


def test_nothing_is_written_and_no_file_made_without_a_record(tmp_path: Path) -> None:
    RecordFiles(tmp_path / "m", FileBounds()).close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("torn", [1, 8, 15, len(frame(b"second")) - 1])
def test_what_a_dead_server_left_is_finished_without_its_torn_end(
    tmp_path: Path, torn: int
) -> None:
    left = tmp_path / "m-0000000000000001-77-0.tfrecord.open"
    left.write_bytes(frame(b"first") + frame(b"second")[:torn])
    RecordFiles(tmp_path / "m", FileBounds()).close()
    assert written(tmp_path) == [b"first"]
    assert not left.exists()


def test_a_living_server_s_file_and_other_prefixes_are_left_alone(tmp_path: Path) -> None:
    living = tmp_path / "m-0000000000000001-77-0.tfrecord.open"
    others = [tmp_path / "m-x-0000000000000001-77-0.tfrecord.open", tmp_path / "m-notes.tfrecord"]
    for path in (living, *others):
        path.write_bytes(frame(b"first") + b"torn")
    fd = os.open(living, os.O_RDWR)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        RecordFiles(tmp_path / "m", FileBounds()).close()
    finally:
        os.close(fd)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        path.name for path in (living, *others)
    )


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LogError, match="give a writable path"):
        RecordFiles(tmp_path / "file" / "m", FileBounds())


def test_a_disk_that_takes_half_a_record_leaves_none_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = RecordFiles(tmp_path / "m", FileBounds())
    files.write(b"first")
    write = os.write

    def half(fd: int, data: bytes) -> int:
        return write(fd, data[: len(data) // 2])

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", half)
        with pytest.raises(LogError, match="free space"):
            files.write(b"second")
    files.write(b"third")
    files.close()
    assert written(tmp_path) == [b"first", b"third"]
