"""The history in a real PostgreSQL: the same as in SQLite, runs at once, and no password told."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.cli import mistake, samescore
from tests.fixtures.days import days_into_log, dearer
from tests.fixtures.postgres import PASSWORD, postgres
from tests.fixtures.tiny import Tiny

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with postgres() as found:
        yield found


@pytest.fixture
def log(tiny: Tiny, tmp_path: Path) -> Path:
    days = {f"2026-01-{day:02}": tiny.records[:250] for day in range(1, 20)}
    days["2026-01-20"] = dearer(tiny.records)
    return days_into_log(tiny, tmp_path / "requests", days)


def judgements(*where: object) -> list[Any]:
    """Every judgement, but for when it was made."""
    (job,) = samescore("drift", "history", *where, "--json").json
    return [{n: v for n, v in each.items() if n != "judged_at"} for each in job["judgements"]]


def test_it_holds_what_sqlite_holds_and_runs_at_once_do_not_mix(
    log: Path, tiny: Tiny, tmp_path: Path, url: str
) -> None:
    words = ["drift", "run", log, "--bundle", tiny.bundle, "--out"]
    assert samescore(*words, tmp_path / "sqlite").code == 1
    # As an environment variable: a password does not belong on a command line.
    environment = {**os.environ, "SAMESCORE_DRIFT_RUN_HISTORY": url}
    runs = [
        subprocess.Popen(
            [sys.executable, "-m", "samescore", *map(str, [*words, tmp_path / f"out{i}"])],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for i in range(3)
    ]  # fmt: skip
    said = [b"".join(run.communicate()).decode() for run in runs]
    assert [run.returncode for run in runs] == [1, 1, 1], said
    assert PASSWORD not in "".join(said)
    assert judgements("--history", url) == judgements(tmp_path / "sqlite")
    more = ["--threshold", "1000"]
    samescore(*words, tmp_path / "sqlite", *more)
    assert samescore(*words, tmp_path / "out", *more, "--history", url).code == 0
    assert judgements("--history", url) == judgements(tmp_path / "sqlite")
    assert len(judgements("--history", url)) == 40
    (trend,) = samescore(
        "drift", "history", "--history", url, "--feature", "score", "--json"
    ).json  # fmt: skip
    assert len(trend["trend"]) == 20


def test_what_goes_wrong_is_told_without_the_password(url: str) -> None:
    wrong = url.replace(PASSWORD, "an-other-one")
    said = mistake("drift", "show", "--history", wrong)
    assert "password authentication failed" in said
    assert "an-other-one" not in said
    away = url.replace("/postgres", "/nothing")
    assert 'database "nothing" does not exist' in mistake("drift", "show", "--history", away)
    assert PASSWORD not in mistake("drift", "show", "--history", away)
