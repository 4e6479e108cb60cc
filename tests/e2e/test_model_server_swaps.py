"""Hot swaps of a real `samescore model-server` under load, and SIGTERM in the middle of it.

Every version of half_plus_two has constants of its own, so that an answer proves which version it
came from, and that this one was whole. Some versions arrive file by file, some never become whole.
"""

from __future__ import annotations

import http.client
import random
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson
import pytest

from tests.fixtures.figures import Tell
from tests.fixtures.model_server import HALF_PLUS_TWO, ModelServer, model_server

pytestmark = pytest.mark.slow

MODELS: Final = tuple(f"m{i}" for i in range(10))
ROUNDS: Final = 10
SWAPS: Final = len(MODELS) * ROUNDS
RATE: Final = 200
SEEN_SECONDS: Final = 60.0
XS: Final = (0.0, 2.0)
"""What is asked: two points give both constants of a line."""


def constants(model: str, version: int) -> tuple[float, float]:
    """Return slope and offset of a version; all exact as float32, no two versions share one."""
    number = MODELS.index(model) * 64 + version
    return number + 0.5, number + 1000.0


@dataclass
class Versions:
    """The base folders, and what is whole in them.

    Attributes:
        base: has a folder of each model.
        whole: versions of which every byte is there, or is about to be.
        newest: by model, the largest version that is whole.
    """

    base: Path
    whole: set[tuple[str, int]] = field(default_factory=set)
    newest: dict[str, int] = field(default_factory=dict)

    def files(self, model: str, version: int) -> Path:
        """Make a version's files in a place that nobody watches."""
        folder = self.base / ".made" / model / str(version)
        shutil.copytree(next(HALF_PLUS_TWO.iterdir()), folder)
        save_variables(folder / "variables", *constants(model, version))
        return folder

    def publish(self, model: str, version: int) -> None:
        """Put a version there at once."""
        made = self.files(model, version)
        self.note(model, version)
        (self.base / model).mkdir(exist_ok=True)
        made.rename(self.base / model / str(version))

    def trickle(self, model: str, version: int, order: list[str], seconds: float) -> None:
        """Put a version there file by file, the last one in two halves."""
        made, folder = self.files(model, version), self.base / model / str(version)
        for name in order:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            content = (made / name).read_bytes()
            if name == order[-1]:
                target.write_bytes(content[: len(content) // 2])
                time.sleep(seconds)
                self.note(model, version)
                with target.open("ab") as stream:
                    stream.write(content[len(content) // 2 :])
            else:
                target.write_bytes(content)
                time.sleep(seconds)

    def leave_half(self, model: str, version: int, names: list[str]) -> None:
        """Put some of a version's files there, for good."""
        made, folder = self.files(model, version), self.base / model / str(version)
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(made / name, folder / name)

    def note(self, model: str, version: int) -> None:
        self.whole.add((model, version))
        self.newest[model] = max(version, self.newest.get(model, 0))


def save_variables(folder: Path, slope: float, offset: float) -> None:
    """Write half_plus_two's checkpoint with other constants."""
    import tensorflow as tf

    values = {"a": slope, "b": offset, "a2": slope, "c": offset, "c2": offset}
    tf.raw_ops.SaveV2(
        prefix=str(folder / "variables"),
        tensor_names=list(values),
        shape_and_slices=[""] * len(values),
        tensors=[tf.constant(value, tf.float32) for value in values.values()],
    )
    for part in folder.glob("variables_temp*"):
        part.unlink()


PB, INDEX = "saved_model.pb", "variables/variables.index"
DATA, ASSET = "variables/variables.data-00000-of-00001", "assets/foo.txt"
TRICKLES: Final = (
    [ASSET, PB, INDEX, DATA],
    [ASSET, PB, DATA, INDEX],
    [ASSET, INDEX, DATA, PB],
)
HALVES: Final = ([PB], [PB, INDEX], [PB, DATA, ASSET], [INDEX, DATA, ASSET], [PB, ASSET])


@dataclass
class Clients:
    """Threads that ask one request after the other, over gRPC and over REST.

    Attributes:
        answers: how many, by protocol, model and version.
        wrong: answers that no whole version gives.
        failures: everything else; `ended` has how each thread's last request ended.
    """

    server: ModelServer
    versions: Versions
    answers: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    def over_grpc(self, seed: int) -> None:
        import grpc
        from tensorflow_serving.apis import prediction_service_pb2_grpc

        chance = random.Random(seed)
        with grpc.insecure_channel(self.server.grpc) as channel:
            predict = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict
            while not self.stopping.is_set():
                model = chance.choice(MODELS)
                try:
                    answer = predict(asked(model), timeout=30)
                except grpc.RpcError as error:
                    self.end(f"gRPC {error.code().name}: {error.details()}")
                    return
                found = list(answer.outputs["y"].float_val)
                self.check("gRPC", model, found, answer.model_spec.version.value)

    def over_rest(self, seed: int) -> None:
        chance = random.Random(seed)
        connection = http.client.HTTPConnection("127.0.0.1", self.server.rest_port, timeout=30)
        while not self.stopping.is_set():
            model = chance.choice(MODELS)
            try:
                body = orjson.dumps({"instances": XS})
                connection.request("POST", f"/v1/models/{model}:predict", body)
                reply = connection.getresponse()
                raw = reply.read()
            except (OSError, http.client.HTTPException) as error:
                self.end(f"REST {type(error).__name__}: {error}")
                break
            if reply.status != 200:
                self.end(f"REST {reply.status}: {raw!r}")
                break
            self.check("REST", model, orjson.loads(raw)["predictions"])
        connection.close()

    def check(self, face: str, model: str, found: list[float], told: int | None = None) -> None:
        """Find out which version answered; the line through both points is one version's."""
        version = round(found[0] - 1000.0) - MODELS.index(model) * 64
        slope, offset = constants(model, version)
        is_right = found == [slope * x + offset for x in XS] and told in {None, version}
        if not is_right or (model, version) not in self.versions.whole:
            self.wrong.append(f"{face} {model} answered {found}, version {told}")
        self.answers[face, model, version] += 1

    def end(self, how: str) -> None:
        (self.ended if self.stopping.is_set() else self.failures).append(how)
        self.ended.append(how)

    @property
    def count(self) -> int:
        return sum(self.answers.copy().values())

    def have_seen(self, face: str, model: str, version: int) -> bool:
        return self.answers[face, model, version] > 0


def asked(model: str) -> Any:
    from tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    tensor = request.inputs["x"]
    tensor.dtype = 1
    tensor.tensor_shape.dim.add().size = len(XS)
    tensor.float_val.extend(XS)
    return request


@contextmanager
def load(server: ModelServer, versions: Versions) -> Iterator[tuple[Clients, Callable[[], None]]]:
    """Ask over two gRPC channels and two HTTP connections; yields the clients and a join."""
    clients = Clients(server, versions)
    kinds = (clients.over_grpc, clients.over_rest, clients.over_grpc, clients.over_rest)
    threads = [threading.Thread(target=k, args=(i,), daemon=True) for i, k in enumerate(kinds)]
    for thread in threads:
        thread.start()

    def join() -> None:
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()

    try:
        yield clients, join
    finally:
        clients.stopping.set()
        join()


@contextmanager
def serving(tmp_path: Path, versions: Versions) -> Iterator[ModelServer]:
    for model in MODELS:
        versions.publish(model, 1)
    entries = " ".join(
        f'config {{ name: "{m}" base_path: "{versions.base / m}" model_platform: "tensorflow" }}'
        for m in MODELS
    )
    config = tmp_path / "models.config"
    config.write_text(f"model_config_list {{ {entries} }}")
    with model_server(
        f"--model_config_file={config}", "--load_retry_interval_micros=200000",
        "--max_num_load_retries=1000", errors=tmp_path / "errors",
    ) as server:  # fmt: skip
        yield server


def test_100_swaps_under_load_fail_no_request_and_serve_nothing_half_written(
    tmp_path: Path, tell: Tell
) -> None:
    versions = Versions(tmp_path / "base")
    with serving(tmp_path, versions) as server, load(server, versions) as (clients, join):
        started, swaps = time.monotonic(), 0
        for number in range(ROUNDS):
            disturb(versions, number)
            for model in MODELS:
                if versions.newest[model] < version_of(number):
                    versions.publish(model, version_of(number))
            swaps += await_all(clients, versions)
        seconds = time.monotonic() - started
        answered = clients.count
        clients.stopping.set()
        join()
        check_never_whole(server)
    tell(
        f"{swaps} swaps in {seconds:.1f} s, {answered} answers, "
        f"{answered / seconds:.0f} a second, {len(clients.failures + clients.wrong)} failed"
    )
    assert not clients.failures + clients.wrong
    assert swaps == SWAPS
    assert answered >= RATE * seconds
    assert {face for face, _, _ in clients.answers} == {"gRPC", "REST"}


def version_of(number: int) -> int:
    """Return the version that a round ends with; those between are never whole."""
    return 3 * number + 4


def disturb(versions: Versions, number: int) -> None:
    """Let two models have something half written first: one is completed, one never is."""
    slow, never = MODELS[number % len(MODELS)], MODELS[(number + 1) % len(MODELS)]
    versions.leave_half(never, version_of(number) - 1, HALVES[number % len(HALVES)])
    versions.trickle(slow, version_of(number), TRICKLES[number % len(TRICKLES)], 0.4)


def check_never_whole(server: ModelServer) -> None:
    """What never became whole was tried, and is there with its reason."""
    for number in range(ROUNDS):
        model, version = MODELS[(number + 1) % len(MODELS)], version_of(number) - 1
        (status,) = server.get(f"/v1/models/{model}/versions/{version}").json[
            "model_version_status"
        ]
        assert status["state"] == "END"
        assert status["status"]["error_code"] != "OK"
        assert status["status"]["error_message"]


def await_all(clients: Clients, versions: Versions) -> int:
    """Wait until each model's newest version was seen over both protocols; return how many."""
    deadline = time.monotonic() + SEEN_SECONDS
    missing = {(face, model) for face in ("gRPC", "REST") for model in MODELS}
    while missing:
        assert not clients.failures + clients.wrong, (clients.failures[:3], clients.wrong[:3])
        assert time.monotonic() < deadline, missing
        time.sleep(0.01)
        missing -= {(f, m) for f, m in missing if clients.have_seen(f, m, versions.newest[m])}
    return len(MODELS)


@pytest.mark.parametrize("turn", range(3))
def test_sigterm_under_load_answers_everything_that_was_sent(tmp_path: Path, turn: int) -> None:
    versions = Versions(tmp_path / "base")
    with serving(tmp_path, versions) as server, load(server, versions) as (clients, join):
        while clients.count < 300 * (turn + 1):
            assert not clients.failures
            time.sleep(0.01)
        assert server.terminate() == 0
        join()  # each thread ends when it is refused
    print(clients.ended)
    assert not clients.wrong
    assert len(clients.ended) == 4
    for how in clients.ended:
        assert how.startswith(("gRPC UNAVAILABLE: ", "REST ConnectionRefusedError: ")), how
