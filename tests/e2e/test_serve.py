from __future__ import annotations

import json
import shutil
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families

from consistency.bundle import open_bundle
from consistency.log import LoggedRequest, RequestLogReader
from consistency.log.reader import verify_log
from consistency.postprocess import Platt, PostProcess
from consistency.scored import Outcome
from consistency.snapshots import SnapshotStore
from monitors.metrics import Rejection
from tests.fixtures.cli import samescore
from tests.fixtures.server import Load, Reply, Server, serving, wait_until
from tests.fixtures.tiny import PACKAGE, RATES, Tiny, record_body, spoil_golden

pytestmark = pytest.mark.slow

GOOD = {"amount": 120.0, "age": 40, "city": "Berlin"}


@pytest.fixture(scope="module")
def shared(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for the tests that change nothing; a body may have 1 MiB."""
    root = tmp_path_factory.mktemp("shared")
    with serving(
        tiny.base, "--log", root / "log", "--pipeline", PACKAGE, "--max-body-mib", 1,
        errors=root / "stderr", environment=tiny.environment(),
    ) as server:  # fmt: skip
        yield server


def start(tiny: Tiny, root: Path, *options: object, base: Path | None = None) -> Any:
    """Serve a base folder; the log goes to `log`."""
    return serving(
        base or tiny.base, "--log", root / "log", "--pipeline", PACKAGE, "--poll-seconds", 0.1,
        *options, errors=root / "stderr", environment=tiny.environment(),
    )  # fmt: skip


def logged(root: Path) -> list[LoggedRequest]:
    return [item for item in RequestLogReader(root / "log") if isinstance(item, LoggedRequest)]


def replayed(root: Path, base: Path, *more: object) -> int:
    return samescore("replay", root / "log", "--bundles", base, "--pipeline", PACKAGE, *more).code


def raw(server: Server, data: bytes, answer: bool = True) -> bytes:
    """Send bytes, whatever they are, and return what comes back until the server hangs up."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
        sock.sendall(data)
        if not answer:
            return b""
        sock.shutdown(socket.SHUT_WR)
        parts = []
        while part := sock.recv(65536):
            parts.append(part)
        return b"".join(parts)


# ---------------------------------------------------------------------------------------- bad input


def body(**changes: Any) -> dict[str, Any]:
    return dict(record_body({**GOOD, **changes}))


def without(field: str) -> dict[str, Any]:
    return dict(record_body({k: v for k, v in GOOD.items() if k != field}))


BAD_INPUT: list[tuple[str, str, Any, int, int, str]] = [
    ("unknown model", "/predict/nobody/1", body(), 404, 2, "models served here: tiny"),
    ("unknown version", "/predict/tiny/9", body(), 404, 2, "available versions of 'tiny': 1"),
    ("no JSON", "/predict/tiny/1", b"{", 400, 1, "malformed JSON"),
    ("no body", "/predict/tiny/1", b"", 400, 1, "malformed JSON"),
    ("no text", "/predict/tiny/1", b"\xff\xfe\x00", 400, 1, "malformed JSON"),
    ("deep nesting", "/predict/tiny/1", b"[" * 50_000, 400, 1, "malformed JSON"),
    ("no object", "/predict/tiny/1", [1, 2], 400, 1, "the body is no JSON object"),
    ("no type", "/predict/tiny/1", {"data": {"insts": []}}, 400, 1, "field 'type'"),
    ("no rows", "/predict/tiny/1", {"type": "record"}, 400, 1, "field 'data.insts'"),
    ("missing field", "/predict/tiny/1", without("city"), 400, 1, "row 0 field 'city' is missing"),
    ("extra field", "/predict/tiny/1", body(x=1), 400, 1, "row 0 field 'x' is not in the schema"),
    ("mistyped field", "/predict/tiny/1", body(age="40"), 400, 1, "field 'age' is the string"),
    ("float for an integer", "/predict/tiny/1", body(age=40.5), 400, 1, "field 'age'"),
    ("null", "/predict/tiny/1", body(city=None), 400, 1, "row 0 field 'city' is null"),
    (
        "second row bad", "/predict/tiny/1", dict(record_body([GOOD, {**GOOD, "age": True}])),
        400, 1, "row 1 field 'age' is the boolean",
    ),
    ("integer too large", "/predict/tiny/1", body(amount=2**60), 400, 1, "row 0 field 'amount'"),
    ("empty batch", "/predict/tiny/1", dict(record_body([])), 400, 1, "is empty"),
    (
        "NaN token", "/predict/tiny/1", json.dumps(body(amount=float("nan"))).encode(),
        400, 1, "NaN and Infinity are not JSON",
    ),
    (
        "Infinity token", "/predict/tiny/1", b'{"type":"dense","data":{"insts":[Infinity]}}',
        400, 1, "NaN and Infinity are not JSON",
    ),
    (
        "wrong feature number", "/predict/tiny/1",
        {"type": "libsvm", "feature_num": "524", "data": {"insts": "0 1:1"}}, 400, 1, "takes 6",
    ),
    (
        "index out of range", "/predict/tiny/1", {"type": "libsvm", "data": {"insts": "0 7:1"}},
        400, 1, "row 0 has index 7",
    ),
    (
        "too many rows", "/predict/tiny/1", dict(record_body([GOOD] * 1025)),
        413, 3, "rows in one request: got 1025, the limit is 1024",
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "sent", "status", "code", "said"), [case[1:] for case in BAD_INPUT],
    ids=[case[0] for case in BAD_INPUT],
)  # fmt: skip
def test_bad_input_has_its_answer_and_the_server_goes_on(
    shared: Server, path: str, sent: Any, status: int, code: int, said: str
) -> None:
    client = shared.client()
    before = client.post("/predict/tiny/1", body())
    reply = client.post(path, sent)
    assert reply.status == status
    assert reply.json["code"] == code
    assert said in reply.json["message"]
    if code == 1:
        assert reply.json["message"].startswith("数据错误: ")
    after = client.post("/predict/tiny/1", body())
    assert (before.status, after.status) == (200, 200)
    assert after.body == before.body
    client.close()


HEAD = b"POST /predict/tiny/1 HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        pytest.param(HEAD + b"Content-Length: 1048577\r\n\r\n{", b"413", id="declared too large"),
        pytest.param(
            HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"20000\r\n" + b"x" * 0x20000 + b"\r\n"
            + (b"20000\r\n" + b"x" * 0x20000 + b"\r\n") * 8 + b"0\r\n\r\n",
            b"413", id="chunks too large",
        ),
        pytest.param(b"GARBAGE\r\n\r\n", b"400", id="no HTTP"),
        pytest.param(HEAD + b"Content-Length: many\r\n\r\n", b"400", id="no length"),
        pytest.param(b"GET /predict/tiny/1 HTTP/1.1\r\nHost: x\r\n\r\n", b"404", id="GET"),
        pytest.param(HEAD.replace(b"predict", b"nowhere") + b"\r\n", b"404", id="path"),
    ],
)  # fmt: skip
def test_bytes_that_are_no_good_request_have_their_status_and_the_server_goes_on(
    shared: Server, sent: bytes, status: bytes
) -> None:
    assert raw(shared, sent).split(b" ")[1] == status
    assert shared.post("/predict/tiny/1", body()).status == 200


