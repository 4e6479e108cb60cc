"""The libsvm example: its pipeline, its law, and its models served and replayed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from consistency.errors import DataError
from consistency.laws import Verdict, check_all_laws
from consistency.state import FittedState
from risk_features import FILL, WIDTH, parse_row, pipeline
from tests.fixtures.cli import samescore
from tests.fixtures.server import serving

EXAMPLE = Path(__file__).parents[2] / "examples" / "libsvm"
TIONE = (
    "0 1:0 2:1.0 3:565 4:9 5:6 6:47200.0 7:15 8:0.48 9:1959200.0 10:-65535.0 11:0.0 "
    "12:0.6447333333333334 524:-65535.0"
)
"""The row of TI-ONE's documentation."""

BOUND = pipeline.bind(FittedState({"fill": FILL}), {})


def test_the_row_of_the_documentation_keeps_every_digit() -> None:
    row = BOUND([{"row": TIONE}]).matrix()[0]
    assert row[:12].tolist() == [
        0.0, 1.0, 565.0, 9.0, 6.0, 47200.0, 15.0, 0.48, 1959200.0, -65535.0, 0.0, 0.6447333333333334
    ]  # fmt: skip
    assert row[12:].tolist() == [FILL] * (WIDTH - 12)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0 525:1", "index from 1 to 524"),
        ("0 0:1", "index from 1 to 524"),
        ("0 -1:1", "index from 1 to 524"),
        ("0 x:1", "index from 1 to 524"),
        ("0 3:1 3:1", "index 3 twice"),
        ("0 3:nan", "finite number"),
        ("0 3:1e999", "finite number"),
        ("0 3:1_000", "finite number"),
        ("0 3:", "finite number"),
        ("0 3:1:2", "finite number"),
    ],
)
def test_what_is_no_pair_is_refused_by_row_and_field(text: str, says: str) -> None:
    with pytest.raises(DataError, match=says) as refused:
        BOUND([{"row": TIONE}, {"row": text}])
    assert (refused.value.row, refused.value.field) == (1, "row")


def test_the_law_draws_the_same_rows_again_and_other_ones_by_another_seed(
    drawn: Any,
) -> None:
    first, again, other = drawn(50, 7), drawn(50, 7), drawn(50, 8)
    assert first.records == again.records
    assert first.records != other.records
    held = [parse_row(record["row"]) for record in first.records]
    widths = [len(row) for row in held]
    assert 12 <= min(widths) < max(widths) < WIDTH
    filled = sum(value == FILL for row in held for value in row.values())
    assert 0.05 < filled / sum(widths) < 0.4


def test_the_pipeline_keeps_all_laws(drawn: Any) -> None:
    results = check_all_laws(BOUND, drawn(40, 1).records)
    assert [r for r in results if r.verdict is Verdict.VIOLATED] == []
    assert sum(r.verdict is Verdict.PASSED for r in results) >= 8


@pytest.fixture(scope="module")
def drawn() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLE)
        import risk_data

        yield risk_data.draw


@pytest.mark.slow
def test_models_served_at_both_doors_and_replayed(tmp_path: Path, drawn: Any) -> None:
    models, log = tmp_path / "models", tmp_path / "log"
    command = [sys.executable, str(EXAMPLE / "risk_train.py"), "--out", str(models), "--small"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    records = drawn(200, 99).records
    full = BOUND(records[:20]).matrix()
    with serving(
        models, "--log", log, "--pipeline", "risk_features", errors=tmp_path / "err"
    ) as server:
        for name in ("xgboost", "lightgbm"):
            path = f"/predict/{name}/1"
            for size in (1, 7, 64):
                body = {"type": "record", "data": {"insts": records[:size]}}
                assert server.post(path, body).status == 200
            by_record = server.post(path, {"type": "record", "data": {"insts": records[:20]}}).json
            texts = [_text(row) for row in full]
            body = {"type": "libsvm", "feature_num": "524", "data": {"insts": texts}}
            by_libsvm = server.post(path, body).json
            assert by_libsvm["data"] == by_record["data"], "complete rows: one score at both doors"
            tione = {"type": "libsvm", "feature_num": "524", "data": {"insts": TIONE}}
            assert server.post(path, tione).json["message"] == "SUCCESS"
            refused = server.post(path, {"type": "record", "data": {"insts": [{"row": "0 525:1"}]}})
            assert refused.status == 400
        assert server.terminate() == 0
    for batch in ("1", "64", "4096"):
        ran = samescore(
            "replay", log, "--bundles", models, "--pipeline", "risk_features",
            "--batch-size", batch, "--json",
        )  # fmt: skip
        assert ran.code == 0, ran.out
        assert {name: m["rows"] for name, m in ran.json["models"].items()} == {
            "lightgbm/1": 113, "xgboost/1": 113
        }  # fmt: skip


def _text(row: np.ndarray[Any, np.dtype[np.float64]]) -> str:
    pairs = " ".join(f"{i}:{value!r}" for i, value in enumerate(row.tolist(), start=1))
    return f"0 {pairs}"
