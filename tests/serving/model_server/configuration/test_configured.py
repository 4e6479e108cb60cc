import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from google.protobuf import text_format
from tensorflow_serving.apis.model_pb2 import ModelSpec
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from serving.core.state import ServableId
from serving.model_server.configuration.config_file import ConfigFile
from serving.model_server.configuration.configured import ConfiguredModels, CoreSettings
from serving.model_server.configuration.reload_policy import ReloadPolicy
from serving.model_server.status import Code, StatusError
from tests.fakes.served_models import HalfPlusShelf, make_version

pytestmark = pytest.mark.slow  # the stubs import TensorFlow


class House:
    """A folder of models, and what is configured to be served from it."""

    def __init__(self, base: Path) -> None:
        self.base, self.shelf, self.running = base, HalfPlusShelf(), list[ConfiguredModels]()

    def models(self, **settings: object) -> ConfiguredModels:
        chosen = {"poll_seconds": 0.01, "max_load_retries": 0, "drain_seconds": 5.0} | settings
        models = ConfiguredModels(
            {"tensorflow": self.shelf},
            CoreSettings(**chosen),  # type: ignore[arg-type]
        )
        self.running.append(models)
        return models

    def version(self, model: str, version: int | str, addend: float = 2.0) -> Path:
        return make_version(self.base / model, version, addend)

    def config(self, *models: str, **more: str) -> ModelServerConfig:
        """Return a configuration of models, each with what is written for it."""
        written = "".join(
            f'config {{ name: "{name}" base_path: "{self.base}/{name}" '
            f'model_platform: "tensorflow" {more.get(name, "")} }}'
            for name in (*models, *more)
        )
        return text_format.Parse(f"model_config_list {{ {written} }}", ModelServerConfig())


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path / "models")
    house.base.mkdir()
    yield house
    for models in house.running:
        models.stop()


def states(models: ConfiguredModels, name: str) -> dict[int, str]:
    return {s.id.version: s.state.value for s in models.statuses(name)}


def served(models: ConfiguredModels, spec: ModelSpec | str) -> int:
    handle = models.acquire(ModelSpec(name=spec) if isinstance(spec, str) else spec)
    handle.release()
    return handle.id.version


def refusal(call: Callable[[], object]) -> tuple[Code, str]:
    with pytest.raises(StatusError) as caught:
        call()
    return caught.value.code, caught.value.message


def wait_until(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.002)


# -------------------------------------------------------------------------------------------- start


def test_start_returns_when_every_model_is_there(house: House) -> None:
    house.version("a", 1)
    house.version("b", "00000007")
    models = house.models()
    models.start(house.config("a", "b"))
    assert (served(models, "a"), served(models, "b")) == (1, 7)


def test_start_waits_for_base_paths_and_versions_that_come_later(house: House) -> None:
    house.version("a", 1)
    (house.base / "empty").mkdir()
    models = house.models()
    starting = threading.Thread(target=models.start, args=(house.config("a", "empty", "missing"),))
    starting.start()
    wait_until(lambda: states(models, "a") == {1: "AVAILABLE"})
    assert starting.is_alive()
    house.version("empty", 1)
    wait_until(lambda: states(models, "empty") == {1: "AVAILABLE"})
    assert starting.is_alive()
    house.version("missing", 3)
    starting.join(30)
    assert served(models, "missing") == 3


def test_start_tells_which_models_failed(house: House) -> None:
    house.version("good", 1)
    (house.base / "bad" / "2").mkdir(parents=True)
    (house.base / "file").mkdir()
    (house.base / "file" / "3").write_text("")
    code, message = refusal(lambda: house.models().start(house.config("bad", "file", "good")))
    assert code is Code.UNKNOWN
    assert message == (
        "2 servable(s) did not become available: {"
        "{{name: bad version: 2} due to error: NOT_FOUND: no model at 2}, "
        "{{name: file version: 3} due to error: NOT_FOUND: no model at 3}, }"
    )


def test_a_start_that_waits_ends_with_the_server(house: House) -> None:
    models, told = house.models(), []
    starting = threading.Thread(
        target=lambda: told.append(refusal(lambda: models.start(house.config("missing"))))
    )
    starting.start()
    wait_until(lambda: models._configured is not None)
    models.stop()
    starting.join(30)
    assert told[0][0] is Code.ABORTED


def test_an_empty_configuration_serves_nothing_yet(house: House) -> None:
    house.version("a", 1)
    models = house.models()
    models.start(ModelServerConfig())
    models.reload(house.config("a"))
    assert served(models, "a") == 1


