"""The recipes of docs/reading-the-log.md, run as they stand there, and every float compared."""

from __future__ import annotations

import math
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from consistency.features import FeatureBatch
from consistency.log import LogSettings, RequestLogWriter
from consistency.log.columnar.compaction import compact_log
from consistency.schema import FeatureSchema, FeatureType
from consistency.scored import Outcome
from tests.fixtures.scored import make_request

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs" / "reading-the-log.md"
RECIPES = dict(
    re.findall(
        r"^<!-- recipe (\S+) -->\n```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE
    )
)
SCHEMA = FeatureSchema(
    ("amount", "gap", "city"), (FeatureType.FLOAT64, FeatureType.FLOAT64, FeatureType.STRING)
)
HARD = [
    0.1, 1 / 3, -0.0, 0.0, 1.0, 2**53 + 2.0, 1.7976931348623157e308, -2.2250738585072014e-308,
    123456789012345680.0, 1e22, 9007199254740993.0, 4.35, 1e-5, 100.0,
]  # fmt: skip
REQUESTS = 400

Row = Mapping[str, np.ndarray[Any, Any]]


def values(rng: np.random.Generator, rows: int) -> np.ndarray[Any, Any]:
    """Return floats of every size, and the hard ones among them."""
    wide = rng.random(rows) * 10.0 ** rng.integers(-290, 300, rows)
    hard = rng.random(rows) < 0.3
    return np.where(hard, rng.choice(HARD, rows), np.where(rng.random(rows) < 0.5, wide, -wide))


def logged() -> Iterator[tuple[str, Row]]:
    """Yield each scored request's numbers, the same at every call."""
    rng = np.random.default_rng(20_260_101)
    for i in range(REQUESTS):
        rows = 1 + i % 3
        gap = np.where(rng.random(rows) < 0.2, math.nan, values(rng, rows))
        gap[rng.random(rows) < 0.1] = math.inf * (1 if i % 2 else -1)
        yield (
            f"r-{i}",
            {"scores": values(rng, rows), "amount": values(rng, rows), "gap": gap},
        )


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a log in `requests`: sealed segments, refused requests among the scored."""
    root = tmp_path_factory.mktemp("analyst")
    log = RequestLogWriter(LogSettings(root / "requests", segment_bytes=100_000))
    for i, (request_id, row) in enumerate(logged()):
        rows = len(row["scores"])
        numeric = np.asfortranarray(np.column_stack([row["amount"], row["gap"]]))
        cities = np.array(["Köln", None, 'a "b"'][:rows], object)
        log.write(
            make_request(
                request_id,
                rows=rows,
                features=FeatureBatch(SCHEMA, rows, numeric, {"city": cities}),
                scores=row["scores"],
            )
        )
        if i % 50 == 0:
            nothing: dict[str, Any] = {"rows": 0, "features": None, "outputs": None, "scores": None}
            log.write(make_request(f"refused-{i}", outcome=Outcome.DATA_ERROR, **nothing))
    log.close()
    assert len(list((root / "requests").glob("*.jsonl"))) > 1
    return root


@pytest.fixture(scope="module")
def compacted(sealed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("analyst_parquet")
    shutil.copytree(sealed / "requests", root / "requests")
    assert len(list(compact_log(root / "requests", 200_000))) > 1
    return root


def run(name: str, root: Path) -> dict[str, Any]:
    """Run a recipe on a log, and return its variables."""
    # a Java machine keeps the working folder it was started in: a change of folder would not do
    code = RECIPES[name].replace("requests/", f"{root}/requests/")
    space: dict[str, Any] = {}
    exec(compile(code, f"{PAGE.name} {name}", "exec"), space)
    return space


def rows_of(found: Any, kind: str) -> list[dict[str, Any]]:
    if kind == "duckdb":
        table: list[dict[str, Any]] = found.to_arrow_table().to_pylist()
        return table
    if kind == "spark":
        return [row.asDict() for row in found.collect()]
    rows: list[dict[str, Any]] = found.to_dict("records")
    return rows


def same_bits(found: Sequence[float | None], sent: Sequence[float], *, is_json: bool) -> bool:
    """Compare bit by bit; in JSON what is not finite is null."""
    wanted = [None if is_json and not math.isfinite(v) else v for v in sent]
    return [_bits(v) for v in found] == [_bits(v) for v in wanted]


def _bits(value: float | None) -> bytes | None:
    if value is None:
        return None
    return np.float64(math.nan if math.isnan(value) else value).tobytes()


@pytest.fixture
def spark_settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a person sets once, in a shell."""
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    monkeypatch.setenv(
        "PYSPARK_SUBMIT_ARGS",
        "--master local[2] --conf spark.ui.enabled=false --conf spark.driver.host=127.0.0.1 "
        "--conf spark.driver.bindAddress=127.0.0.1 pyspark-shell",
    )
    yield
    from pyspark.sql import SparkSession

    if (spark := SparkSession.getActiveSession()) is not None:
        spark.stop()


@pytest.mark.parametrize("name", sorted(RECIPES))
@pytest.mark.usefixtures("spark_settings")
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # a short recipe closes no file
def test_a_recipe_reads_every_float_as_it_was_logged(
    name: str, sealed: Path, compacted: Path
) -> None:
    kind, _, form = name.partition("-")
    space = run(name, compacted if form == "parquet" else sealed)
    found = {row["request_id"]: row for row in rows_of(space["found"], kind)}
    sent = dict(logged())
    assert found.keys() == sent.keys()
    for request_id, row in sent.items():
        for column, expected in row.items():
            got = list(found[request_id][column])
            assert same_bits(got, expected.tolist(), is_json=form == "jsonl"), (request_id, column)


def test_the_page_has_a_recipe_for_each_reader_and_each_form() -> None:
    assert RECIPES.keys() == {
        "duckdb-parquet", "duckdb-jsonl", "pandas-parquet", "pandas-jsonl", "json-jsonl",
        "spark-parquet", "spark-jsonl",
    }  # fmt: skip
