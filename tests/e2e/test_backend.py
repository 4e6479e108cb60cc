"""`samescore serve --backend` in front of real model servers in processes of their own.

Scores, log and replay as in process; a kill under load; a hot swap. The servers are samescore's own
model server: tensorflow_model_server cannot be had here.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from consistency.log import LoggedRequest, RequestLogReader
from tests.fixtures.cli import samescore
from tests.fixtures.model_server import ModelServer, model_server
from tests.fixtures.server import Load, Reply, Server, serving, wait_until
from tests.fixtures.tiny import PACKAGE, Tiny, make_records, record_body

pytestmark = pytest.mark.slow

CONNECTIONS = 4


@pytest.fixture(scope="module")
def base(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds `net/1`: a float32 network, promoted to float64, behind the tiny pipeline."""
    folder = tmp_path_factory.mktemp("backend")
    made = folder / "models"
    tiny.build(made, name="net", model_format="saved_model", model=network(folder / "saved"),
               execution="float64")  # fmt: skip
    return made


def network(folder: Path, seed: int = 3) -> Path:
    """Save a float32 network of the tiny pipeline's six features, wide, so its bits move."""
    from serving.loaders.runtimes.tensorflow_runtime import start_tensorflow

    tf = start_tensorflow(1)
    rng = np.random.default_rng(seed)
    shapes = ((6, 256), (256, 128), (128, 1))
    weights = [tf.Variable(rng.normal(size=s) / s[0] ** 0.5, dtype="float32") for s in shapes]
    module = tf.Module()
    module.weights = weights

    @tf.function(input_signature=[tf.TensorSpec([None, 6], "float32", name="row")])
    def score(row: Any) -> Any:
        x = tf.where(tf.math.is_nan(row), tf.constant(-1.0), row) / 100.0
        for weight in weights[:-1]:
            x = tf.nn.relu(x @ weight)
        return {"score": tf.sigmoid(x @ weights[-1])}

    module.score = score
    tf.saved_model.save(module, str(folder), {"serving_default": score})
    return folder


@contextmanager
def model_servers(base: Path, folder: Path, count: int) -> Iterator[list[ModelServer]]:
    """Run model servers that serve the last two versions of `net`."""
    config = folder / "models.config"
    config.write_text(
        f'model_config_list {{ config {{ name: "net" base_path: "{base / "net"}" model_platform: '
        '"tensorflow" model_version_policy { latest { num_versions: 2 } } } }'
    )
    with ExitStack() as stack:
        yield [stack.enter_context(started(config, folder / f"server-{i}")) for i in range(count)]


def started(config: Path, errors: Path, *flags: object) -> Any:
    return model_server(f"--model_config_file={config}", *flags, errors=errors)


def addresses(protocol: str, servers: list[ModelServer]) -> list[str]:
    if protocol == "rest":
        return [f"rest://127.0.0.1:{server.rest_port}" for server in servers]
    return [f"grpc://{server.grpc}" for server in servers]


def wrapped(tiny: Tiny, base: Path, folder: Path, backends: list[str], *options: object) -> Any:
    return serving(
        base, "--pipeline", PACKAGE, "--snapshots", tiny.base / ".snapshots", "--log",
        folder / "log", "--backend", ",".join(backends), "--backend-timeout-ms", 20_000,
        "--poll-seconds", 0.1, "--backend-probe-seconds", 0.1, *options,
        errors=folder / "stderr", environment=tiny.environment(),
    )  # fmt: skip


def logged(folder: Path) -> list[LoggedRequest]:
    items = RequestLogReader(folder / "log")
    return [item for item in items if isinstance(item, LoggedRequest)]