def test_a_load_is_tried_again_before_it_fails(house: House) -> None:
    house.version("m", 1)

    def fail_twice(_: ServableId) -> None:
        if len(house.shelf.attempts) < 3:
            raise OSError("the disk sleeps")

    house.shelf.before_load = fail_twice
    models = house.models(max_load_retries=5, load_retry_seconds=0.001)
    models.start(house.config("m"))
    assert len(house.shelf.attempts) == 3


# ----------------------------------------------------------------------------- versions come and go


def test_a_new_version_takes_over_and_an_old_one_comes_back(house: House) -> None:
    house.version("m", 1)
    models = house.models()
    models.start(house.config("m"))
    new = house.version("m", 2)
    wait_until(lambda: states(models, "m") == {2: "AVAILABLE", 1: "END"})
    shutil.rmtree(new)
    wait_until(lambda: states(models, "m") == {2: "END", 1: "AVAILABLE"})


def test_a_failed_version_leaves_the_old_one_and_is_not_mended_in_place(house: House) -> None:
    house.version("m", 1)
    models = house.models()
    models.start(house.config("m"))
    broken = house.base / "m" / "2"
    broken.mkdir()
    wait_until(lambda: states(models, "m") == {2: "END", 1: "AVAILABLE"})
    (broken / "addend.txt").write_text("3.0")
    polls = len(house.shelf.attempts)
    time.sleep(0.1)
    assert len(house.shelf.attempts) == polls == 2
    assert states(models, "m") == {2: "END", 1: "AVAILABLE"}
    (status, _) = models.statuses("m")
    assert (status.code, status.error) == (Code.NOT_FOUND, "no model at 2")


def test_a_base_path_that_is_gone_stops_nothing_and_versions_that_are_gone_do(house: House) -> None:
    house.version("m", 1)
    models = house.models()
    models.start(house.config("m"))
    moved = house.base / "m"
    moved.rename(house.base / "away")
    time.sleep(0.1)
    assert served(models, "m") == 1
    (house.base / "away" / "1").rename(house.base / "one")
    (house.base / "away").rename(moved)
    wait_until(lambda: states(models, "m") == {1: "END"})
    assert refusal(lambda: served(models, "m")) == (
        Code.NOT_FOUND,
        "Servable not found for request: Latest(m)",
    )


def test_polling_once_sees_nothing_later_but_a_reload(house: House) -> None:
    house.version("m", 1)
    models = house.models(poll_seconds=0)
    models.start(house.config("m"))
    house.version("m", 2)
    house.version("n", 5)
    time.sleep(0.1)
    assert states(models, "m") == {1: "AVAILABLE"}
    models.reload(house.config("m", "n"))
    assert served(models, "n") == 5


# ------------------------------------------------------------------------------------------- reload


def test_a_reload_replaces_the_whole_configuration(house: House) -> None:
    for name, version in (("a", 1), ("b", 1), ("b", 2), ("c", 4)):
        house.version(name, version)
    models = house.models()
    models.start(house.config("a", "b"))
    models.reload(house.config("c", b="model_version_policy { all { } }"))
    assert served(models, "c") == 4
    wait_until(lambda: states(models, "a") == {1: "END"})
    wait_until(lambda: states(models, "b") == {2: "AVAILABLE", 1: "AVAILABLE"})
    models.reload(house.config("c", b="model_version_policy { specific { } }"))
    wait_until(lambda: states(models, "b") == {2: "END", 1: "END"})


def test_a_reload_tells_which_new_models_failed_and_keeps_the_rest(house: House) -> None:
    house.version("a", 1)
    (house.base / "bad" / "1").mkdir(parents=True)
    models = house.models()
    models.start(house.config("a"))
    assert refusal(lambda: models.reload(house.config("a", "bad"))) == (
        Code.UNKNOWN,
        (
            "1 model(s) did not become available: "
            "{{{name: bad version: 1} due to error: NOT_FOUND: no model at 1}, }"
        ),
    )
    assert served(models, "a") == 1


