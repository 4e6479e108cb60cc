"""What a replay writes: rows for SQL, a page for people, metrics for Prometheus."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from consistency.errors import ConfigError
from consistency.log.columnar.columns import Origin
from consistency.replay import ReplaySettings
from consistency.replay.core import new_sum
from consistency.replay.rows import RowResults
from samescore.replays.outputs import ReplayOutputs
from samescore.replays.report import render_report
from samescore.replays.rows import SCHEMA, RowBuffer, RowsFile
from samescore.replays.targets import replay_log
from tests.fixtures.cli import mistake, samescore
from tests.fixtures.tiny import PACKAGE, Tiny
from tests.samescore.conftest import Log
from tests.samescore.replays.test_run import targets

NAN, INF = float("nan"), float("inf")


def rows_of(found: RowResults) -> list[dict[str, object]]:
    buffer = RowBuffer()
    buffer.take(("m", 3), found)
    with pa.ipc.open_stream(buffer.stream()) as reader:
        table = reader.read_all()
    assert table.schema == SCHEMA
    rows: list[dict[str, object]] = table.to_pylist()
    return rows


def test_each_row_says_whose_it_is_and_where_it_diverges() -> None:
    origin = Origin(["r-1", "r-2"], [1, 2])
    scores = np.array([0.5, 0.25, 0.125])
    moved = np.array([0.5, np.nextafter(0.25, 1), 0.5])
    first, second, third = rows_of(
        RowResults(origin, np.array([-1, -1, 1], np.int8), scores, moved)
    )
    assert first == {
        "request_id": "r-1", "row": 0, "model": "m", "version": 3, "agrees": True,
        "diverges_at": None, "score_index": 0, "online": 0.5, "offline": 0.5, "difference": 0.0,
        "ulps": 0,
    }  # fmt: skip
    assert (second["request_id"], second["row"], second["ulps"]) == ("r-2", 0, 1)
    assert second["difference"] == np.nextafter(0.25, 1) - 0.25
    assert (third["row"], third["agrees"], third["diverges_at"]) == (1, False, "features")


def test_of_several_scores_the_one_that_differs_most_is_shown() -> None:
    online = np.array([[0.1, 0.2, 0.3], [1.0, NAN, 0.0]])
    offline = np.array([[0.1, 0.25, 0.31], [1.5, 0.0, 0.0]])
    rows = rows_of(RowResults(Origin(["r"], [2]), np.array([3, 3], np.int8), online, offline))
    assert [r["score_index"] for r in rows] == [1, 1], "a pair without a difference is the worst"
    assert (rows[1]["difference"], rows[1]["ulps"]) == (None, None)
    assert np.isnan(rows[1]["online"])  # type: ignore[call-overload]
    assert rows[1]["diverges_at"] == "scores"


def test_numbers_without_a_difference_are_told_apart_from_no_score() -> None:
    online, offline = np.array([NAN, INF, -0.0, -1e308]), np.array([NAN, INF, 0.0, 1e308])
    stages = np.array([-1, -1, -1, 3], np.int8)
    rows = rows_of(RowResults(Origin(["r"], [4]), stages, online, offline))
    assert [r["difference"] for r in rows] == [0.0, 0.0, 0.0, INF]
    assert [r["ulps"] for r in rows[:3]] == [0, 0, 0]
    assert rows[3]["ulps"] == 2**63 - 1024, "saturates"
    (none,) = rows_of(RowResults(Origin(["r"], [1]), np.array([0], np.int8)))
    assert (none["online"], none["offline"], none["difference"]) == (None, None, None)
    assert none["diverges_at"] == "payload"


def test_the_file_has_the_order_of_the_log_whatever_comes_first(tmp_path: Path) -> None:
    def unit(name: str) -> bytes:
        buffer = RowBuffer()
        ones = np.ones(2)
        buffer.take(("m", 1), RowResults(Origin([name], [2]), np.full(2, -1, np.int8), ones, ones))
        return buffer.stream()

    file = RowsFile(tmp_path / "rows.parquet")
    for index in (2, 0, 1):
        file.add(index, lambda name=f"r-{index}": unit(name))  # type: ignore[misc]
    assert [p.name for p in tmp_path.iterdir()] == [".rows.parquet.part"]
    file.close()
    table = pq.read_table(tmp_path / "rows.parquet")
    assert table["request_id"].to_pylist() == ["r-0", "r-0", "r-1", "r-1", "r-2", "r-2"]
    assert table.schema == SCHEMA


def test_a_folder_that_cannot_be_written_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="name a writable folder with --out"):
        RowsFile(tmp_path / "none" / "rows.parquet")
    (tmp_path / "rows.parquet").mkdir()
    with pytest.raises(ConfigError, match="Is a directory; name another folder with --out"):
        RowsFile(tmp_path / "rows.parquet").close()
    assert [p.name for p in tmp_path.iterdir()] == ["rows.parquet"]


# ------------------------------------------------------------------------------------ the command


def test_the_command_writes_report_rows_page_and_metrics(
    bad_log: Log, tiny: Tiny, tmp_path: Path
) -> None:
    out, textfile = tmp_path / "out", tmp_path / "replay.prom"
    ran = samescore(
        *("replay", bad_log.folder, "--bundles", tiny.base, "--pipeline", PACKAGE, "--json"),
        *("--out", out, "--html", "--textfile", textfile),
    )
    assert ran.code == 1
    assert {p.name for p in out.iterdir()} == {"replay.json", "rows.parquet", "report.html"}
    assert orjson.loads((out / "replay.json").read_bytes()) == ran.json
    table = pq.read_table(out / "rows.parquet")
    answered = [(r.request_id, i) for r in bad_log.requests for i in range(r.rows)]
    assert list(zip(*(table[c].to_pylist() for c in ("request_id", "row")), strict=True)) == (
        answered
    )
    assert set(table["diverges_at"].to_pylist()) == {"features"}
    online = [float(s) for r in bad_log.requests if r.scores is not None for s in r.scores]
    assert table["online"].to_pylist() == online
    page = (out / "report.html").read_text()
    assert "Scores or features differ" in page
    assert page.count("data:image/svg+xml") == 3
    metrics = textfile.read_text()
    assert 'samescore_replay_agrees{model="tiny",version="1"} 0.0' in metrics
    assert f'samescore_replay_rows{{model="tiny",version="1"}} {len(answered)}.0' in metrics


def test_a_replay_of_nothing_leaves_the_metrics_as_they_were(tiny: Tiny, tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    textfile, out = tmp_path / "replay.prom", tmp_path / "out"
    ran = samescore(
        *("replay", tmp_path / "log", "--bundles", tiny.base, "--out", out, "--html"),
        *("--textfile", textfile),
    )
    assert ran.code == 1
    assert not textfile.exists()
    assert "Nothing was replayed" in (out / "report.html").read_text()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--html",), "name it with --out"),
        (("--textfile", "replay.txt"), "must end in .prom"),
        (("--pushgateway", "localhost"), "give a URL"),
        (("--jobs", "2", "--engine", "spark"), "--jobs is for --engine local"),
        (("--spark-master", "local[2]"), "--spark-master is for --engine spark"),
        (("--jobs", "0"), "--jobs"),
        (("--sample", "0"), "--sample"),
        (("--sample", "1.5"), "--sample"),
        (("--since", "yesterday"), "'yesterday'"),
        (("--since", "2026-01-02", "--until", "2026-01-01"), "nothing lies between them"),
    ],
)
def test_a_wrong_option_is_a_mistake(
    log: Log, tiny: Tiny, options: tuple[str, ...], said: str
) -> None:
    ran = samescore("replay", log.folder, "--bundles", tiny.base, *options)
    assert ran.code == 2
    assert said in ran.err
    assert "Traceback" not in ran.err


def test_a_file_in_the_place_of_the_folder_is_a_mistake(
    log: Log, tiny: Tiny, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    said = mistake("replay", log.folder, "--bundles", tiny.base, "--out", tmp_path / "file")
    assert "--out" in said


def test_the_log_itself_takes_no_results(log: Log, tiny: Tiny, tmp_path: Path) -> None:
    folder = shutil.copytree(log.folder, tmp_path / "copy")
    before = sorted(folder.iterdir())
    said = mistake("replay", folder, "--bundles", tiny.base, "--out", folder / ".." / "copy")
    assert "is the log itself; name another folder" in said
    assert sorted(folder.iterdir()) == before


# ------------------------------------------------------------------------------------------- page


def test_the_page_is_the_same_every_time_and_needs_no_network(bad_log: Log, tiny: Tiny) -> None:
    report = replay_log(bad_log.folder, targets(tiny))
    page = render_report(report)
    assert page == render_report(report)
    assert "http" not in page.replace("http://www.w3.org", "")
    first = report.models["tiny/1"].first_divergence
    assert first is not None
    assert first.request_id in page
    assert "storage_precision" in page


def test_the_page_of_what_agrees_says_so(log: Log, tiny: Tiny) -> None:
    page = render_report(replay_log(log.folder, targets(tiny)))
    assert "<h1>Same scores</h1>" in page
    assert page.count("data:image/svg+xml") == 2


def test_the_page_escapes_what_a_client_sent() -> None:
    from dataclasses import replace

    from consistency.replay import ModelReport, StageDifference

    evil = StageDifference("r", 0, "payload", "<script>", "scored", "<b>", None, -1)
    model = ModelReport(requests=1, rows=1, worst=[evil])
    report = replace(new_sum(ReplaySettings()).settled(), models={"m/1": model})
    page = render_report(report)
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_nothing_is_asked_for_nothing_is_written(tmp_path: Path) -> None:
    outputs = ReplayOutputs()
    outputs.check(tmp_path)
    outputs.write(new_sum(ReplaySettings()).settled(), 0.0)
    assert list(tmp_path.iterdir()) == []
