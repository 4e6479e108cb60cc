"""Keeps the units of a replay that are done, so that an interrupted or repeated one goes on.

    <folder>/<segment>.<start>-<end>.json   what was found, and what it was found with
    <folder>/<segment>.<start>-<end>.rows   the results row by row, where they were wanted

A unit counts as done only while everything that decided its result is as it was: the bytes of the
log, the settings, the installed packages and the machine, the bundles, pipelines and snapshots.
Each file stands for itself and is written whole or not at all; there is no index to go wrong. A
CRC-32 of both says whether they are still what was written: what a disk has changed is done again.
"""

from __future__ import annotations

import os
import re
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import orjson

from consistency.digest import digest_file, digest_json, digest_sources
from consistency.environment import cpu_digest, installed_packages
from consistency.errors import ConfigError
from consistency.jsontype import Json
from consistency.log.segments import STEM_PATTERN
from consistency.replay.core import CHUNK_ROWS
from consistency.replay.units import LogUnit, unit_digest
from samescore.replays.units import ReplayJob, UnitResult, Used

FORMAT: Final = 2
_NAME: Final = re.compile(rf".*{STEM_PATTERN}\.\d+-\d+\.(json|rows)")
"""A unit's file, by the segment's name in it: an operator may keep files of his own here."""

SEGMENT_CHANGED: Final = "the log there has changed"
UNREADABLE: Final = "the checkpoint's file cannot be read"


def facts_of(job: ReplayJob) -> dict[str, Json]:
    """Return everything that decides a unit's result besides the log and the bundles."""
    settings, targets = job.settings, job.targets
    return {
        "format": FORMAT,
        "mode": settings.mode.value,
        "batch": str(settings.batch),
        "decimals": settings.tolerance.decimals,
        "worst": settings.worst,
        "chunk_rows": CHUNK_ROWS,
        "selection": settings.selection.to_json(),
        "rows": job.with_rows,
        "threads": targets.threads,
        "device": targets.device,
        "services": [
            [s.name, s.version, s.location, _code_digest(s.location), _digest_at(s.model_path)]
            for s in targets.services
        ],
        "packages": digest_json(installed_packages()),
        "machine": cpu_digest(),
    }  # fmt: skip


