"""A log whose writers, sealers and compactors are killed a thousand times while it is read."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from consistency.log.reader import verify_log
from tests.fixtures.figures import Tell

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
KILLS = 1_000
SEED = 20_260_101


def test_a_thousand_kills_lose_nothing_and_no_reader_is_ever_wrong(
    tmp_path: Path, tell: Tell
) -> None:
    folder = tmp_path / "log"
    ran = subprocess.run(
        [sys.executable, "-m", "tests.fixtures.log_lives", folder, str(KILLS), str(SEED)],
        cwd=ROOT, capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr  # a reader that was wrong, or anything that raised
    assert ran.stderr == ""
    figures = json.loads(ran.stdout)

    assert sum(figures["killed"].values()) >= KILLS
    assert all(figures["killed"][kind] > 0 for kind in ("writer", "sealer", "compactor"))
    assert figures["reads"] > 0
    assert figures["acknowledged"] > KILLS
    assert figures["lost"] == 0, "acknowledged is logged"
    assert figures["twice"] == 0, "nothing is there twice"
    assert figures["most_surplus"] <= 1, "a life has one request in flight"
    assert figures["acknowledged"] + figures["surplus"] == figures["logged"]
    assert figures["files_after_compaction"].keys() <= {".parquet", ".lock", ".torn"}

    verdict = verify_log(folder)
    assert verdict.intact
    assert verdict.requests == figures["logged"]
    tell(
        f"{figures['killed']} killed, seed {SEED}: {figures['acknowledged']:,} acknowledged, "
        f"{figures['logged']:,} logged, 0 lost, 0 twice, surplus {figures['surplus']} (at most "
        f"{figures['most_surplus']} a life); {figures['reads']} reads of the whole log "
        f"meanwhile, none wrong; kills left {figures['left']}; {figures['seconds']:.0f} s"
    )