def test_a_client_that_hangs_up_in_the_middle_harms_nobody(shared: Server) -> None:
    for cut in (10, len(HEAD), len(HEAD) + 22):
        raw(shared, (HEAD + b"Content-Length: 500\r\n\r\n{")[:cut], answer=False)
    assert shared.post("/predict/tiny/1", body()).status == 200


# ------------------------------------------------------------------------------------------ answers


def test_the_answers_are_the_golden_scores_bit_for_bit(shared: Server, tiny: Tiny) -> None:
    golden = open_bundle(tiny.bundle).golden()
    assert golden.records is not None
    for size in (1, 7, 40):
        for begin in range(0, 40, size):
            part = golden.records[begin : begin + size]
            reply = shared.post("/predict/tiny", dict(record_body(list(part))))
            made = np.array(reply.json["data"]["insts"])
            assert made.tobytes() == golden.scores[begin : begin + size].tobytes()


def test_the_pages_tell_what_is_served(shared: Server) -> None:
    assert shared.announced["serving"] == ["tiny version 1"]
    assert shared.announced["pid"] == shared.process.pid
    assert shared.get("/health/live").body == b"ok"
    ready = shared.get("/health/ready")
    assert (ready.status, ready.json["ready"]) == (200, True)
    (model,) = shared.get("/models").json
    assert {k: model[k] for k in ("name", "version", "status", "gate", "error")} == {
        "name": "tiny", "version": 1, "status": "serving", "gate": "verified", "error": ""
    }  # fmt: skip


