"""Counting in units: whoever counts them, in whatever order, each of them once."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import orjson
import pytest

from consistency.bundle import open_bundle
from consistency.digest import digest_bytes
from consistency.errors import LogError
from consistency.log.columnar.parquet import held_segments
from consistency.log.reader import cut_tails
from consistency.log.segments import PARQUET_SUFFIX, SEALED_SUFFIX
from consistency.replay.units import LogUnit
from monitors.drift.record import Subject
from monitors.drift.windows import TimeBasis, WindowLength
from monitors.errors import MonitorError
from monitors.reference import ReferenceSet
from samescore.drifts.counted import Counted, count_here
from samescore.drifts.unit_counts import CountJob, UnitCounter
from samescore.drifts.units import (
    CountInUnits,
    Home,
    count_units,
    cut_units,
    size_bytes,
)
from samescore.engines.work import InProcess, NumberedUnit, OnBytes, R, Work
from tests.fixtures.long_log import LongLog, write_long_log
from tests.fixtures.tiny import Tiny, record_body
from tests.fixtures.traffic import serve_into_log
from tests.samescore.conftest import load

DAY = WindowLength.parse("1d")
UNIT_BYTES = 20_000
REQUESTS = 1_500


@pytest.fixture(scope="module")
def long_log(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> LongLog:
    root = tmp_path_factory.mktemp("long")
    bodies = [record_body(tiny.records[i : i + 1 + i % 3]) for i in range(60)]
    answered = serve_into_log(load(tiny), root / "once", [*bodies, b"{"])
    return write_long_log(root / "log", answered, REQUESTS, segment_bytes=150_000)


def subject_of(tiny: Tiny) -> tuple[Subject, ReferenceSet]:
    bundle = open_bundle(tiny.bundle)
    data = bundle.reference()
    assert data is not None
    digests = bundle.manifest.digest, digest_bytes(data)
    return Subject("tiny", 1, *digests, TimeBasis.EVENT), ReferenceSet.from_bytes(data)


def job_of(log: Path, tiny: Tiny) -> CountJob:
    subject, reference = subject_of(tiny)
    return CountJob(log, subject, reference.distributions().to_bytes(), DAY)


def text(counted: Counted) -> bytes:
    windows = {str(w): c.to_json() for w, c in counted.windows.items()}
    return orjson.dumps([windows, counted.skipped.to_json()])


@dataclass(frozen=True)
class Backwards:
    """Does the last unit first, and some of them twice: what a cluster may do."""

    twice: bool = False

    def run(self, work: Work[R], units: Sequence[NumberedUnit], on_bytes: OnBytes) -> Iterator[R]:
        yield from InProcess().run(work, units[::-1], on_bytes)
        if self.twice:
            yield from InProcess().run(work, units[1::2], on_bytes)


def test_the_log_holds_all_that_a_log_can_hold(long_log: LongLog) -> None:
    kinds = {"".join(p.suffixes) for p in long_log.folder.iterdir() if p.stat().st_size}
    assert len([k for k in kinds if "lock" not in k]) >= 4, kinds
    assert any(p.name.endswith(PARQUET_SUFFIX) for p in long_log.folder.iterdir())
    assert len(cut_units(long_log.folder, UNIT_BYTES)) > 15


def test_units_hold_what_a_single_pass_holds(long_log: LongLog, tiny: Tiny) -> None:
    """The one pass is another reader: it goes through whole segments."""
    subject, reference = subject_of(tiny)
    once = count_here(long_log.folder, subject, reference, DAY)
    job = job_of(long_log.folder, tiny)
    units = cut_units(long_log.folder, UNIT_BYTES)
    assert text(count_units(job, InProcess(), units)) == text(once)
    assert text(CountInUnits()(long_log.folder, subject, reference, DAY)) == text(once)
    assert sum(c.requests for c in once.windows.values()) == long_log.counted
    skipped = once.skipped
    assert (skipped.damaged_lines, skipped.torn_tails) == (
        long_log.damaged_lines, long_log.torn_tails,
    )  # fmt: skip
    assert skipped.other_models == long_log.other_models > 0
    assert sum(skipped.other_bundles.values()) == long_log.other_bundles > 0
    assert sum(c.untimed for c in once.windows.values()) > 0
    full = next(c for c in once.windows.values() if c.rows)
    assert int(full.features["city_code"].sum()) < full.rows, "redacted in a third of the log"


def test_the_order_does_not_matter_and_a_second_result_counts_nothing(
    long_log: LongLog, tiny: Tiny
) -> None:
    job, units = job_of(long_log.folder, tiny), cut_units(long_log.folder, UNIT_BYTES)
    once = text(count_units(job, InProcess(), units))
    assert text(count_units(job, Backwards(), units)) == once
    assert text(count_units(job, Backwards(twice=True), units)) == once


def test_a_unit_that_does_not_come_home_is_told(long_log: LongLog, tiny: Tiny) -> None:
    job, units = job_of(long_log.folder, tiny), cut_units(long_log.folder, UNIT_BYTES)
    home = Home(ReferenceSet.from_bytes(job.reference), units)
    counter = job.start()
    for index, unit in enumerate(units):
        if index != 2:
            home.take(counter.run((index, unit)))
    with pytest.raises(
        MonitorError, match=f"1 parts of the log were not counted, first {units[2]}"
    ):
        home.counted(cut_tails(job.log))
    home.take(counter.run((2, units[2])))
    assert text(home.counted(cut_tails(job.log))) == text(count_units(job, InProcess(), units))


def test_what_retention_takes_meanwhile_is_no_error(
    long_log: LongLog, tiny: Tiny, tmp_path: Path
) -> None:
    log = shutil.copytree(long_log.folder, tmp_path / "log")
    job, units = job_of(log, tiny), cut_units(log, UNIT_BYTES)
    first = min(p for p in log.glob(f"*{SEALED_SUFFIX}"))
    first.unlink()
    left = count_units(job, InProcess(), units)
    assert text(left) == text(count_units(job, InProcess(), cut_units(log, UNIT_BYTES)))


def test_what_does_not_fit_the_reference_is_an_error(long_log: LongLog, tiny: Tiny) -> None:
    job = job_of(long_log.folder, tiny)
    reference = ReferenceSet.from_bytes(job.reference)
    fewer = replace(reference, features={"age_years": reference.features["age_years"]})
    narrow = replace(job, reference=fewer.to_bytes())
    with pytest.raises(MonitorError, match="is not in the reference"):
        count_units(narrow, InProcess(), cut_units(job.log))


def test_a_compacted_segment_is_one_unit_and_no_other_byte_is_left_out(long_log: LongLog) -> None:
    units = cut_units(long_log.folder, UNIT_BYTES)
    assert sum(unit.size_bytes for unit in units) == size_bytes(long_log.folder)
    (path, *_) = long_log.folder.glob(f"*{PARQUET_SUFFIX}")
    stems = [unit.stem for unit in units]
    for stem, held in held_segments(path).items():
        assert units[stems.index(stem)] == LogUnit(stem, 0, held.size_bytes)
        assert stems.count(stem) == 1
    assert len({*stems}) < len(stems), "others are several"


def test_no_folder_is_a_mistake(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(LogError, match="no such folder"):
        CountInUnits()(tmp_path / "none", *subject_of(tiny), DAY)


def test_an_empty_folder_holds_no_window(tiny: Tiny, tmp_path: Path) -> None:
    counted = CountInUnits()(tmp_path, *subject_of(tiny), DAY)
    assert (counted.windows, counted.skipped.damaged_lines) == ({}, 0)


def test_bytes_are_told_as_they_are_counted(long_log: LongLog, tiny: Tiny) -> None:
    told: list[int] = []
    CountInUnits(InProcess(), told.append)(long_log.folder, *subject_of(tiny), DAY)
    assert sum(told) == size_bytes(long_log.folder)


def test_a_worker_loads_what_counting_needs_and_nothing_else() -> None:
    """Executors start often, and need not have what the driver has."""
    heavy = "pandas scipy sqlalchemy matplotlib jinja2 click rich pyarrow pyspark prometheus_client"
    others = [*heavy.split(), "serving", "samescore.cli"]
    module = UnitCounter.__module__
    code = f"import sys, {module}; print([m for m in {others} if m in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