@dataclass(slots=True)
class Checkpoint:
    """A folder of finished units.

    Attributes:
        folder: made if it is not there.
        job: what is replayed.
        redone: why units that were kept have to be done again, and how many.
    """

    folder: Path
    job: ReplayJob
    redone: Counter[str] = field(default_factory=Counter)
    _facts: dict[str, Json] = field(default_factory=dict)
    _checked: set[Used] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._facts = facts_of(self.job)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise ConfigError(
                f"checkpoint {self.folder}: {e.strerror}; name a writable folder"
            ) from e

    def load(self, index: int, unit: LogUnit) -> UnitResult | None:
        """Return the result of a unit that is done and still true; its rows stay on the disk.

        Raises:
            SamescoreError: a bundle, pipeline or snapshot that it was replayed with has changed.
        """
        path = self._path(unit)
        try:
            held = _parsed(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            self.redone[UNREADABLE] += 1
            return None
        why = self._difference(unit, held)
        if why:
            self.redone[why] += 1
            return None
        used = tuple(
            Used(u["model"], u["version"], u["bundle_digest"], tuple(map(tuple, u["snapshots"])))
            for u in held["used"]
        )
        self._check(used)
        report = orjson.dumps(held["report"])
        return UnitResult(index, held["lines"], report, used=used)

    def rows(self, unit: LogUnit) -> bytes:
        """Return the rows of a unit that `load` returned."""
        return self._path(unit, ".rows").read_bytes()

    def save(self, unit: LogUnit, result: UnitResult) -> None:
        """Keep a result.

        Args:
            unit: that is done.
            result: what was found, digest included.

        Raises:
            ConfigError: it cannot be written.
        """
        held = {
            "facts": self._facts,
            "log": result.digest,
            "lines": result.lines,
            "used": [
                {"model": u.model, "version": u.version, "bundle_digest": u.bundle_digest,
                 "snapshots": u.snapshots}
                for u in result.used
            ],
            "report": orjson.Fragment(result.report),
            "rows_crc": zlib.crc32(result.rows),
        }  # fmt: skip
        try:
            if self.job.with_rows:  # first: the JSON says that both are there
                _write(self._path(unit, ".rows"), result.rows)
            _write(self._path(unit), _sealed(orjson.dumps(held)))
        except OSError as e:
            raise ConfigError(
                f"checkpoint {self.folder}: {e.strerror}; free space there, or leave it out"
            ) from e

    def sweep(self, units: Iterable[LogUnit]) -> None:
        """Remove what belongs to no unit of the log any more."""
        known = {self._path(u, suffix).name for u in units for suffix in (".json", ".rows")}
        for path in self.folder.iterdir():
            if path.name not in known and _NAME.fullmatch(path.name) and path.is_file():
                path.unlink(missing_ok=True)

    def _path(self, unit: LogUnit, suffix: str = ".json") -> Path:
        return self.folder / f"{unit.stem}.{unit.start}-{unit.end}{suffix}"

    def _difference(self, unit: LogUnit, held: Mapping[str, Json]) -> str:
        """Return why a kept unit is not true any more; empty when it is."""
        try:
            facts, digest = held["facts"], held["log"]
            changed = sorted(n for n, v in self._facts.items() if facts.get(n) != v)
        except (AttributeError, KeyError, TypeError):
            return UNREADABLE
        if changed:
            return f"other {', '.join(changed)}"
        if self.job.with_rows and self._rows_crc(unit) != held.get("rows_crc"):
            return UNREADABLE
        return "" if unit_digest(self.job.log, unit) == digest else SEGMENT_CHANGED

    def _rows_crc(self, unit: LogUnit) -> int | None:
        try:
            return zlib.crc32(self.rows(unit))
        except OSError:
            return None

    def _check(self, used: Iterable[Used]) -> None:
        for one in set(used) - self._checked:
            snapshots = dict(one.snapshots)
            self.job.targets.check((one.model, one.version), one.bundle_digest, snapshots)
            self._checked.add(one)


def _code_digest(location: str) -> str:
    """Return the digest of the code that an operator named: its package, and what is beside it.

    Args:
        location: as `load_inference_service` takes it.
    """
    source = location.rpartition(":")[0] or location
    file, package = Path(source), ""
    if not file.is_file():
        with suppress(ConfigError):  # a package without an `__init__.py` has no sources of its own
            package = digest_sources(source.partition(".")[0])
        with suppress(ImportError, ValueError):  # the replay will say that it cannot be imported
            spec = find_spec(source)
            file = Path(spec.origin) if spec is not None and spec.origin else file
    beside = sorted({file, *file.parent.glob("*.py")}) if file.is_file() else []
    return digest_json([package, *((p.name, digest_file(p)) for p in beside)])


def _digest_at(path: Path) -> str:
    """Return the digest of a file, or of all files in a folder; empty when there is none."""
    if path.is_file():
        return digest_file(path)
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else []
    return digest_json([(p.relative_to(path).as_posix(), digest_file(p)) for p in files])


def _sealed(data: bytes) -> bytes:
    """Return what is written of a unit: JSON, and a line with its CRC-32."""
    return b"%b\n%08x\n" % (data, zlib.crc32(data))


def _parsed(content: bytes) -> Mapping[str, Json]:
    """Return what `_sealed` was given.

    Raises:
        ValueError: it is not what was written.
    """
    data, _, crc = content.removesuffix(b"\n").rpartition(b"\n")
    if crc != b"%08x" % zlib.crc32(data):
        raise ValueError("crc mismatch")
    held: Mapping[str, Json] = orjson.loads(data)
    return held


def _write(path: Path, data: bytes) -> None:
    """Write whole or not at all. Not forced to the disk: what a power cut takes is done again."""
    fd, draft = tempfile.mkstemp(prefix=".draft.", dir=path.parent)
    try:
        with os.fdopen(fd, "wb") as stream:
            stream.write(data)
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