# -------------------------------------------------------------------------------------- counts, log


def test_the_metrics_and_the_log_count_what_the_client_counts(tiny: Tiny, tmp_path: Path) -> None:
    sent: Counter[tuple[int, int]] = Counter()
    rows = 0
    with start(tiny, tmp_path) as server:
        client = server.client()
        for i in range(60):
            batch = tiny.records[i : i + i % 5 + 1]
            reply = client.post("/predict/tiny/1", record_body(batch))
            rows += len(reply.json["data"]["insts"])
            sent[reply.status, reply.json["code"]] += 1
        for bad in (b"{", record_body([]), record_body([GOOD, {"amount": 1.0}])):
            reply = client.post("/predict/tiny/1", bad)
            sent[reply.status, reply.json["code"]] += 1
        for path, bad in (
            ("/predict/nobody/1", b"{}"),
            ("/predict/tiny/1", record_body([GOOD] * 1025)),
        ):
            reply = client.post(path, bad)
            sent[reply.status, reply.json["code"]] += 1
        page = client.get("/metrics")
        client.close()
        server.terminate()
    assert sent == {(200, 0): 60, (400, 1): 3, (404, 2): 1, (413, 3): 1}
    found = metrics(page)

    def count(name: str, *labels: str) -> float:
        return found[f"samescore_{name}", frozenset(labels)]

    requests = {o: count("requests_total", "tiny", "1", o) for o in Outcome}
    assert requests == {"ok": 60, "data_error": 3, "backend_error": 0, "timeout": 0}
    assert count("rows_total", "tiny", "1", "ok") == rows
    assert count("rows_total", "tiny", "1", "data_error") == 2
    assert count("stage_latency_seconds_count", "tiny", "1", "total") == 63
    assert count("log_drops_total") == 0
    rejected = {reason: count("http_rejections_total", reason) for reason in Rejection}
    assert {reason: n for reason, n in rejected.items() if n} == {
        "unknown_model": 1,
        "too_large": 1,
    }
    assert Counter(r.outcome for r in logged(tmp_path)) == {Outcome.OK: 60, Outcome.DATA_ERROR: 3}
    assert sum(r.rows for r in logged(tmp_path) if r.outcome is Outcome.OK) == rows
    assert replayed(tmp_path, tiny.base) == 0


def metrics(page: Reply) -> dict[tuple[str, frozenset[str]], float]:
    """Return every sample by its name and its label values."""
    families = text_string_to_metric_families(page.body.decode())
    samples = [sample for family in families for sample in family.samples]
    return {(s.name, frozenset(s.labels.values())): s.value for s in samples}


def test_sigterm_finishes_what_is_in_flight_and_seals_the_log(tiny: Tiny, tmp_path: Path) -> None:
    with start(tiny, tmp_path) as server:
        load = Load(server.port, "/predict/tiny/1", [record_body(r) for r in tiny.records[:50]])
        load.wait_for(300)
        assert server.terminate() == 0
        load.join()
    assert set(load.replies) == {200}
    verdict = verify_log(tmp_path / "log")
    assert verdict.intact
    assert (verdict.segments_open, verdict.damage) == (0, [])
    ids = [r.request_id for r in logged(tmp_path)]
    assert set(ids) == set(load.acknowledged), "all that was scored was answered, and nothing else"
    assert len(ids) == len(load.acknowledged)
    assert replayed(tmp_path, tiny.base) == 0


# ----------------------------------------------------------------------------------------- versions


def calibrated(tiny: Tiny, folder: Path, version: int) -> Path:
    """Build a version with scores of its own, beside the base folder that is served."""
    platt = Platt(1.0, 0.1 * version)
    return tiny.build(folder, version=version, postprocess=PostProcess(calibration=platt))