def test_a_refused_reload_changes_nothing(house: House) -> None:
    house.version("a", 1)
    models = house.models()
    models.start(house.config("a"))
    models.reload(house.config(a='version_labels { key: "stable" value: 1 }'))
    stable = ModelSpec(name="a", version_label="stable")
    for refused in (
        house.config(a='version_labels { key: "stable" value: 77 }'),
        text_format.Parse(
            f'model_config_list {{ config {{ name: "x" base_path: "{house.base}/a" '
            'model_platform: "other" } }',
            ModelServerConfig(),
        ),
        ModelServerConfig(),
    ):
        refusal(lambda: models.reload(refused))  # noqa: B023
        assert served(models, stable) == 1
    assert models.statuses("x") == ()
    models.reload(house.config("a"))
    assert refusal(lambda: served(models, stable)) == (
        Code.INVALID_ARGUMENT,
        "Unrecognized servable version label: stable",
    )


def test_labels_at_the_start_need_the_flag(house: House) -> None:
    house.version("a", 1)
    labelled = house.config(a='version_labels { key: "stable" value: 1 }')
    assert refusal(lambda: house.models().start(labelled)) == (
        Code.FAILED_PRECONDITION,
        (
            "Request to assign label to version 1 of model a, "
            "which is not currently available for inference"
        ),
    )
    models = house.models(allow_labels_for_unavailable=True)
    models.start(labelled)
    assert served(models, ModelSpec(name="a", version_label="stable")) == 1


def test_a_reload_that_waits_blocks_no_other_and_ends_with_its_model(house: House) -> None:
    house.version("a", 1)
    house.version("b", 1)
    models, told = house.models(), []
    models.start(house.config("a"))
    waiting = threading.Thread(
        target=lambda: told.append(refusal(lambda: models.reload(house.config("a", "missing"))))
    )
    waiting.start()
    wait_until(lambda: "missing" in (models._configured or {}))
    models.reload(house.config("a", "b"))
    waiting.join(30)
    assert told[0][0] is Code.ABORTED
    assert served(models, "b") == 1


def test_a_model_that_leaves_and_comes_back_is_waited_for(house: House) -> None:
    house.version("a", 1)
    house.version("b", 1)
    models = house.models()
    models.start(house.config("a", "b"))
    for _ in range(20):
        models.reload(house.config("a"))
        models.reload(house.config("a", "b"))
        assert served(models, "b") == 1
    assert states(models, "b") == {1: "AVAILABLE"}


def test_a_reload_over_the_network_asks_the_policy(house: House) -> None:
    house.version("a", 1)
    models = house.models()
    models.start(house.config("a"))
    refused = ReloadPolicy(loopback_only=False, allowed_base_paths=(house.base / "a",))
    models.reload(house.config("a"), refused)
    assert refusal(lambda: models.reload(house.config("a", "b"), refused))[0] is (
        Code.PERMISSION_DENIED
    )
    assert served(models, "a") == 1


def test_logging_is_refused_after_the_models_are_there(house: House) -> None:
    house.version("a", 1)
    house.version("b", 1)
    models = house.models()
    models.start(house.config("a"))
    logged = house.config(b="logging_config { sampling_config { sampling_rate: 1.0 } }")
    assert refusal(lambda: models.reload(logged)) == (
        Code.INVALID_ARGUMENT,
        "No request-logger-creator provided.",
    )
    assert served(models, "b") == 1


# -------------------------------------------------------------------------------------- polled file


def test_a_polled_file_is_followed_and_a_broken_one_skipped(
    house: House, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    house.version("a", 1)
    house.version("b", 1)
    file = tmp_path / "models.config"

    def write(text: str) -> None:
        (tmp_path / "draft").write_text(text)
        (tmp_path / "draft").rename(file)

    models = house.models()
    models.start(house.config("a"))
    write("model_config_list { config {")
    poller = ConfigFile(file, models.reload, 0.01)
    poller.start()
    try:
        with caplog.at_level(logging.ERROR):
            wait_until(lambda: "Invalid protobuf file" in caplog.text)
            poller.look()
            poller.look()
        assert caplog.text.count("Invalid protobuf file") == 1
        assert served(models, "a") == 1
        # A label names what is there already: first the model, then its label.
        labelled = house.config("a", b='version_labels { key: "stable" value: 1 }')
        write(text_format.MessageToString(labelled))
        wait_until(lambda: "not currently available" in caplog.text)
        write(text_format.MessageToString(house.config("a", "b")))
        wait_until(lambda: states(models, "b") == {1: "AVAILABLE"})
        write(text_format.MessageToString(labelled))
        stable = ModelSpec(name="b", version_label="stable")
        wait_until(lambda: dict(models._labels) == {"a": {}, "b": {"stable": 1}})
        assert served(models, stable) == 1
    finally:
        poller.stop()
