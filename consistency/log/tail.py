"""The last requests of a log, and then each new one, from all its writers."""

from __future__ import annotations

import heapq
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from consistency.log.columnar.parquet import held_segments
from consistency.log.lines.entry import LoggedRequest
from consistency.log.lines.line import LineError, decode_line
from consistency.log.reader import read_segment
from consistency.log.segments import (
    OPEN_SUFFIX,
    PARQUET_SUFFIX,
    SEALED_SUFFIX,
    is_merged,
    list_segments,
    stem_of,
    unreadable,
)
from consistency.log.selection import EVERYTHING, LogSelection
from consistency.protocols import Damage

_BLOCK_BYTES: Final = 1 << 16


@dataclass(slots=True)
class _Open:
    """A segment that is being written; its bytes up to `position` are dealt with."""

    path: Path
    stream: BinaryIO
    position: int


class LogTail:
    """Follows a log over rotation, sealing and compaction; several writers are no matter.

    Args:
        folder: the log.
        selection: only the requests that it keeps.

    Raises:
        LogError: no such folder.
    """

    def __init__(self, folder: Path, selection: LogSelection = EVERYTHING) -> None:
        self._folder, self._selection = folder, selection
        self._open: dict[str, _Open] = {}
        self._done: set[str] = set()
        self._past = list_segments(folder)
        for path in self._past:
            if not self._begin(path, at_end=True):
                self._done |= _stems(path)

    def last(self, count: int) -> list[LoggedRequest]:
        """Return the last requests, oldest first, of those that were there at the beginning.

        Args:
            count: at most so many.
        """
        found: list[LoggedRequest] = []
        for path in reversed(self._past):
            if len(found) == count and _ended_before(path, found[0]):
                continue
            found = sorted([*found, *self._last_of(path, count)], key=_ingest_time)[-count:]
        return found

    def new(self) -> list[LoggedRequest | Damage]:
        """Return what was written since the last call, in the order of its times."""
        found: list[LoggedRequest | Damage] = []
        for path in list_segments(self._folder):
            for stem in sorted(_stems(path) - self._done - self._open.keys()):
                if not (path.name.endswith(OPEN_SUFFIX) and self._begin(path, at_end=False)):
                    # it came and was sealed between two looks
                    part = (
                        path
                        if stem == stem_of(path) and not is_merged(path)
                        else (self._folder / f"{stem}{SEALED_SUFFIX}")
                    )
                    found.extend(read_segment(part, self._selection))
                    self._done.add(stem)
        for stem in list(self._open):
            found.extend(self._grown(stem))
        damage = [i for i in found if isinstance(i, Damage)]
        requests = [i for i in found if isinstance(i, LoggedRequest)]
        return [*damage, *sorted(requests, key=_ingest_time)]

    def close(self) -> None:
        """Let go of the files."""
        for held in self._open.values():
            held.stream.close()
        self._open.clear()

    def _begin(self, path: Path, *, at_end: bool) -> bool:
        """Hold a segment that is being written; False for another, or when it is sealed by now."""
        if not path.name.endswith(OPEN_SUFFIX):
            return False
        try:
            stream = path.open("rb")
        except FileNotFoundError:
            if at_end:
                self._past[self._past.index(path)] = path.with_name(
                    f"{stem_of(path)}{SEALED_SUFFIX}"
                )
            return False
        except OSError as e:
            raise unreadable(path, e) from e
        self._open[stem_of(path)] = _Open(path, stream, _end_of_lines(stream) if at_end else 0)
        return True

    def _grown(self, stem: str) -> Iterator[LoggedRequest | Damage]:
        """Yield the whole lines that were added; let go of the segment once it is sealed."""
        held = self._open[stem]
        sealed = not held.path.exists()  # asked first: what is read now is then all there is
        held.stream.seek(held.position)
        for line in held.stream:
            if not line.endswith(b"\n"):
                break
            item = _decoded(line, held)
            held.position += len(line)
            if isinstance(item, Damage) or self._selection.keeps(item):
                yield item
        if sealed:
            held.stream.close()
            self._done.add(stem)
            del self._open[stem]

    def _last_of(self, path: Path, count: int) -> list[LoggedRequest]:
        """Return the last requests of a segment."""
        held = self._open.get(stem_of(path))
        if held is not None:
            return self._last_lines(held.stream, held.position, count)
        if path.name.endswith(SEALED_SUFFIX):
            try:
                with path.open("rb") as stream:
                    return self._last_lines(stream, path.stat().st_size, count)
            except FileNotFoundError:
                pass  # compacted meanwhile
            except OSError as e:
                raise unreadable(path, e) from e
        items = read_segment(path, self._selection)  # a merged one holds several writers' lines
        requests = (item for item in items if isinstance(item, LoggedRequest))
        newest_first = heapq.nlargest(count, enumerate(requests), key=_time_and_place)
        return [request for _, request in reversed(newest_first)]

    def _last_lines(self, stream: BinaryIO, end: int, count: int) -> list[LoggedRequest]:
        found: list[LoggedRequest] = []
        for line in lines_backwards(stream, end):
            try:
                request = decode_line(line)
            except (LineError, ValueError):
                continue
            if self._selection.keeps(request):
                found.append(request)
            if len(found) == count:
                break
        return found[::-1]


def follow(tail: LogTail, wait: Callable[[], object]) -> Iterator[LoggedRequest | Damage]:
    """Yield new requests for ever.

    Args:
        tail: where to look.
        wait: called between two looks.
    """
    while True:
        yield from tail.new()
        wait()


def lines_backwards(stream: BinaryIO, end: int) -> Iterator[bytes]:
    r"""Yield the lines before `end` without their newlines, the last one first.

    >>> import io
    >>> list(lines_backwards(io.BytesIO(b"a\nbc\nd"), 7))
    [b'd', b'bc', b'a']
    """
    rest = b""
    while end > 0:
        begin = max(0, end - _BLOCK_BYTES)
        stream.seek(begin)
        first, *lines = (stream.read(end - begin) + rest).split(b"\n")
        yield from (line for line in reversed(lines) if line)
        rest, end = first, begin
    if rest:
        yield rest


def _end_of_lines(stream: BinaryIO) -> int:
    """Return where the last whole line ends."""
    end = stream.seek(0, 2)
    while end > 0:
        begin = max(0, end - _BLOCK_BYTES)
        stream.seek(begin)
        cut = stream.read(end - begin).rfind(b"\n")
        if cut >= 0:
            return begin + cut + 1
        end = begin
    return 0


def _stems(path: Path) -> set[str]:
    return set(held_segments(path)) if is_merged(path) else {stem_of(path)}


def _ended_before(path: Path, request: LoggedRequest) -> bool:
    """Return whether a segment was written to the last time before a request came."""
    if not path.name.endswith((SEALED_SUFFIX, PARQUET_SUFFIX)):
        return False
    try:
        return path.stat().st_mtime_ns // 1000 < _ingest_time(request)
    except FileNotFoundError:
        return False  # it has moved on; reading finds it


def _decoded(line: bytes, held: _Open) -> LoggedRequest | Damage:
    try:
        return decode_line(line[:-1])
    except (LineError, ValueError) as e:
        number = os.pread(held.stream.fileno(), held.position, 0).count(b"\n") + 1
        return Damage(held.path.name, number, str(e), len(line))


def _ingest_time(request: LoggedRequest) -> int:
    return request.ingest_time_us


def _time_and_place(numbered: tuple[int, LoggedRequest]) -> tuple[int, int]:
    return _ingest_time(numbered[1]), numbered[0]