def publish(base: Path, bundle: Path) -> None:
    """Put a version where the server looks, at once."""
    bundle.rename(base / bundle.parent.name / bundle.name)


def state_of(server: Server, version: int) -> dict[str, Any]:
    return next((m for m in server.get("/models").json if m["version"] == version), {})


def test_versions_are_swapped_under_load_without_a_failed_request(
    tiny: Tiny, tmp_path: Path
) -> None:
    base = tiny.copy(tmp_path / "models")
    second, fourth = (calibrated(tiny, tmp_path / "new", v) for v in (2, 4))
    third = spoil_golden(calibrated(tiny, tmp_path / "new", 3))
    with start(tiny, tmp_path, base=base) as server:
        load = Load(
            server.port, "/predict/tiny", [record_body(GOOD)],
            keep=lambda reply: (reply.status, reply.json["data"]["insts"][0]),
        )  # fmt: skip
        load.wait_for(200)
        publish(base, second)
        wait_until(lambda: state_of(server, 2).get("status") == "serving", "version 2 goes live")
        wait_until(lambda: state_of(server, 1).get("status") == "unloaded", "version 1 is unloaded")
        settled = len(load.replies)
        load.wait_for(settled + 200)
        publish(base, third)
        wait_until(lambda: state_of(server, 3).get("status") == "failed", "version 3 is refused")
        assert "golden gate to 10 decimals: FAILED" in state_of(server, 3)["error"]
        assert state_of(server, 2)["status"] == "serving"
        refused = len(load.replies)
        load.wait_for(refused + 200)
        still = load.replies[refused : refused + 100]
        publish(base, fourth)
        wait_until(lambda: state_of(server, 4).get("status") == "serving", "version 4 goes live")
        wait_until(lambda: state_of(server, 2).get("status") == "unloaded", "version 2 is unloaded")
        load.wait_for(len(load.replies) + 200)
        load.stop()
        last = load.replies[-1]
        assert server.post("/predict/tiny/3", record_body(GOOD)).status == 404
        server.terminate()
    assert load.failures == []
    assert {status for status, _ in load.replies} == {200}
    by_version = {r.model[1]: float(r.scores[0]) for r in logged(tmp_path) if r.scores is not None}
    assert by_version.keys() == {1, 2, 4}
    assert len(set(by_version.values())) == 3
    assert {score for _, score in load.replies} == set(by_version.values())
    assert {score for _, score in still} == {by_version[2]}
    assert last == (200, by_version[4])
    assert len(logged(tmp_path)) == len(load.replies)
    assert replayed(tmp_path, base) == 0


def test_a_version_that_vanishes_is_unloaded_and_one_that_comes_back_is_served(
    tiny: Tiny, tmp_path: Path
) -> None:
    base = tiny.copy(tmp_path / "models")
    with start(tiny, tmp_path, base=base) as server:
        shutil.move(base / "tiny" / "1", tmp_path / "aside")
        wait_until(lambda: server.get("/health/ready").status == 503, "the model is gone")
        assert server.post("/predict/tiny", record_body(GOOD)).status == 404
        shutil.move(tmp_path / "aside", base / "tiny" / "1")
        wait_until(lambda: server.get("/health/ready").status == 200, "the model is back")
        assert server.post("/predict/tiny", record_body(GOOD)).status == 200


