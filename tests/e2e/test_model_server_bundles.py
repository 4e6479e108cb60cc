"""Bundles of every kind under the model server's core: hot-plugged, versioned, labelled, gated."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from consistency.postprocess import Platt, PostProcess
from consistency.schema import FeatureSchema
from samescore.bundling import BundleRequest, build_bundle
from tests.fixtures.cli import samescore
from tests.fixtures.made_models import WIDTH, Made, make, network
from tests.fixtures.model_server import ModelServer, model_server
from tests.fixtures.server import wait_until
from tests.fixtures.tensorflow_apart import apart, saved_model_bundle
from tests.fixtures.tiny import spoil_golden

pytestmark = pytest.mark.slow

NAMES = tuple(f"f{i}" for i in range(WIDTH))
HALVED = PostProcess(calibration=Platt(slope=0.5, intercept=0.0))


@pytest.fixture(scope="module")
def rows() -> NDArray:
    return np.random.default_rng(21).normal(size=(200, WIDTH))


def make_one(name: str, folder: Path, rows: NDArray) -> Made:
    folder.mkdir()
    return make(name, folder, rows, (rows[:, 0] > 0).astype(float))


def bundle(made: Made, base: Path, rows: NDArray, version: int = 1, **more: Any) -> Path:
    request = BundleRequest(
        name="m", version=version, model_format=made.format, model=made.folder / made.file,
        golden=rows[:50], features=FeatureSchema.float64(NAMES), trust=made.trust,
        postprocess=more.pop("postprocess", scores_of(made)), **more,
    )  # fmt: skip
    return build_bundle(base, request)


def make_bundle(kind: str, base: Path, rows: NDArray, version: int = 1) -> Made:
    """Train a model and bundle it."""
    if kind != "saved_model":
        made = make_one(kind, base.with_name(f"{base.name}-{kind}"), rows)
        bundle(made, base, rows, version)
        return made
    held = base.with_name(f"{base.name}.npy")
    np.save(held, rows)
    apart(saved_model_bundle, held, NAMES, base, version)
    return Made(kind, base, "saved_model.pb", network, "p")


def scores_of(made: Made) -> PostProcess:
    return PostProcess(made.output, 1 if made.output == "predict_proba" else None)


def opt_ins(made: Made, link: str = "_") -> list[str]:
    types = [f"--trust{link}type={name}" for name in sorted(made.trust.types)]
    return [*types, *([f"--allow{link}pickle"] if made.trust.allow_pickle else [])]


def column(values: NDArray) -> NDArray:
    return np.float64(values[:, -1] if values.ndim == 2 else values)


def states(server: ModelServer) -> Mapping[str, str]:
    found = server.get("/v1/models/m").json["model_version_status"]
    return {status["version"]: status["state"] for status in found}


def predicted(server: ModelServer, body: Any, where: str = "") -> NDArray:
    reply = server.post(f"/v1/models/m{where}:predict", body)
    assert reply.status == 200, reply.body
    return np.float64(reply.json["predictions"])


KINDS = ("xgboost", "lightgbm", "torch", "onnx", "sklearn", "sklearn_forest", "sklearn_pickle",
         "saved_model")  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_bundle_of_any_format_is_gated_served_logged_and_replayed(
    kind: str, rows: NDArray, tmp_path: Path
) -> None:
    made = make_bundle(kind, tmp_path / "models", rows)
    log = tmp_path / "log"
    config = tmp_path / "models.config"
    config.write_text(
        f'model_config_list {{ config {{ name: "m" base_path: "{tmp_path}/models/m" '
        'model_platform: "samescore" } }'
    )
    with model_server(
        f"--model_config_file={config}", "--golden_gate=enforce", "--request_log", log,
        "--rest_api_exact_floats", *opt_ins(made), errors=tmp_path / "errors",
    ) as server:  # fmt: skip
        for start, stop in ((0, 1), (1, 8), (8, 72)):
            part = rows[start:stop]
            expected = column(made.expected(part))
            if kind != "saved_model":
                by_name = [dict(zip(NAMES, row, strict=True)) for row in part.tolist()]
                found = predicted(server, {"instances": by_name})
                np.testing.assert_allclose(found, expected, rtol=0, atol=5e-11)
                matrix = {"signature_name": "matrix", "instances": part.tolist()}
            else:
                matrix = {"instances": part.tolist()}
            found = predicted(server, matrix)
            np.testing.assert_allclose(
                column(found.reshape(len(part), -1)), expected, rtol=0, atol=5e-11
            )
        assert server.terminate() == 0
    ran = samescore("replay", log, "--bundles", tmp_path / "models", "--json",
                    *opt_ins(made, "-"))  # fmt: skip
    assert ran.code == 0, ran.out + ran.err
    assert ran.json["models"]["m/1"]["rows"] == (72 if kind == "saved_model" else 144)


def test_versions_of_several_formats_are_hot_plugged_and_labelled(
    rows: NDArray, tmp_path: Path
) -> None:
    import grpc
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    base = tmp_path / "models"
    xgboost = make_one("xgboost", tmp_path / "xgboost", rows)
    lightgbm = make_one("lightgbm", tmp_path / "lightgbm", rows)
    torch = make_one("torch", tmp_path / "torch", rows)
    bundle(xgboost, base, rows)
    config = tmp_path / "models.config"

    def configure(labels: str) -> None:
        config.write_text(
            f'model_config_list {{ config {{ name: "m" base_path: "{base}/m" '
            f'model_platform: "tensorflow" model_version_policy {{ all {{}} }} {labels} }} }}'
        )

    configure("")
    matrix = {"signature_name": "matrix", "instances": rows[:5].tolist()}
    with model_server(
        f"--model_config_file={config}", "--model_config_file_poll_wait_seconds=1",
        "--enable_bundles", "--rest_api_exact_floats", errors=tmp_path / "errors",
    ) as server:  # fmt: skip
        np.testing.assert_allclose(predicted(server, matrix), xgboost.expected(rows[:5]))
        bundle(lightgbm, base, rows, 2)
        bundle(torch, base, rows, 3)
        wait_until(
            lambda: states(server) == dict.fromkeys(("1", "2", "3"), "AVAILABLE"), "all are there"
        )
        for version, made in ((1, xgboost), (2, lightgbm), (3, torch)):
            found = predicted(server, matrix, f"/versions/{version}")
            np.testing.assert_allclose(found, column(made.expected(rows[:5])), rtol=0, atol=5e-11)
        configure('version_labels { key: "canary" value: 2 }')
        wait_until(
            lambda: server.post("/v1/models/m/labels/canary:predict", matrix).status == 200,
            "the label is there",
        )
        found = predicted(server, matrix, "/labels/canary")
        np.testing.assert_array_equal(found, lightgbm.expected(rows[:5]))
        request = predict_pb2.PredictRequest()
        request.model_spec.name, request.model_spec.version_label = "m", "canary"
        for name, values in zip(NAMES, rows[:5].T, strict=True):
            request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
        with grpc.insecure_channel(server.grpc) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            answer = stub.Predict(request, timeout=30)
        np.testing.assert_array_equal(tf.make_ndarray(answer.outputs["scores"]), found)
        assert answer.model_spec.version.value == 2
        shutil.rmtree(base / "m" / "3")
        wait_until(lambda: states(server)["3"] == "END", "3 is gone")
        np.testing.assert_array_equal(predicted(server, matrix), found)


def test_a_version_that_fails_its_gate_ends_with_the_report_and_the_old_one_serves(
    rows: NDArray, tmp_path: Path
) -> None:
    made = make_one("xgboost", tmp_path / "model", rows)
    base = tmp_path / "models"
    bundle(made, base, rows)
    flags = ["--model_name=m", f"--model_base_path={base}/m", "--enable_bundles"]
    matrix = {"signature_name": "matrix", "instances": rows[:2].tolist()}
    with model_server(*flags, "--golden_gate=enforce", errors=tmp_path / "errors") as server:
        drawer = tmp_path / "drawer"
        spoiled = spoil_golden(bundle(made, drawer, rows, 2))
        shutil.move(spoiled, base / "m" / "2")
        wait_until(lambda: states(server).get("2") == "END", "2 has failed, without retries")
        (failed, serving) = server.get("/v1/models/m").json["model_version_status"]
        assert failed["status"]["error_code"] == "FAILED_PRECONDITION"
        text = failed["status"]["error_message"]
        assert "golden gate to 10 decimals: FAILED" in text
        assert "largest |Δ| 1e-07" in text
        assert "--golden_gate=report" in text
        assert serving["state"] == "AVAILABLE"
        assert server.post("/v1/models/m/versions/2:predict", matrix).status == 404
        assert predicted(server, matrix).shape == (2,)
    with model_server(*flags, "--golden_gate=report", "--request_log", tmp_path / "log",
                      errors=tmp_path / "report") as server:  # fmt: skip
        assert states(server)["2"] == "AVAILABLE"
        predicted(server, matrix)
        assert "m version 2 is served UNVERIFIED: golden gate to 10" in server.errors.read_text()
        assert server.terminate() == 0
    (line,) = next((tmp_path / "log").glob("*.jsonl")).read_text().splitlines()
    assert '"gate":"unverified"' in line
    with model_server(*flags, errors=tmp_path / "off") as server:  # as upstream: nobody asks
        assert states(server)["2"] == "AVAILABLE"


def test_a_saved_model_bundle_is_gated_on_the_plain_platform(rows: NDArray, tmp_path: Path) -> None:
    base, drawer = tmp_path / "models", tmp_path / "drawer"
    made = make_bundle("saved_model", base, rows)
    make_bundle("saved_model", drawer, rows, 2)
    shutil.move(spoil_golden(drawer / "m" / "2"), base / "m" / "2")
    config = tmp_path / "models.config"
    config.write_text(
        f'model_config_list {{ config {{ name: "m" base_path: "{base}/m" '
        'model_platform: "tensorflow" } }'
    )
    ran = samescore("model-server", "--port=auto", f"--model_config_file={config}",
                    "--golden_gate=enforce")  # fmt: skip
    assert ran.code == 255
    assert "1 servable(s) did not become available" in ran.out
    assert "golden gate to 10 decimals: FAILED" in ran.out
    shutil.rmtree(base / "m" / "2")
    with model_server(f"--model_config_file={config}", "--golden_gate=enforce",
                      errors=tmp_path / "errors2") as server:  # fmt: skip
        body = {"instances": rows[:3].tolist()}
        found = predicted(server, body)
        np.testing.assert_allclose(found, made.expected(rows[:3]), rtol=0, atol=5e-11)


def test_without_the_opt_in_a_pickle_is_not_loaded_and_a_bundle_is_no_saved_model(
    rows: NDArray, tmp_path: Path
) -> None:
    made = make_one("sklearn_pickle", tmp_path / "model", rows)
    base = tmp_path / "models"
    bundle(made, base, rows)
    flags = ["--model_name=m", f"--model_base_path={base}/m", "--max_num_load_retries=0"]
    for more, said in (
        (["--enable_bundles"], "--allow-pickle"),
        ([], "It is a bundle of samescore's: --enable_bundles loads it"),
    ):
        ran = samescore("model-server", "--port=auto", *flags, *more)
        assert ran.code == 255
        assert said in ran.out


def test_classify_and_regress_are_refused_with_a_reason(rows: NDArray, tmp_path: Path) -> None:
    made = make_one("xgboost", tmp_path / "model", rows)
    base = tmp_path / "models"
    bundle(made, base, rows, postprocess=HALVED)
    with model_server("--model_name=m", f"--model_base_path={base}/m", "--enable_bundles",
                      "--rest_api_exact_floats", errors=tmp_path / "errors") as server:  # fmt: skip
        for verb in ("classify", "regress"):
            reply = server.post(f"/v1/models/m:{verb}", {"examples": [{"f0": 1.0}]})
            assert reply.status == 400
            assert b"a bundle answers Predict only" in reply.body
        matrix = {"signature_name": "matrix", "instances": rows[:4].tolist()}
        np.testing.assert_array_equal(
            predicted(server, matrix),
            HALVED({"output": made.expected(rows[:4])}),
        )
        by_name = [dict(zip(NAMES, row, strict=True)) for row in rows[:4].tolist()]
        raw = predicted(server, {"signature_name": "raw_outputs", "instances": by_name})
        np.testing.assert_array_equal(np.float32(raw), made.expected(rows[:4]))


def test_a_bundle_is_batched_and_warmed_up_by_what_its_clients_sent(
    rows: NDArray, tmp_path: Path
) -> None:
    made, base = make_bundle("lightgbm", tmp_path / "models", rows), tmp_path / "models"
    config = tmp_path / "models.config"
    config.write_text(
        f'model_config_list {{ config {{ name: "m" base_path: "{base}/m" '
        'model_platform: "samescore" logging_config {'
        f' log_collector_config {{ filename_prefix: "{tmp_path}/sent" }}'
        " sampling_config { sampling_rate: 1.0 } } } }"
    )
    flags = [
        f"--model_config_file={config}", "--enable_request_logging", "--rest_api_exact_floats",
        "--max_num_load_retries=0",
    ]  # fmt: skip
    matrix = {"signature_name": "matrix", "instances": rows[:3].tolist()}
    with model_server(*flags, errors=tmp_path / "first") as server:
        predicted(server, matrix)
        assert server.terminate() == 0
    (sent,) = tmp_path.glob("sent-*.tfrecord")
    extra = base / "m" / "1" / "assets.extra"
    extra.mkdir()
    sent.rename(extra / "tf_serving_warmup_requests")
    with model_server(
        *flags, "--enable_batching", "--golden_gate=enforce", "--request_log", tmp_path / "log",
        errors=tmp_path / "second",
    ) as server:  # fmt: skip

        def ask(start: int) -> NDArray:
            part = rows[start : start + 4].tolist()
            return predicted(server, {"signature_name": "matrix", "instances": part})

        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(ask, range(0, 160, 4)))
        np.testing.assert_array_equal(np.concatenate(found), made.expected(rows[:160]))
        assert server.terminate() == 0
    ran = samescore("replay", tmp_path / "log", "--bundles", base, "--json", "--jobs", 2)
    assert ran.code == 0, ran.out
    assert ran.json["models"]["m/1"]["stages"]["outputs"]["rows_identical"] == 160
