"""The core under its own API: upstream's recorded cases, and swaps under load."""

import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, Self

import pytest
from google.protobuf import text_format
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_pb2,
    predict_pb2,
    regression_pb2,
)
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from serving.core.loader import LoaderFactory
from serving.core.state import ServableId
from serving.model_server.api import InferenceApi, ServedModel
from serving.model_server.configuration.configured import CoreSettings
from serving.model_server.models.saved_model_files import load_saved_model
from serving.model_server.server_core import ServerCore
from serving.model_server.status import Code, StatusError
from tests.fakes.served_models import HalfPlusShelf, make_version

pytestmark = pytest.mark.slow

DATA = Path(__file__).parents[2] / "data/tfs"
RECORDED = json.loads((DATA / "grpc_cases.json").read_text())
REQUESTS: dict[str, tuple[type[Any], str]] = {
    "Predict": (predict_pb2.PredictRequest, "predict"),
    "Classify": (classification_pb2.ClassificationRequest, "classify"),
    "Regress": (regression_pb2.RegressionRequest, "regress"),
    "MultiInference": (inference_pb2.MultiInferenceRequest, "multi_inference"),
    "GetModelMetadata": (get_model_metadata_pb2.GetModelMetadataRequest, "get_model_metadata"),
    "GetModelStatus": (get_model_status_pb2.GetModelStatusRequest, "get_model_status"),
    "HandleReloadConfigRequest": (
        model_management_pb2.ReloadConfigRequest,
        "handle_reload_config",
    ),
}
MODELS = """
model_config_list {
  config { name: "half" base_path: "TESTDATA/saved_model_half_plus_two_2_versions"
    model_platform: "tensorflow" model_version_policy { specific { versions: 123 } }
    version_labels { key: "stable" value: 123 } }
  config { name: "both" base_path: "TESTDATA/saved_model_half_plus_two_2_versions"
    model_platform: "tensorflow" model_version_policy { all { } } }
  config { name: "three" base_path: "TESTDATA/saved_model_half_plus_three"
    model_platform: "tensorflow" }
}
"""


class SavedModelLoader:
    """The smallest loader of a real SavedModel."""

    def __init__(self, servable_id: ServableId, path: Path) -> None:
        self.path = path

    def load(self) -> ServedModel:
        return load_saved_model(self.path)

    def unload(self, servable: ServedModel) -> None:
        """The last reference takes it along."""


def core_of(loaders: LoaderFactory[ServedModel], **settings: Any) -> ServerCore:
    chosen = {
        "poll_seconds": 0.005,
        "max_load_retries": 0,
        "allow_labels_for_unavailable": True,
        **settings,
    }
    return ServerCore({"tensorflow": loaders}, CoreSettings(**chosen))


@pytest.fixture(scope="module")
def recorded() -> Iterator[ServerCore]:
    """One core for what only asks, and one for what may change what is served."""
    core = core_of(SavedModelLoader)
    text = MODELS.replace("TESTDATA", str(DATA / "testdata"))
    core.start(text_format.Parse(text, ModelServerConfig()))
    yield core
    core.stop()


def purpose(case: dict[str, Any]) -> str:
    return "reloading" if case["method"] == "HandleReloadConfigRequest" else "asking"


@cache
def request_of(case_id: str) -> tuple[str, Any]:
    (case,) = [c for c in RECORDED["cases"] if c["id"] == case_id]
    kind, method = REQUESTS[case["method"]]
    text = case["request_text"].replace("TESTDATA", str(DATA / "testdata"))
    return method, text_format.Parse(text, kind())


@pytest.mark.parametrize(
    ("recorded", "case"),
    [pytest.param(purpose(case), case, id=case["id"]) for case in RECORDED["cases"]],
    indirect=["recorded"],
    scope="module",
)
def test_it_answers_as_upstream_did(recorded: ServerCore, case: dict[str, Any]) -> None:
    method, request = request_of(case["id"])
    expected = case["expect"]
    call: Callable[[Any], Any] = getattr(recorded, method)
    if expected["code"] != "OK":
        with pytest.raises(StatusError) as caught:
            call(request)
        assert (caught.value.code.name, caught.value.message) == (
            expected["code"],
            expected["message"],
        )
        return
    answer = call(request)
    assert answer == text_format.Parse(expected["response_text"], type(answer)())


def test_a_label_and_a_version_choose_what_answers(tmp_path: Path) -> None:
    for version in (1, 2):
        make_version(tmp_path / "m", version, addend=version)
    core = core_of(HalfPlusShelf())
    core.start(config(tmp_path, 'version_labels { key: "old" value: 1 }'))
    try:
        for version in (1, 2):
            wait_for(core, version, "AVAILABLE")
        old = model_pb2.ModelSpec(name="m", version_label="old")
        first = model_pb2.ModelSpec(name="m")
        first.version.value = 1
        newest = model_pb2.ModelSpec(name="m")
        for spec, version in ((old, 1), (first, 1), (newest, 2)):
            answer = core.predict(half(spec))
            assert answer.model_spec.version.value == version
            assert answer.model_spec.version_label == ""
            assert list(answer.outputs["y"].float_val) == [1.0 + version]
    finally:
        core.stop()


