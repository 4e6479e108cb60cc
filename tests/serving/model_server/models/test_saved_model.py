from __future__ import annotations

import gc
import shutil
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel as SavedModelProto

from consistency.errors import ConfigError
from serving.model_server.models import saved_model
from serving.model_server.models.saved_model import SavedModel
from serving.model_server.models.saved_model_files import SessionOptions, load_saved_model
from serving.model_server.models.tensorflow_platform import (
    TensorFlowOptions,
    load_tensorflow,
    tensorflow_platform,
)
from serving.model_server.status import Code, StatusError
from serving.model_server.wire import tensors
from tests.serving.model_server.conftest import DTYPES

pytestmark = pytest.mark.slow

TESTDATA = Path(__file__).parents[3] / "data/tfs/testdata"
HALF = TESTDATA / "saved_model_half_plus_two_2_versions/00000123"

Loaded = Callable[[str], SavedModel]
Built = Callable[[str], Path]


def failed(call: Callable, *args: object) -> StatusError:
    with pytest.raises(StatusError) as raised:
        call(*args)
    return raised.value


def sample(dtype: str) -> np.ndarray:
    if dtype == "string":
        strings = np.empty((2, 2), dtype=object)
        strings[:] = [[b"", b"a\0"], [b"\xff\xfe", "数".encode()]]
        return strings
    import ml_dtypes

    kind = np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    octets = np.random.default_rng(1).integers(0, 256, 6 * kind.itemsize, dtype=np.uint8)
    return (octets[:6] % 2 == 1 if dtype == "bool" else octets.view(kind)).reshape(2, 3)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_goes_through_a_graph_bit_by_bit(loaded_model: Loaded, dtype: str) -> None:
    model, given = loaded_model("identities"), sample(dtype)
    for value in (given, given[:0], given.reshape(-1)[:1].reshape(())):
        proto = tensor_pb2.TensorProto()
        tensors.encode(value, proto)
        for feed in (value, proto):
            (found,) = model.run(model.signatures[dtype], {"x": feed}, ("y",))
            assert (found.dtype, found.shape) == (value.dtype, value.shape)
            if dtype == "string":
                assert found.tolist() == value.tolist()
            else:
                assert found.tobytes() == value.tobytes()


def test_outputs_come_in_the_order_asked(loaded_model: Loaded) -> None:
    model = loaded_model("two_inputs")
    signature = model.signatures["serving_default"]
    feeds = {"b": np.array(3, np.int64), "a": np.array([1, 2], np.float32)}
    total, product = model.run(signature, feeds, ("sum", "product"))
    assert total.shape == ()
    assert (total.item(), product.tolist()) == (3.0, [6.0, 12.0])
    (alone,) = model.run(signature, feeds, ("product",))
    assert alone.tolist() == [6.0, 12.0]


def test_arguments_are_numbered_as_upstream_numbers_them(loaded_model: Loaded) -> None:
    model = loaded_model("two_inputs")
    feeds = {"a": np.array([1], np.float32), "b": np.array(3, np.int32)}
    error = failed(model.run, model.signatures["serving_default"], feeds, ("sum",))
    assert error.message == "Expects arg[1] to be int64 but int32 is provided"
    assert error.code is Code.INVALID_ARGUMENT


def test_a_signature_of_a_tensor_that_is_not_there(loaded_model: Loaded) -> None:
    model = loaded_model("two_inputs")
    signature = type(model.signatures["serving_default"])()
    signature.inputs["a"].name = "nowhere:0"
    signature.outputs["y"].name = "nothing:0"
    error = failed(model.run, signature, {"a": np.zeros(1, np.float32)}, ("y",))
    assert "was not found in the Graph" in error.message
    assert error.code is Code.INVALID_ARGUMENT


def test_prepared_calls_do_not_pile_up(
    loaded_model: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saved_model, "MAX_CALLS", 2)
    model = loaded_model("identities")
    for dtype in ("int32", "float32", "int64", "int32"):
        model.run(model.signatures[dtype], {"x": sample(dtype)}, ("y",))
    assert len(model._prepared) == 2