@pytest.mark.parametrize("gate", ["enforce", "report"])
def test_the_gate_decides_what_goes_live_and_report_marks_it_unverified(
    tiny: Tiny, tmp_path: Path, gate: str
) -> None:
    base = tiny.copy(tmp_path / "models")
    spoil_golden(base / "tiny" / "1")
    with start(tiny, tmp_path, "--gate", gate, base=base) as server:
        (model,) = server.get("/models").json
        reply = server.post("/predict/tiny/1", record_body(GOOD))
        page = server.get("/metrics")
        ready = server.get("/health/ready").status
        server.terminate()
    gates = [labels for name, labels in metrics(page) if name == "samescore_servable_gate_info"]
    if gate == "enforce":
        assert "golden gate" in server.announced["failed"]["tiny version 1"]
        assert (model["status"], reply.status, ready, gates) == ("failed", 404, 503, [])
        assert "golden gate" in reply.json["message"]
        return
    assert (model["status"], model["gate"], reply.status, ready) == (
        "serving",
        "unverified",
        200,
        200,
    )
    assert any({"tiny", "1", "unverified"} <= labels for labels in gates)
    assert [r.servable["gate"] for r in logged(tmp_path)] == ["unverified"]
    assert "UNVERIFIED" in server.errors.read_text()
    assert replayed(tmp_path, base) == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda b: (b / "model.ubj").write_bytes(b"x"), "copy the bundle anew"),
        (lambda b: (b / "samescore" / "manifest.json").write_text("{"), "is no JSON"),
        (lambda b: (b / "samescore" / "golden.parquet").unlink(), "is missing"),
    ],
)
def test_a_corrupt_bundle_does_not_go_live_and_the_others_do(
    tiny: Tiny, tmp_path: Path, change: Callable[[Path], Any], said: str
) -> None:
    base = tiny.copy(tmp_path / "models")
    other = tiny.build(base, name="other")
    change(base / "tiny" / "1")
    with start(tiny, tmp_path, base=base) as server:
        assert said in server.announced["failed"]["tiny version 1"]
        assert server.post(f"/predict/{other.parent.name}", record_body(GOOD)).status == 200
        answer = server.post("/predict/tiny", record_body(GOOD))
    assert answer.status == 404
    assert said in answer.json["message"]


def test_a_pipeline_with_another_digest_does_not_go_live(tiny: Tiny, tmp_path: Path) -> None:
    site = shutil.copytree(
        tiny.site, tmp_path / "site", ignore=shutil.ignore_patterns("__pycache__")
    )
    module = site / f"{PACKAGE}.py"
    module.write_text(module.read_text().replace("np.log1p", "1.0000001 * np.log1p"))
    manifest = open_bundle(tiny.bundle).manifest
    assert manifest.pipeline is not None
    with serving(
        tiny.base, "--log", tmp_path / "log", "--pipeline", PACKAGE, errors=tmp_path / "stderr",
        environment={"PYTHONPATH": str(site)},
    ) as server:  # fmt: skip
        said = server.announced["failed"]["tiny version 1"]
    assert manifest.pipeline.digest in said
    assert "install the version that the bundle was made with" in said


# ------------------------------------------------------------------------------------------ lookups


def test_a_snapshot_that_is_published_is_read_and_replayed(tiny: Tiny, tmp_path: Path) -> None:
    base = tiny.copy(tmp_path / "models")
    rates = RATES | {"Berlin": 0.875}
    with start(tiny, tmp_path, base=base) as server:
        server.post("/predict/tiny", record_body(GOOD))
        columns = {
            "city": np.array(list(rates), object), "rate": np.array(list(rates.values()))
        }  # fmt: skip
        later = SnapshotStore(base / ".snapshots").put("rates", columns)

        def is_read() -> bool:
            server.post("/predict/tiny", record_body(GOOD))
            return logged(tmp_path)[-1].snapshots == {"rates": later}

        wait_until(is_read, "the new snapshot is read")
        server.terminate()
    requests = logged(tmp_path)
    used = {r.snapshots["rates"]: r.fields["features"]["city_rate"] for r in requests}
    assert used == {tiny.request.snapshots["rates"]: [0.25], later: [0.875]}
    assert replayed(tmp_path, base) == 0


# --------------------------------------------------------------------------------------- a full log


@pytest.mark.parametrize("policy", ["reject", "drop"])
def test_a_log_that_cannot_be_written_rejects_or_drops_as_it_was_told(
    tiny: Tiny, tmp_path: Path, policy: str
) -> None:
    import resource

    limit = 64 * 1024  # of any file that the server writes: a disk that is full
    with start(tiny, tmp_path, "--on-log-failure", policy) as server:
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (limit, limit))
        client = server.client()
        replies = [client.post("/predict/tiny/1", record_body(GOOD)) for _ in range(120)]
        page = metrics(client.get("/metrics"))
        client.close()
        server.terminate()
    answered = {r.request_id for r in replies if r.status == 200}
    kept = {r.request_id for r in logged(tmp_path)}
    dropped = page["samescore_log_drops_total", frozenset()]
    if policy == "drop":
        assert {r.status for r in replies} == {200}
        assert len(answered - kept) == dropped > 0
    else:
        assert {r.status for r in replies} == {200, 503}
        assert {r.json["code"] for r in replies if r.status == 503} == {6}
        assert answered == kept
        assert dropped == 0
    assert verify_log(tmp_path / "log").intact


