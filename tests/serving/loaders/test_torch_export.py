from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from consistency.errors import BackendError, BundleError, ConfigError
from consistency.execution import Execution, apply_execution
from consistency.features import FeatureBatch
from consistency.schema import FeatureSchema, FeatureType
from serving.loaders import load_scorer
from serving.loaders.trust.grants import ModelTrust
from serving.loaders.trust.pt2_archive import find_surprise
from tests.fixtures.made_models import WIDTH, export_torch, network, torch_network

pytestmark = pytest.mark.slow  # importing torch takes seconds

BatchOf = Callable[[NDArray], FeatureBatch]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("plain") / "model.pt2"
    export_torch(torch_network(), path, torch.zeros((2, WIDTH), dtype=torch.float64))
    return path.read_bytes()


class Two(torch.nn.Module):
    def forward(self, price: Any, count: Any) -> Any:
        return {"total": price + count, "count": count}


class Pair(torch.nn.Module):
    def forward(self, x: Any) -> Any:
        return x.sum(1), x.mean(0)


def test_several_inputs_and_outputs_keep_names_and_dtypes(tmp_path: Path) -> None:
    samples = torch.zeros((2, 1)), torch.zeros((2, 1), dtype=torch.int64)
    export_torch(Two(), tmp_path / "model.pt2", *samples)
    scorer = load_scorer("torch", tmp_path)
    schema = FeatureSchema(("count", "price"), (FeatureType.INT64, FeatureType.FLOAT64))
    prices = np.array([[0.5], [0.25], [1.0]], order="F")
    outputs = scorer.score(FeatureBatch(schema, 3, prices, {"count": np.array([1, 2, 3])}))
    assert outputs["total"].tolist() == [[1.5], [2.25], [4.0]]
    assert outputs["total"].dtype == np.float32
    assert outputs["count"].dtype == np.int64


def test_an_answer_without_the_rows_first_is_refused(tmp_path: Path, batch_of: BatchOf) -> None:
    export_torch(Pair(), tmp_path / "model.pt2", torch.zeros((3, 2)))
    with pytest.raises(BackendError, match=r"output 'output_1' has shape \(2,\) for 5 rows"):
        load_scorer("torch", tmp_path).score(batch_of(np.zeros((5, 2))))


def test_a_fixed_batch_is_refused_unless_the_bundle_pads_to_it(
    tmp_path: Path, batch_of: BatchOf
) -> None:
    sample = torch.zeros((8, WIDTH), dtype=torch.float64)
    export_torch(torch_network(), tmp_path / "model.pt2", sample, dynamic=False)
    scorer = load_scorer("torch", tmp_path)
    x = np.random.default_rng(0).normal(size=(21, WIDTH))
    with pytest.raises(BackendError, match=r"exactly 8 rows.*dynamic_shapes.*padded:8"):
        scorer.score(batch_of(x))
    padded = apply_execution(Execution.parse("padded:8"), scorer)
    got = padded.score(batch_of(x))["output"]
    np.testing.assert_allclose(got, network(x), rtol=0, atol=5e-11)


def test_inputs_by_keyword_are_refused(tmp_path: Path) -> None:
    program = torch.export.export(Two(), (torch.zeros(2),), {"count": torch.zeros(2)})
    torch.export.save(program, tmp_path / "model.pt2")
    with pytest.raises(ConfigError, match="other inputs than tensors by position"):
        load_scorer("torch", tmp_path)


# ----------------------------------------------------------------------- what torch would run


def changed(data: bytes, name: str, change: Callable[[bytes], bytes]) -> bytes:
    """Return an archive with one member changed, or added."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        members = {n: old.read(n) for n in old.namelist()}
        members[f"model/{name}"] = change(members.get(f"model/{name}", b""))
        for member, content in members.items():
            new.writestr(member, content)
    return out.getvalue()


def edited(data: bytes, edit: Callable[[Any], None]) -> bytes:
    """Return an archive whose program is edited."""

    def change(text: bytes) -> bytes:
        program = json.loads(text)
        edit(program)
        return json.dumps(program).encode()

    return changed(data, "models/model.json", change)


class Runs:
    """What unpickling would call."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def weights_config(text: bytes) -> bytes:
    config = json.loads(text)
    next(iter(config["config"].values()))["use_pickle"] = True
    return json.dumps(config).encode()