def metric(server: Server, name: str, **labels: str) -> dict[str, float]:
    """Return a metric's values by instance, added up over other labels than those given."""
    page = server.get("/metrics").body.decode()
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                backend = sample.labels["backend"]
                found[backend] = found.get(backend, 0) + sample.value
    return found


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_scores_log_and_replay_are_as_in_process(
    protocol: str, tiny: Tiny, base: Path, tmp_path: Path
) -> None:
    with model_servers(base, tmp_path, 1) as servers:
        backends = addresses(protocol, servers)
        with wrapped(tiny, base, tmp_path, backends) as server:
            assert server.announced["serving"] == ["net version 1"], server.announced
            (model,) = server.get("/models").json
            assert (model["state"], model["gate"]) == ("AVAILABLE", "verified")
            assert [line.split(":")[0].strip() for line in model["gate_report"].splitlines()] == [
                "golden gate to 10 decimals", "batch 1", "batch 6", "batch 40",
            ]  # fmt: skip
            records = make_records(60, seed=9)
            for size in (1, 7, 20):
                for i in range(0, len(records), size):
                    body = record_body(records[i : i + size])
                    assert server.post("/predict/net/1", body).status == 200
            assert server.post("/predict/net", record_body([{"amount": "much"}])).status == 400
            assert server.terminate() == 0
    requests = logged(tmp_path)
    assert Counter(r.fields["outcome"] for r in requests) == {"ok": 72, "data_error": 1}
    answered = [r for r in requests if r.fields["outcome"] == "ok"]
    assert {r.servable["backend"] for r in answered} == set(backends)
    assert {r.servable["device"] for r in answered} == {"remote"}
    assert {r.fields["version"] for r in answered} == {1}
    replayed = samescore(
        "replay", tmp_path / "log", "--bundles", base, "--pipeline", PACKAGE,
        "--snapshots", tiny.base / ".snapshots", "--json",
    )  # fmt: skip
    assert replayed.code == 0, replayed.out + replayed.err


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_an_instance_killed_under_load_fails_no_more_than_what_was_in_flight(
    protocol: str, tiny: Tiny, base: Path, tmp_path: Path
) -> None:
    with model_servers(base, tmp_path, 2) as servers:
        backends = addresses(protocol, servers)
        with wrapped(tiny, base, tmp_path, backends, "--workers", 2) as server:
            load = Load(
                server.port,
                "/predict/net/1",
                [record_body(make_records(3))],
                connections=CONNECTIONS,
                keep=lambda reply: reply,
            )
            load.wait_for(100)
            servers[0].process.kill()
            before = len(load.acknowledged)
            load.wait_for(before + 300)
            wait_until(
                lambda: metric(server, "samescore_backend_workers")[backends[0]] == 0,
                "both workers know",
            )
            assert metric(server, "samescore_backend_workers")[backends[1]] == 2
            assert metric(server, "samescore_backend_ejections_total")[backends[0]] >= 2
            port = f"--rest_api_port={servers[0].rest_port}"
            with started(tmp_path / "models.config", tmp_path / "again",
                         port, f"--port={servers[0].grpc.rpartition(':')[2]}"):  # fmt: skip
                wait_until(
                    lambda: metric(server, "samescore_backend_workers")[backends[0]] == 2,
                    "it is back",
                )
                load.wait_for(len(load.acknowledged) + 100)
                load.stop()
            attempts = "samescore_backend_attempts_total"
            tried, answered = metric(server, attempts), metric(server, attempts, result="ok")
            sent_again = metric(server, "samescore_backend_retries_total")
            assert set(metric(server, "samescore_backend_in_flight").values()) == {0}
            assert server.terminate() == 0
    assert not load.failures
    failed = [r for r in load.replies if r.status != 200]
    assert len(failed) <= CONNECTIONS, [r.json for r in failed]
    assert {r.json["code"] for r in failed} <= {4}
    assert sum(answered.values()) == len(load.replies) - len(failed)
    # an attempt that fails is sent again or ends its request
    assert tried[backends[0]] - answered[backends[0]] >= 1
    assert sum(tried.values()) - sum(answered.values()) == (sum(sent_again.values()) + len(failed))
    by = Counter(r.servable["backend"] for r in logged(tmp_path)[-60:])
    assert set(by) == set(backends), "it gets its share again"


def test_a_hot_swap_under_load_fails_no_request(tiny: Tiny, base: Path, tmp_path: Path) -> None:
    models = shutil.copytree(base, tmp_path / "models")
    second = tiny.build(tmp_path / "later", name="net", version=2, model_format="saved_model",
                        model=network(tmp_path / "other", seed=4), execution="float64")  # fmt: skip
    with (
        model_servers(models, tmp_path, 2) as servers,
        wrapped(tiny, models, tmp_path, addresses("grpc", servers)) as server,
    ):
        load = Load(server.port, "/predict/net", [record_body(make_records(3))], connections=2)
        load.wait_for(50)
        second.rename(models / "net" / "2")
        wait_until(lambda: states(server).get(2) == "AVAILABLE", "version 2 is live", 60)
        load.wait_for(len(load.acknowledged) + 50)
        load.stop()
        assert server.terminate() == 0
    assert not load.failures
    assert set(load.replies) == {200}
    versions = [r.fields["version"] for r in logged(tmp_path)]
    assert set(versions) == {1, 2}


def states(server: Server) -> dict[int, str]:
    return {m["version"]: m["state"] for m in server.get("/models").json}


def test_a_server_that_starts_before_its_backend_serves_when_that_is_there(
    tiny: Tiny, base: Path, tmp_path: Path
) -> None:
    with model_servers(base, tmp_path, 1) as servers:
        (backend,) = addresses("rest", servers)
        servers[0].process.kill()
        servers[0].process.wait()
        with wrapped(tiny, base, tmp_path, [backend]) as server:
            assert server.announced["serving"] == []
            assert backend in server.announced["failed"]["net version 1"]
            assert server.get("/health/ready").status == 503
            with started(tmp_path / "models.config", tmp_path / "again",
                         f"--rest_api_port={servers[0].rest_port}"):  # fmt: skip
                wait_until(lambda: server.get("/health/ready").status == 200, "it is ready", 60)
                reply: Reply = server.post("/predict/net/1", record_body(make_records(2)))
                assert reply.status == 200
                assert json.loads(reply.body)["message"] == "SUCCESS"
