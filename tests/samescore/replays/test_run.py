"""A replay in units: whoever does them, the same report and the same rows, byte for byte."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import orjson
import pyarrow.parquet as pq
import pytest

from consistency.errors import ConfigError, ReplayError, SamescoreError
from consistency.replay import BatchPlan, ReplaySettings
from consistency.replay.units import LogUnit, cut_log
from samescore.engines.parallel import Processes
from samescore.engines.work import Engine, InProcess, NumberedUnit, OnBytes
from samescore.replays.rows import ROWS_FILE
from samescore.replays.run import ReplayRun, engine_for, run_replay
from samescore.replays.targets import BundleTargets, replay_log
from samescore.replays.units import ReplayJob, UnitResult
from tests.fixtures.tiny import PACKAGE, Tiny
from tests.samescore.conftest import Log

UNIT_BYTES = 2500


def targets(tiny: Tiny, base: Path | None = None) -> BundleTargets:
    return BundleTargets(base or tiny.base, tiny.store, frozenset({PACKAGE}))


def job_of(log: Path, tiny: Tiny, **settings: object) -> ReplayJob:
    how = replace(ReplaySettings(), **settings)  # type: ignore[arg-type]
    return ReplayJob(log, targets(tiny), how, with_rows=True)


def small(log: Path) -> list[LogUnit]:
    units = cut_log(log, unit_bytes=UNIT_BYTES)
    assert len(units) > 3
    return units


def text(run: ReplayRun) -> bytes:
    return orjson.dumps(run.report.to_json())


@dataclass(frozen=True)
class Backwards:
    """Does the last unit first: what a cluster may do."""

    def run(
        self, job: ReplayJob, units: Sequence[NumberedUnit], on_bytes: OnBytes
    ) -> Iterator[UnitResult]:
        return InProcess().run(job, units[::-1], on_bytes)


@dataclass(frozen=True)
class Interrupted:
    """Does some units, and is stopped."""

    units: int

    def run(
        self, job: ReplayJob, units: Sequence[NumberedUnit], on_bytes: OnBytes
    ) -> Iterator[UnitResult]:
        yield from InProcess().run(job, units[: self.units], on_bytes)
        raise KeyboardInterrupt


def test_one_job_is_this_process() -> None:
    assert engine_for(1) == InProcess()
    assert engine_for(2) == Processes(2)


@pytest.mark.parametrize("which", ["log", "bad_log"])
def test_every_engine_gives_the_same_report_and_rows(
    which: str, request: pytest.FixtureRequest, tiny: Tiny, tmp_path: Path
) -> None:
    log: Log = request.getfixturevalue(which)
    found, agrees = set(), set()
    engines: list[Engine] = [InProcess(), Backwards(), Processes(2)]
    for i, engine in enumerate(engines):
        out = tmp_path / str(i)
        out.mkdir()
        told: list[int] = []
        units = small(log.folder)
        run = run_replay(
            job_of(log.folder, tiny), engine, units=units, out=out, on_bytes=told.append
        )
        assert sum(told) == sum(u.size_bytes for u in units)
        assert (run.units, run.kept, run.redone) == (len(units), 0, {})
        found.add((text(run), (out / ROWS_FILE).read_bytes()))
        agrees.add(run.report.agrees)
        assert [p.name for p in out.iterdir()] == [ROWS_FILE]
    assert len(found) == 1
    assert agrees == {which == "log"}


def test_units_find_what_the_whole_log_at_once_finds(bad_log: Log, tiny: Tiny) -> None:
    at_once = replay_log(bad_log.folder, targets(tiny))
    run = run_replay(
        job_of(bad_log.folder, tiny, worst=10), InProcess(), units=small(bad_log.folder)
    )
    assert run.report.to_json() == at_once.to_json()


def test_damage_has_the_line_numbers_of_its_segment(log: Log, tiny: Tiny, tmp_path: Path) -> None:
    folder = shutil.copytree(log.folder, tmp_path / "copy")
    (path,) = folder.iterdir()
    lines = path.read_bytes().splitlines(keepends=True)
    for i in (2, 9):
        lines[i] = lines[i].replace(b'"outcome":"', b'"outcome":"~')
    path.write_bytes(b"".join(lines))
    reports = [
        run_replay(job_of(folder, tiny), engine, units=small(folder)).report
        for engine in (InProcess(), Backwards())
    ]
    assert [d.line for d in reports[0].damage] == [3, 10]
    assert reports[0] == reports[1]
    assert reports[0].lost_lines == 2
    assert not reports[0].agrees


def test_an_error_in_any_unit_ends_the_replay_and_leaves_no_file(
    log: Log, tiny: Tiny, tmp_path: Path
) -> None:
    job = replace(job_of(log.folder, tiny), targets=targets(tiny, tmp_path))
    for engine in (InProcess(), Processes(2)):
        with pytest.raises(ReplayError, match="name the folder that was served"):
            run_replay(job, engine, units=small(log.folder), out=tmp_path)
        assert list(tmp_path.iterdir()) == []


def test_an_empty_log_is_no_agreement(tiny: Tiny, tmp_path: Path) -> None:
    for engine in (InProcess(), Processes(2)):
        run = run_replay(job_of(tmp_path, tiny), engine, out=tmp_path)
        assert (run.units, run.report.agrees) == (0, False)
        assert pq.read_table(tmp_path / ROWS_FILE).num_rows == 0
        (tmp_path / ROWS_FILE).unlink()


def test_batches_are_as_large_as_was_asked() -> None:
    assert ReplaySettings(batch=BatchPlan(4096)).chunk_rows == 4096
    assert ReplaySettings(batch=BatchPlan(1)).chunk_rows == ReplaySettings().chunk_rows


# ------------------------------------------------------------------------------------- checkpoint


def test_an_interrupted_replay_goes_on(log: Log, tiny: Tiny, tmp_path: Path) -> None:
    job, units = job_of(log.folder, tiny), small(log.folder)
    whole = run_replay(job, InProcess(), units=units, out=tmp_path)
    rows = (tmp_path / ROWS_FILE).read_bytes()
    kept = tmp_path / "kept"
    with pytest.raises(KeyboardInterrupt):
        run_replay(job, Interrupted(2), units=units, checkpoint=kept, out=tmp_path)
    rest = run_replay(job, Backwards(), units=units, checkpoint=kept, out=tmp_path)
    assert (rest.kept, rest.redone) == (2, {})
    assert (text(rest), (tmp_path / ROWS_FILE).read_bytes()) == (text(whole), rows)


def test_what_is_done_is_not_done_again(log: Log, tiny: Tiny, tmp_path: Path) -> None:
    job, units = job_of(log.folder, tiny), small(log.folder)
    first = run_replay(job, InProcess(), units=units, checkpoint=tmp_path)
    told: list[int] = []
    # every unit is kept: an engine that only ever stops is never asked for one
    second = run_replay(job, Nothing(), units=units, checkpoint=tmp_path, on_bytes=told.append)
    assert second.kept == len(units)
    assert text(second) == text(first)
    assert sum(told) == sum(u.size_bytes for u in units)


@dataclass(frozen=True)
class Nothing:
    """Must not be given anything."""

    def run(
        self, job: ReplayJob, units: Sequence[NumberedUnit], on_bytes: OnBytes
    ) -> Iterator[UnitResult]:
        assert list(units) == []
        return iter(())


def test_a_changed_segment_is_done_again_and_only_that(
    log: Log, tiny: Tiny, tmp_path: Path
) -> None:
    folder = shutil.copytree(log.folder, tmp_path / "copy")
    (path,) = folder.iterdir()
    shutil.copy(path, folder / f"0-{path.name}")
    job, units = job_of(folder, tiny), small(folder)
    run_replay(job, InProcess(), units=units, checkpoint=tmp_path / "kept")
    path.write_bytes(path.read_bytes().replace(b'"label":null', b'"label":"xy"', 1))
    second = run_replay(job, InProcess(), units=units, checkpoint=tmp_path / "kept")
    assert second.redone == {"the log there has changed": 1}
    assert second.kept == len(units) - 1
    assert second.report.lost_lines == 1


def test_other_settings_are_done_again_and_named(log: Log, tiny: Tiny, tmp_path: Path) -> None:
    units = small(log.folder)
    run_replay(job_of(log.folder, tiny), InProcess(), units=units, checkpoint=tmp_path)
    other = job_of(log.folder, tiny, batch=BatchPlan(1))
    run = run_replay(other, InProcess(), units=units, checkpoint=tmp_path)
    assert (run.kept, run.redone) == (0, {"other batch": len(units)})
    more_threads = replace(other, targets=replace(other.targets, threads=2))
    run = run_replay(more_threads, InProcess(), units=units, checkpoint=tmp_path)
    assert run.redone == {"other threads": len(units)}


def test_a_bundle_that_changed_since_is_refused(log: Log, tiny: Tiny, tmp_path: Path) -> None:
    base = tiny.copy(tmp_path / "models")
    job = replace(job_of(log.folder, tiny), targets=targets(tiny, base))
    units = small(log.folder)
    run_replay(job, InProcess(), units=units, checkpoint=tmp_path / "kept")
    (base / "tiny" / "1" / "model.ubj").write_bytes(b"x")
    fresh = replace(job, targets=job.targets.unloaded())
    with pytest.raises(SamescoreError, match="copy the bundle anew"):
        run_replay(fresh, Nothing(), units=units, checkpoint=tmp_path / "kept")


def test_a_damaged_checkpoint_is_done_again(log: Log, tiny: Tiny, tmp_path: Path) -> None:
    job, units = job_of(log.folder, tiny), small(log.folder)
    first = run_replay(job, InProcess(), units=units, checkpoint=tmp_path)
    files = sorted(tmp_path.glob("*.json"))
    files[0].write_bytes(b'{"facts"')
    files[1].write_bytes(b"[]")
    sorted(tmp_path.glob("*.rows"))[2].unlink()
    second = run_replay(job, InProcess(), units=units, checkpoint=tmp_path)
    assert second.redone == {"the checkpoint's file cannot be read": 3}
    assert text(second) == text(first)


def test_a_checkpoint_that_the_disk_has_changed_is_done_again(
    bad_log: Log, tiny: Tiny, tmp_path: Path
) -> None:
    job, units, out = job_of(bad_log.folder, tiny), small(bad_log.folder), tmp_path / "out"
    out.mkdir()
    kept = tmp_path / "kept"
    first = run_replay(job, InProcess(), units=units, checkpoint=kept, out=out)
    rows = (out / ROWS_FILE).read_bytes()
    reports = sorted(kept.glob("*.json"))
    reports[0].write_bytes(reports[0].read_bytes().replace(b'"rows":', b'"rowz":', 1))
    reports[1].write_bytes(reports[1].read_bytes()[:-20])
    junk = max(kept.glob("*.rows"))
    junk.write_bytes(junk.read_bytes()[:-9] + b"junk junk")
    second = run_replay(job, InProcess(), units=units, checkpoint=kept, out=out)
    assert second.redone == {"the checkpoint's file cannot be read": 3}
    assert text(second) == text(first)
    assert (out / ROWS_FILE).read_bytes() == rows


def test_what_the_log_no_longer_holds_is_swept_and_nothing_else(
    log: Log, tiny: Tiny, tmp_path: Path
) -> None:
    folder, kept = shutil.copytree(log.folder, tmp_path / "copy"), tmp_path / "kept"
    (path,) = folder.iterdir()
    older = folder / f"0-{path.name}"
    shutil.copy(path, older)
    job = job_of(folder, tiny)
    run_replay(job, InProcess(), units=small(folder), checkpoint=kept)
    mine = {"notes.txt", "results.2026-11.json", "sales-2026.01-02.json"}
    for name in mine:
        (kept / name).write_text("mine")
    older.unlink()
    run = run_replay(job, InProcess(), units=small(folder), checkpoint=kept)
    assert run.kept == run.units
    left = {p.name for p in kept.iterdir()}
    assert mine <= left
    assert not any(name.startswith("0-") for name in left)
    assert len(left) == 2 * run.units + len(mine)


def test_a_checkpoint_that_cannot_be_written_is_a_mistake(
    log: Log, tiny: Tiny, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="name a writable folder"):
        run_replay(job_of(log.folder, tiny), InProcess(), checkpoint=tmp_path / "file" / "kept")