def test_the_signature_of_a_request(tmp_path: Path) -> None:
    make_version(tmp_path / "m", 1)
    core = core_of(HalfPlusShelf())
    core.start(config(tmp_path))
    api: InferenceApi = core
    try:
        spec = model_pb2.ModelSpec(name="m")
        assert api.signature(spec).inputs["x"].dtype == 1
        spec.signature_name = "nope"
        with pytest.raises(StatusError) as caught:
            api.signature(spec)
        assert (caught.value.code, caught.value.message) == (
            Code.INVALID_ARGUMENT,
            'Serving signature name: "nope" not found in signature def',
        )
        with pytest.raises(StatusError, match="Latest\\(four\\)"):
            api.signature(model_pb2.ModelSpec(name="four"))
    finally:
        core.stop()


def test_a_reload_tells_what_it_changed(tmp_path: Path) -> None:
    make_version(tmp_path / "m", 1)
    counts = {":tensorflow:serving:loads": 0}
    core = ServerCore(
        {"tensorflow": HalfPlusShelf(lambda _: counts.update({":tensorflow:serving:loads": 1}))},
        CoreSettings(poll_seconds=0.005),
        metric=lambda name: counts.get(name, 0),
    )
    core.start(ModelServerConfig())
    try:
        request = model_management_pb2.ReloadConfigRequest(
            config=config(tmp_path), metric_names=[":tensorflow:serving:loads", "unknown"]
        )
        answer = core.handle_reload_config(request)
        assert (answer.status.error_code, answer.status.error_message) == (0, "")
        assert [(m.name, m.int64_value_increase) for m in answer.metric] == [
            (":tensorflow:serving:loads", 1),
            ("unknown", 0),
        ]
    finally:
        core.stop()


class Clients:
    """Threads that predict without a pause; an answer has to be that of the version it names."""

    def __init__(self, core: ServerCore, addend_of: Callable[[int], float]) -> None:
        self.core, self.addend_of = core, addend_of
        self.failures, self.answers = list[BaseException](), [0, 0, 0, 0]
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(4)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def _run(self, number: int) -> None:
        request = half(model_pb2.ModelSpec(name="m"))
        while not self._stop.is_set():
            try:
                answer = self.core.predict(request)
                addend = self.addend_of(answer.model_spec.version.value)
                assert list(answer.outputs["y"].float_val) == [1.0 + addend]
                self.answers[number] += 1
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is a failure
                self.failures.append(error)


def put_copy(base: Path, version: int) -> None:
    draft = base / f".{version}"
    shutil.copytree(DATA / "testdata/saved_model_half_plus_two_2_versions/00000123", draft)
    draft.rename(base / str(version))


@pytest.mark.parametrize(
    ("loaders", "put", "addend_of", "last"),
    [
        pytest.param(
            HalfPlusShelf(), lambda b, v: make_version(b, v, addend=v), float, 40, id="small"
        ),
        pytest.param(SavedModelLoader, put_copy, lambda _: 2.0, 10, id="half_plus_two"),
    ],
)
def test_no_request_fails_while_versions_come_and_go(
    tmp_path: Path,
    loaders: LoaderFactory[ServedModel],
    put: Callable[[Path, int], object],
    addend_of: Callable[[int], float],
    last: int,
) -> None:
    """Every second version that comes is broken."""
    base = tmp_path / "m"
    base.mkdir()
    put(base, 1)
    core = core_of(loaders)
    core.start(config(tmp_path))
    try:
        with Clients(core, addend_of) as clients:
            for version in range(2, last, 2):
                (base / str(version)).mkdir()
                wait_for(core, version, "END")
                put(base, version + 1)
                wait_for(core, version + 1, "AVAILABLE")
                shutil.rmtree(base / str(version))
    finally:
        core.stop()
    assert clients.failures == []
    assert all(clients.answers)
    with pytest.raises(StatusError) as caught:
        core.predict(half(model_pb2.ModelSpec(name="m")))
    assert caught.value.code is Code.NOT_FOUND


def config(base: Path, more: str = "") -> ModelServerConfig:
    policy = "model_version_policy { all { } }" if more else ""
    return text_format.Parse(
        f'model_config_list {{ config {{ name: "m" base_path: "{base}/m" '
        f'model_platform: "tensorflow" {policy} {more} }} }}',
        ModelServerConfig(),
    )


def half(spec: model_pb2.ModelSpec) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest(model_spec=spec)
    request.inputs["x"].dtype = 1
    request.inputs["x"].tensor_shape.dim.add(size=1)
    request.inputs["x"].float_val.append(2.0)
    return request


def wait_for(core: ServerCore, version: int, state: str) -> None:
    deadline = time.monotonic() + 60
    while not any(
        s.id.version == version and s.state.value == state for s in core.models.statuses("m")
    ):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.002)