# --------------------------------------------------------------------------------- InferenceService

SERVICE = '''
import json
import os


class InferenceService:
    """As TI-ONE's documentation has it: nothing of samescore in it."""

    def __init__(self, model_path):
        with open(os.path.join(model_path, "weights.json")) as f:
            self.weights = json.load(f)

    def process_request(self, request):
        if request["type"] != "libsvm":
            raise ValueError("only libsvm")
        insts = request["data"]["insts"]
        rows = [insts] if isinstance(insts, str) else insts
        scores = []
        for row in rows:
            pairs = [token.split(":") for token in row.split()[1:]]
            scores.append(sum(float(v) * self.weights.get(i, 0.0) for i, v in pairs))
        return {"message": "SUCCESS", "code": 0, "data": {"insts": scores}}
'''
SEED_PATH = (
    "/gpu_cluster/tione-33333333/inference-1525426013831-85-model-service-2009-0//predict/m47/1"
)
SEED_BODY = (
    b'{"type":"libsvm","feature_num":"524","data":{"insts":"0 1:0 2:1.0 3:565 4:9 5:6 6:47200.0 '
    b'7:15 8:0.48 9:1959200.0 10:-65535.0 11:0.0 12:0.6447333333333334 524:-65535.0"}}'
)


def test_an_inference_service_works_unchanged_with_the_seeds_own_request(tmp_path: Path) -> None:
    file = tmp_path / "model_service.py"
    file.write_text(SERVICE)
    (tmp_path / "weights.json").write_text('{"2": 0.25, "12": 0.5}')
    with serving(
        "--inference-service", "m47/1", file, tmp_path, "--log", tmp_path / "log",
        errors=tmp_path / "stderr",
    ) as server:  # fmt: skip
        reply = server.post(SEED_PATH, SEED_BODY)
        many = server.post(
            "/predict/m47", {"type": "libsvm", "data": {"insts": ["0 2:1", "0 2:2"]}}
        )
        failed = server.post("/predict/m47/1", {"type": "dense"})
        broken = server.post("/predict/m47/1", b"{")
        (model,) = server.get("/models").json
        assert server.terminate() == 0
    assert reply.status == 200
    expected = 0.25 * 1.0 + 0.5 * 0.6447333333333334
    assert reply.json == {"message": "SUCCESS", "code": 0, "data": {"insts": [expected]}}
    assert many.json["data"]["insts"] == [0.25, 0.5]
    assert (failed.status, failed.json["code"]) == (500, 4)
    assert "ValueError: only libsvm" in failed.json["message"]
    assert (broken.status, broken.json["code"]) == (400, 1)
    assert (model["name"], model["version"], model["status"]) == ("m47", 1, "serving")
    assert logged(tmp_path)[0].payload.body == SEED_BODY
    options = ("--bundles", tmp_path, "--inference-service", "m47/1", file, tmp_path)
    ran = samescore("replay", tmp_path / "log", *options, "--json")
    assert ran.code == 0
    assert ran.json["models"]["m47/1"]["rows"] == 3


def test_the_seeds_body_reaches_the_log_byte_for_byte(shared: Server) -> None:
    spaced = SEED_BODY.replace(b'"524"', b'"6"').replace(b" 524:-65535.0", b"")
    narrow = b'{ "type" : "libsvm", "data": {"insts": "0 1:0  2:1.0\\t6:0.1"} }\n'
    reply = shared.post("/predict/tiny/1", narrow)
    assert reply.status == 200
    refused = shared.post("/predict/tiny/1", spaced)
    assert refused.status == 400
    ran = samescore("log", "cat", shared.errors.parent / "log", "--request-id", reply.request_id)
    assert orjson.loads(ran.out)["payload"].encode() == narrow
