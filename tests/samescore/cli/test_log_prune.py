from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from consistency.log import LogSettings, RequestLogWriter
from tests.fixtures.cli import mistake, samescore
from tests.fixtures.scored import make_request


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A log of three segments: two years, two days and no time old."""
    folder = tmp_path / "requests"
    log = RequestLogWriter(LogSettings(folder, segment_bytes=1))
    for i in range(3):
        log.write(make_request(f"r-{i}"))
    log.close()
    for path, days in zip(sorted(folder.glob("*.jsonl")), (730, 2, 0), strict=True):
        then = time.time() - days * 86_400
        os.utime(path, (then, then))
    return folder


def test_what_is_older_goes_and_is_told(old: Path) -> None:
    paths = sorted(old.iterdir())
    ran = samescore("log", "prune", old, "--keep-days", 30)
    assert ran.code == 0
    assert ran.out.startswith(f"removed {paths[0].name} (")
    assert sorted(old.iterdir()) == paths[1:]


def test_a_dry_run_removes_nothing(old: Path) -> None:
    paths = sorted(old.iterdir())
    ran = samescore("log", "prune", old, "--keep-days", 1, "--dry-run")
    assert "would remove 2 files" in ran.out
    assert sorted(old.iterdir()) == paths


def test_machines_get_json(old: Path) -> None:
    size = sum(p.stat().st_size for p in old.iterdir())
    value = samescore("log", "prune", old, "--keep-days", 30, "--json").json
    assert len(value["removed"]) == 1
    assert value["removed_bytes"] + value["kept_bytes"] == size
    assert value["dry_run"] is False


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "say what to keep: --keep-days, --keep-gib, or both"),
        (("--keep-days", "0"), "--keep-days"),
        (("--keep-gib", "-1"), "--keep-gib"),
        (("--keep-gib", "nan"), "retention nan GiB: give a size"),
        (("--keep-gib", "1e300"), "retention 1e+300 GiB: give a size"),
    ],
)
def test_a_wrong_bound_is_a_mistake(old: Path, options: tuple[str, ...], said: str) -> None:
    assert said in mistake("log", "prune", old, *options)
