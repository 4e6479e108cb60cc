"""What `samescore serve` can be told of its log, with real servers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families

from consistency.log import LoggedRequest, RequestLogReader
from consistency.log.lines.entry import PayloadForm
from consistency.log.reader import verify_log
from consistency.log.sampling import keeps
from consistency.scored import Outcome
from tests.fixtures.cli import samescore
from tests.fixtures.server import Load, Reply, serving, wait_until
from tests.fixtures.tiny import PACKAGE, Tiny, record_body

pytestmark = pytest.mark.slow


def start(tiny: Tiny, root: Path, *options: object, base: Path | None = None) -> Any:
    return serving(
        base or tiny.base, "--log", root / "log", "--pipeline", PACKAGE, *options,
        errors=root / "stderr", environment=tiny.environment(),
    )  # fmt: skip


def logged(root: Path) -> list[LoggedRequest]:
    found = list(RequestLogReader(root / "log"))
    assert all(isinstance(item, LoggedRequest) for item in found)
    return [item for item in found if isinstance(item, LoggedRequest)]


def total(page: Reply, name: str) -> float:
    families = text_string_to_metric_families(page.body.decode())
    return sum(s.value for f in families for s in f.samples if s.name == f"samescore_{name}")


def person(tiny: Tiny, number: int) -> dict[str, Any]:
    record = dict(tiny.records[number % len(tiny.records)])
    return {**record, "age": 100 + number % 50}


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text("0123456789abcdef0123456789abcdef\n")
    path.chmod(0o600)
    return path


def test_what_is_counted_is_logged_or_sampled_out(tiny: Tiny, tmp_path: Path) -> None:
    options = ("--log-key", "age", "--log-sample", 0.3, "--workers", 2)
    with start(tiny, tmp_path, *options) as server:
        client = server.client()
        for i in range(150):
            assert client.post("/predict/tiny/1", record_body(person(tiny, i))).status == 200
        for _ in range(5):
            assert client.post("/predict/tiny/1", b"{").status == 400
        page = client.get("/metrics")
        client.close()
        server.terminate()
    requests = logged(tmp_path)
    assert total(page, "requests_total") == 155
    assert total(page, "log_sampled_out_total") == 155 - len(requests)
    assert total(page, "log_drops_total") == 0
    scored = [r for r in requests if r.outcome is Outcome.OK]
    assert len(requests) - len(scored) == 5, "errors are all there"
    ages = [str(100 + i) for i in range(50)]
    assert {r.key for r in scored} == {age for age in ages if keeps(age, 0.3)}
    assert all(r.sample_ratio == 0.3 for r in scored)
    assert len(scored) == 3 * len({r.key for r in scored}), "each of a key's requests"
    replay = ("replay", tmp_path / "log", "--bundles", tiny.base, "--pipeline", PACKAGE)
    assert samescore(*replay).code == 0


def test_a_redacted_value_is_nowhere_in_the_log(tiny: Tiny, tmp_path: Path, key_file: Path) -> None:
    hidden = "Xanadu-4711"
    options = ("--log-redact", "city", "--log-redact-key", key_file, "--log-key", "city")
    with start(tiny, tmp_path, *options) as server:
        client = server.client()
        good = {"amount": 120.0, "age": 40, "city": hidden}
        bodies: list[tuple[Any, int]] = [
            (record_body(good), 200),
            (record_body([good, {**good, "age": "forty"}]), 400),
            (record_body({**good, "city": [hidden]}), 400),
            ({"type": "record", "data": {"insts": []}, "city": hidden}, 400),
            (b'{"city": "' + hidden.encode(), 400),
            ({"type": "nonsense", "data": {"insts": [good]}}, 400),
        ]
        assert [client.post("/predict/tiny/1", b).status for b, _ in bodies] == [
            s for _, s in bodies
        ]
        client.close()
        server.terminate()
    content = b"".join(p.read_bytes() for p in (tmp_path / "log").rglob("*") if p.is_file())
    assert b"Xanadu" not in content
    assert b"0123456789abcdef" not in content
    first = logged(tmp_path)[0]
    assert first.payload_form is PayloadForm.REDACTED
    assert first.key is not None
    assert first.key == orjson.loads(first.payload.body)["data"]["insts"]["city"]
    said = (tmp_path / "stderr").read_text()
    for feature in ("city_code", "city_rate"):
        assert f"feature {feature} is computed from a field that the log redacts" in said
    assert "age_years" not in said


def test_a_redacted_log_is_replayed_from_its_features(
    tiny: Tiny, tmp_path: Path, key_file: Path
) -> None:
    options = ("--log-redact", "city", "--log-redact-key", key_file)
    with start(tiny, tmp_path, *options) as server:
        client = server.client()
        for i in range(0, 60, 3):
            client.post("/predict/tiny/1", record_body(tiny.records[i : i + 3]))
        client.close()
        server.terminate()
    replay = ("replay", tmp_path / "log", "--bundles", tiny.base, "--pipeline", PACKAGE)
    ran = samescore(*replay, "--json")
    assert ran.code == 0
    (model,) = ran.json["models"].values()
    assert model["rows"] == 60
    assert model["stages"]["scores"]["rows"] == 60
    assert "payload" not in model["stages"]


def test_a_spool_is_flushed_at_shutdown(tiny: Tiny, tmp_path: Path) -> None:
    options = ("--log-mode", "spool", "--log-fsync", "interval:20ms", "--workers", 2)
    with start(tiny, tmp_path, *options) as server:
        load = Load(server.port, "/predict/tiny/1", [record_body(r) for r in tiny.records[:20]])
        load.wait_for(400)
        load.stop()
        page = server.get("/metrics")
        assert server.terminate() == 0
    assert {r.request_id for r in logged(tmp_path)} == set(load.acknowledged)
    assert verify_log(tmp_path / "log").intact
    assert total(page, "log_drops_total") == 0
    assert total(page, "requests_total") == len(load.acknowledged)


def test_a_spool_before_a_full_disk_answers_all_and_counts_what_is_lost(
    tiny: Tiny, tmp_path: Path
) -> None:
    import resource

    limit = 64 * 1024  # of any file that the server writes: a disk that is full
    options = ("--log-mode", "spool", "--log-spool-mib", 1)
    with start(tiny, tmp_path, *options) as server:
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (limit, limit))
        client = server.client()
        many = record_body(tiny.records[:200])
        replies = [client.post("/predict/tiny/1", many) for _ in range(60)]
        wait_until(lambda: (tmp_path / "stderr").read_text().count("tried again") > 0, "it is told")
        page = metrics_of(client.get("/metrics"))
        client.close()
        server.terminate()
    assert {r.status for r in replies} == {200}
    assert page > 0, "the spool is full"
    assert verify_log(tmp_path / "log").intact
    said = (tmp_path / "stderr").read_text()
    lost = int(said.partition(" lines are lost")[0].rpartition(" ")[2])
    assert len(logged(tmp_path)) + page + lost == 60


def metrics_of(page: Reply) -> float:
    return total(page, "log_drops_total")


def test_a_server_removes_what_is_past_its_retention(tiny: Tiny, tmp_path: Path) -> None:
    body = record_body(tiny.records[:200])
    with start(tiny, tmp_path, "--log-segment-mib", 1) as server:
        client = server.client()
        wanted = 3
        while len(list((tmp_path / "log").glob("*.jsonl"))) < wanted:
            client.post("/predict/tiny/1", body)
        client.close()
        server.terminate()
    before = sorted(p.name for p in (tmp_path / "log").glob("*.jsonl"))
    asked = ("log", "prune", tmp_path / "log", "--keep-gib", 0.0015)
    said = samescore(*asked, "--dry-run", "--json").json["removed"]
    with start(tiny, tmp_path, "--log-keep-gib", 0.0015) as server:
        after = sorted(p.name for p in (tmp_path / "log").glob("*.jsonl"))
        server.terminate()
    assert before[: len(said)] == said
    assert 0 < len(said) < len(before)
    assert after == before[len(said) :]