def test_threads_share_a_model(loaded_model: Loaded) -> None:
    model = loaded_model("two_inputs")
    signature, wrong = model.signatures["serving_default"], []

    def work(seed: int) -> None:
        for step in range(50):
            feeds = {"a": np.full(3, step, np.float32), "b": np.array(seed, np.int64)}
            (found,) = model.run(signature, feeds, ("product",))
            if found.tolist() != [2.0 * step * seed] * 3:
                wrong.append((seed, step))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert model.thread_hint_seconds > 0


def test_the_session_goes_with_the_last_reference(loaded_model: Loaded) -> None:
    model = loaded_model("two_inputs")
    feeds = {"a": np.zeros(1, np.float32), "b": np.array(1, np.int64)}
    model.run(model.signatures["serving_default"], feeds, ("sum",))
    session = weakref.ref(model._session)
    gc.disable()
    try:
        del model
        assert session() is None
    finally:
        gc.enable()


def test_the_meta_graph_of_exactly_the_tags(built: Built) -> None:
    folder = built("several_graphs")
    words = np.empty(3, dtype=object)
    words[:] = [b"two", b"zero", b"none"]
    for tags, lines in (({"serve"}, [12, 10, 9]), ({"gpu", "serve"}, [13, 11, 10])):
        model = load_saved_model(folder, SessionOptions(tags=frozenset(tags)))
        (found,) = model.run(model.signatures["serving_default"], {"word": words}, ("line",))
        assert found.tolist() == lines
    error = failed(load_saved_model, folder, SessionOptions(tags=frozenset({"gpu"})))
    assert error.code is Code.NOT_FOUND
    assert error.message.startswith(
        "Could not find meta graph def matching supplied tags: { gpu }."
    )


def test_assets_move_with_the_folder(built: Built, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(built("several_graphs"), moved)
    (moved / "assets/words.txt").write_text("two\n")
    model = load_saved_model(moved)
    words = np.empty(1, dtype=object)
    words[:] = [b"two"]
    assert model.run(model.signatures["serving_default"], {"word": words}, ("line",))[0][0] == 10


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("saved_model_half_plus_two_tf2_cpu/00000123", [2.5, 3.0, 4.5]),
        ("saved_model_half_plus_two_cpu/00000123", [2.5, 3.0, 4.5]),
        ("saved_model_half_plus_three/00000123", [3.5, 4.0, 5.5]),
        ("saved_model_half_plus_two_cpu_with_saved_model_config/00000123", [2.5, 3.0, 4.5]),
        ("saved_model_half_plus_two_cpu_with_empty_saved_model_config/00000123", [2.5, 3.0, 4.5]),
        ("batching_matrix_half_plus_two/1", [2.5, 3.0, 4.5]),
    ],
)
def test_upstream_s_models(version: str, expected: list[float]) -> None:
    model = load_saved_model(TESTDATA / version)
    given = np.array([1.0, 2.0, 5.0], np.float32)
    (found,) = model.run(model.signatures["serving_default"], {"x": given}, ("y",))
    assert found.tolist() == expected


def test_a_counter_keeps_its_state_within_a_model() -> None:
    folder = TESTDATA / "saved_model_counter/00000123"
    first, second = load_saved_model(folder), load_saved_model(folder)
    counts = [
        model.run(model.signatures["incr_counter"], {}, ("output",))[0].item()
        for model in (first, first, second)
    ]
    assert counts == [1.0, 2.0, 1.0]


def test_operations_that_are_not_there_are_named() -> None:
    error = failed(load_saved_model, TESTDATA / "tf_text_regression_2020/01")
    assert error.code is Code.NOT_FOUND
    assert error.message.startswith("Op type not registered '")
    assert "install tensorflow-text" in error.message


def test_a_folder_without_a_saved_model(tmp_path: Path) -> None:
    error = failed(load_saved_model, tmp_path)
    assert error.code is Code.NOT_FOUND
    assert error.message == (
        "Specified file path does not appear to contain a SavedModel bundle (should have a file"
        f" called `saved_model.pb`)\nSpecified file path: {tmp_path}"
    )


def test_a_session_bundle() -> None:
    error = failed(load_saved_model, TESTDATA / "bad_half_plus_two/00000123")
    assert error.code is Code.UNIMPLEMENTED


def copied(tmp_path: Path) -> Path:
    folder = tmp_path / "1"
    shutil.copytree(HALF, folder)
    return folder