def target(program: Any) -> None:
    program["graph_module"]["graph"]["nodes"][0]["target"] = "torch.serialization.os.system"


def expression(program: Any) -> None:
    size = program["graph_module"]["graph"]["tensor_values"]["x"]["sizes"][0]
    size["as_expr"]["expr_str"] = "__import__('os').system('true')"


def guard(program: Any) -> None:
    program["guards_code"] = ["__import__('os').system('true') == 0"]


def node_name(program: Any) -> None:
    program["graph_module"]["graph"]["nodes"][0]["name"] = "x\nimport os"


def tree(program: Any) -> None:
    spec = '[1, {"type": "builtins.eval", "context": "null", "children_spec": []}]'
    program["graph_module"]["module_call_graph"][0]["signature"]["in_spec"] = spec


def test_a_plain_program_holds_no_surprise(plain: bytes) -> None:
    assert find_surprise(plain) == ""


def test_the_checked_texts_are_there_to_be_checked(plain: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(plain)) as archive:
        program = json.loads(archive.read("model/models/model.json"))
    assert "guards_code" in program
    assert program["graph_module"]["graph"]["tensor_values"]["x"]["sizes"][0]["as_expr"]


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (target, "target 'torch.serialization.os.system'"),
        (expression, "expr_str"),
        (guard, "guards_code"),
        (node_name, "name"),
        (tree, "in_spec"),
    ],
)
def test_code_in_a_program_is_refused_before_torch_reads_it(
    edit: Callable[[Any], None], named: str, plain: bytes, tmp_path: Path
) -> None:
    (tmp_path / "model.pt2").write_bytes(edited(plain, edit))
    with pytest.raises(ConfigError, match=rf"holds {named}") as caught:
        load_scorer("torch", tmp_path)
    assert "--allow-pickle" in str(caught.value)


@pytest.mark.parametrize(
    ("member", "named"),
    [
        ("data/aotinductor/model/model.so", "member data/aotinductor/model/model.so"),
        ("data/weights/model.pt", r"member data/weights/model\.pt"),
        ("data/constants/opaque_obj_0", "member data/constants/opaque_obj_0"),
        ("../../outside", "member"),
        ("models/other.json", "another number of models"),
    ],
)
def test_an_odd_member_is_refused(member: str, named: str, plain: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.pt2").write_bytes(changed(plain, member, lambda _: b"{}"))
    with pytest.raises(ConfigError, match=named):
        load_scorer("torch", tmp_path)


def test_a_pickled_weight_is_refused(plain: bytes, tmp_path: Path) -> None:
    name = "data/weights/model_weights_config.json"
    (tmp_path / "model.pt2").write_bytes(changed(plain, name, weights_config))
    with pytest.raises(ConfigError, match=r"pickled tensor first\.weight"):
        load_scorer("torch", tmp_path)


def test_sample_inputs_run_nothing(plain: bytes, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    sample = "data/sample_inputs/model.pt"

    def forged(_: bytes) -> bytes:
        return pickle.dumps((Runs(mark),))

    (tmp_path / "model.pt2").write_bytes(changed(plain, sample, forged))
    with pytest.raises(ConfigError, match=r"objects other than tensors in data/sample_inputs"):
        load_scorer("torch", tmp_path)
    assert not mark.exists()
    # torch itself would have run it: what the check is for
    with suppress(Exception):
        torch.export.load(tmp_path / "model.pt2")
    assert mark.exists()


def test_an_operator_may_trust_a_file_as_a_whole(plain: bytes, tmp_path: Path) -> None:
    # torch skips extra files of text; only the check minds them
    extra = changed(plain, "extra/notes.txt", lambda _: b"trained on 2026-01-01")
    (tmp_path / "model.pt2").write_bytes(extra)
    with pytest.raises(ConfigError, match=r"member extra/notes\.txt"):
        load_scorer("torch", tmp_path)
    scorer = load_scorer("torch", tmp_path, trust=ModelTrust(allow_pickle=True))
    assert scorer.info.dtype == "float64"


def test_an_archive_of_something_else_is_damaged(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.pt2", "w") as archive:
        archive.writestr("model/models/model.json", "{")
    with pytest.raises(BundleError, match="not a whole exported program"):
        load_scorer("torch", tmp_path)