def test_a_damaged_graph(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    (folder / "saved_model.pb").write_bytes(b"\xff" * 100)
    error = failed(load_saved_model, folder)
    assert error.code is Code.DATA_LOSS
    assert error.message == f"Can't parse {folder / 'saved_model.pb'} as binary proto"


def test_damaged_variables(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    data = folder / "variables/variables.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:5])
    error = failed(load_saved_model, folder)
    assert error.code is Code.OUT_OF_RANGE
    assert error.message.startswith("Read less bytes than requested")


def test_variables_that_are_not_there_yet(built: Built, tmp_path: Path) -> None:
    for given in (HALF, built("two_inputs")):
        folder = tmp_path / given.parent.name
        shutil.copytree(given, folder)
        shutil.rmtree(folder / "variables")
        error = failed(load_saved_model, folder)
        assert error.code is Code.NOT_FOUND
        assert "variables.index" in error.message
        assert "still being copied" in error.message
        shutil.copytree(given / "variables", folder / "variables")
        load_saved_model(folder)


def test_variables_that_the_model_sets_itself(tmp_path: Path) -> None:
    import tensorflow as tf

    v1, folder = tf.compat.v1, tmp_path / "1"
    builder = v1.saved_model.Builder(str(folder))
    with v1.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        seven = v1.get_variable("seven", initializer=tf.constant(7.0), use_resource=False)
        eight = v1.get_variable("eight", initializer=tf.constant(8.0), use_resource=True)
        session.run(v1.global_variables_initializer())
        total = v1.saved_model.build_tensor_info(seven + eight)
        signature = v1.saved_model.build_signature_def(outputs={"y": total})
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            signature_def_map={"serving_default": signature},
            main_op=v1.global_variables_initializer(),
        )
    builder.save()
    shutil.rmtree(folder / "variables")
    model = load_saved_model(folder)
    (found,) = model.run(model.signatures["serving_default"], {}, ("y",))
    assert found == 15.0


def test_a_saved_model_in_text(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    binary = folder / "saved_model.pb"
    saved = SavedModelProto.FromString(binary.read_bytes())
    (folder / "saved_model.pbtxt").write_text(str(saved))
    binary.unlink()
    assert "serving_default" in load_saved_model(folder).signatures
    (folder / "saved_model.pbtxt").write_text("meta_graphs {")
    assert failed(load_saved_model, folder).code is Code.DATA_LOSS


def test_another_device_is_refused() -> None:
    with pytest.raises(ConfigError, match="cuda:0"):
        load_saved_model(HALF, SessionOptions(device="cuda:0"))


def test_threads_are_the_session_s(built: Built) -> None:
    options = SessionOptions(intra_op_threads=1, inter_op_threads=1)
    model = load_saved_model(built("two_inputs"), options)
    feeds = {"a": np.ones(1, np.float32), "b": np.array(1, np.int64)}
    assert model.run(model.signatures["serving_default"], feeds, ("sum",))[0] == 1.0


def test_the_platform_loads_and_unloads() -> None:
    loader = tensorflow_platform(TensorFlowOptions())(None, HALF)  # type: ignore[arg-type]
    model = loader.load()
    assert "serving_default" in model.signatures
    loader.unload(model)


def test_a_folder_of_both_kinds(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    lite = TESTDATA / "saved_model_half_plus_two_tflite/00000123/model.tflite"
    shutil.copy(lite, folder)
    assert len(load_tensorflow(folder, TensorFlowOptions()).signatures) > 1
    assert len(load_tensorflow(folder, TensorFlowOptions(prefer_tflite=True)).signatures) == 1
    full = load_tensorflow(HALF, TensorFlowOptions(prefer_tflite=True))
    assert isinstance(full, SavedModel)


def test_a_graphs_error_that_quotes_bytes_arrives_in_tensorflows_words() -> None:
    model = load_saved_model(HALF)
    signature = model.signatures["classify_x_to_y"]
    broken = np.array([b"\xff\xfe\xfd no tf.Example"], object)
    (feed,), fetches = signature.inputs, tuple(signature.outputs)
    error = failed(model.run, signature, {feed: broken}, fetches)
    assert error.code is Code.INVALID_ARGUMENT
    assert "Could not parse example input" in error.message
