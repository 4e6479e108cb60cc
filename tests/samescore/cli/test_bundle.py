from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from consistency.bundle import open_bundle
from consistency.compare import compare
from consistency.digest import digest_bytes
from tests.fixtures.cli import Ran, mistake, samescore
from tests.fixtures.tiny import PACKAGE, Tiny, spoil_golden


@pytest.fixture
def files(tiny: Tiny, tmp_path: Path) -> Path:
    """What a data scientist has at hand after training."""
    shutil.copyfile(tiny.request.model, tmp_path / "model.ubj")
    (tmp_path / "state.json").write_bytes(tiny.request.state.to_bytes())
    for name, records in (("golden", tiny.records[:20]), ("sample", tiny.records)):
        lines = b"\n".join(map(orjson.dumps, records))
        (tmp_path / f"{name}.jsonl").write_bytes(lines + b"\n")
    shutil.copytree(tiny.base / ".snapshots", tmp_path / "models" / ".snapshots")
    return tmp_path


def arguments(files: Path, **changes: Any) -> list[object]:
    """The arguments of `bundle build`; None takes one out."""
    options: dict[str, Any] = {
        "name": "mine",
        "version": 2,
        "format": "xgboost",
        "model": files / "model.ubj",
        "pipeline": f"{PACKAGE}:pipeline",
        "state": files / "state.json",
        "golden": files / "golden.jsonl",
        "reference": files / "sample.jsonl",
    }
    options |= {name.replace("_", "-"): value for name, value in changes.items()}
    made: list[object] = ["bundle", "build", files / "models"]
    for name, value in options.items():
        if value is not None:
            made += [f"--{name}", *(value if isinstance(value, tuple) else (value,))]
    return made


def check(bundle: Path, *more: object) -> Ran:
    return samescore("bundle", "check", bundle, "--pipeline", PACKAGE, *more)


# -------------------------------------------------------------------------------------------- build


def test_a_trained_model_is_bundled_and_reproduces_itself(files: Path) -> None:
    ran = samescore(*arguments(files, execution="padded:8", platt=(1.5, 0.1)))
    path = files / "models" / "mine" / "2"
    assert (ran.code, ran.words) == (0, f"bundled {path}")
    bundle = open_bundle(path)
    assert str(bundle.manifest.execution) == "padded:8"
    assert bundle.manifest.postprocess.calibration is not None
    assert bundle.golden().rows == 20
    assert bundle.reference()
    assert check(path).code == 0


def test_the_current_snapshot_is_taken_unless_one_is_named(tiny: Tiny, files: Path) -> None:
    snapshot = tiny.request.snapshots["rates"]
    assert samescore(*arguments(files)).code == 0
    assert samescore(*arguments(files, version=3, snapshot=f"rates={snapshot}")).code == 0
    for version in (2, 3):
        manifest = open_bundle(files / "models" / "mine" / str(version)).manifest
        assert manifest.snapshots == {"rates": snapshot}


def test_a_model_without_a_pipeline_is_bundled_from_rows_of_numbers(
    tiny: Tiny, files: Path
) -> None:
    golden = open_bundle(tiny.bundle).golden()
    names = golden.features.schema.names
    (files / "names.txt").write_text("\n".join(names))
    rows = [[None if np.isnan(v) else v for v in row] for row in golden.features.matrix().tolist()]
    (files / "rows.jsonl").write_bytes(b"\n".join(map(orjson.dumps, rows)))
    plain = {"pipeline": None, "state": None, "reference": None, "features": files / "names.txt"}
    assert samescore(*arguments(files, **plain, golden=files / "rows.jsonl")).code == 0
    made = open_bundle(files / "models" / "mine" / "2")
    assert made.manifest.pipeline is None
    assert made.manifest.features.names == names
    assert compare(made.golden().scores, golden.scores).summary.rows_identical == 40
    assert samescore("bundle", "check", made.path).code == 0


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"name": "../up"}, "use letters, digits"),
    ({"name": ""}, "use letters, digits"),
    ({"version": -1}, "--version"),
    ({"version": "one"}, "--version"),
    ({"format": "coreml"}, "--format"),
    ({"model": "nowhere.ubj"}, "--model"),
    ({"pipeline": "tiny_features"}, "write it as package.module:attribute"),
    ({"pipeline": "no_such:pipeline"}, "install its distribution"),
    ({"pipeline": "json:loads"}, "is a function"),
    ({"pipeline": None}, "either --pipeline, or --features"),
    ({"state": None}, "fit the pipeline first, and give its state (BundleRequest.state, --state)"),
    ({"state": "golden.jsonl"}, "not a fitted state"),
    ({"golden": "model.ubj"}, "line 1"),
    ({"golden": "empty.jsonl"}, "golden holds no row"),
    ({"golden": "odd.jsonl"}, "row 1 field 'age' is missing"),
    ({"reference": "odd.jsonl"}, "row 1 field 'age' is missing"),
    ({"golden": "cut.jsonl"}, "cut.jsonl line 2"),
    ({"snapshot": "prices=abc"}, "--snapshot prices: the pipeline has no such lookup"),
    ({"snapshot": "rates=abc"}, "is no snapshot id"),
    ({"snapshot": f"rates={'0' * 64}"}, "copy it from the machine that served"),
    ({"snapshots": "elsewhere"}, "no snapshot is named for lookup 'rates'"),
    ({"execution": "padded:0"}, "padded:N"),
    ({"execution": "float32"}, "padded:N"),
    ({"gate_decimals": 17}, "--gate-decimals"),
    ({"output": "p"}, "takes output 'p'"),
    ({"platt": ("nan", "0")}, "finite numbers"),
    ({"model": "state.json"}, "XGBoost"),
]


@pytest.mark.parametrize(("changes", "said"), MISTAKES)
def test_a_mistake_is_one_line_and_leaves_no_bundle(
    files: Path, changes: dict[str, Any], said: str
) -> None:
    (files / "empty.jsonl").write_bytes(b"")
    good = (files / "golden.jsonl").read_bytes().splitlines()[0]
    (files / "odd.jsonl").write_bytes(good + b'\n{"amount": 1.0, "city": "Bonn"}\n')
    (files / "cut.jsonl").write_bytes(good + b"\n" + good[:-5] + b"\n")
    for option in ("golden", "reference", "state", "model", "snapshots"):
        if isinstance(changes.get(option), str):
            changes = changes | {option: files / changes[option]}
    assert said in mistake(*arguments(files, **changes))
    assert not list((files / "models").glob("*/*/samescore"))


def test_a_model_that_cannot_be_loaded_is_named_where_it_lies(files: Path) -> None:
    said = mistake(*arguments(files, model=files / "state.json"))
    assert said.startswith(f"Error: model {files / 'state.json'}: ")
    assert "samescore-bundle-" not in said


@pytest.mark.parametrize(
    "text",
    [b"[]", b"3", b'{"a":{"$array":"AA==","dtype":"<f8","shape":[1]}}', b'{"a":{"$float":"x"}}'],
)
def test_a_state_that_nobody_wrote_is_a_mistake(files: Path, text: bytes) -> None:
    (files / "state.json").write_bytes(text)
    said = mistake(*arguments(files))
    assert str(files / "state.json") in said
    assert "not a fitted state" in said


def test_an_existing_version_is_never_overwritten(files: Path) -> None:
    assert samescore(*arguments(files)).code == 0
    assert "exists already" in mistake(*arguments(files))


# --------------------------------------------------------------------------------------------- show


def test_a_bundle_is_shown_to_people(tiny: Tiny) -> None:
    ran = samescore("bundle", "show", tiny.bundle)
    assert ran.code == 0
    manifest = open_bundle(tiny.bundle).manifest
    for part in ("tiny/1 (xgboost)", manifest.digest, f"{PACKAGE}:pipeline", "amount_centred",
                 "as_is, gate 10 decimals", "auc 0.9", "rates", "Python 3."):  # fmt: skip
        assert part in ran.words


def test_a_bundle_is_shown_to_machines(tiny: Tiny) -> None:
    value = samescore("bundle", "show", tiny.bundle, "--json").json
    manifest = open_bundle(tiny.bundle).manifest
    assert value["digest"] == manifest.digest
    assert value["name"] == "tiny"
    assert value["files"] == manifest.files


@pytest.mark.parametrize("command", ["show", "check"])
def test_a_folder_that_is_no_bundle_is_a_mistake(tmp_path: Path, command: str) -> None:
    assert "is this a bundle" in mistake("bundle", command, tmp_path)
    assert "does not exist" in mistake("bundle", command, tmp_path / "nowhere")


# -------------------------------------------------------------------------------------------- check


def test_a_bundle_that_reproduces_itself_ends_with_0(tiny: Tiny) -> None:
    ran = check(tiny.bundle)
    assert ran.code == 0
    assert "golden gate to 10 decimals: passed" in ran.words
    value = check(tiny.bundle, "--json", "--max-batch", "9").json
    assert value["passed"] is True
    assert value["decimals"] == 10
    assert [c["batch_rows"] for c in value["checks"]] == [1, 3, 9]
    assert all(
        c["scores"]["rows"] == 40 and c["features"]["agree_ratio"] == 1 for c in value["checks"]
    )


def test_a_bundle_that_does_not_ends_with_1_and_the_row(tiny: Tiny, tmp_path: Path) -> None:
    bundle = tiny.copy(tmp_path / "models") / "tiny" / "1"
    spoil_golden(bundle, 1e-9)
    ran = check(bundle)
    assert ran.code == 1
    assert "golden gate to 10 decimals: FAILED" in ran.words
    assert "golden row" in ran.words
    machine = check(bundle, "--json")
    assert machine.code == 1
    assert machine.json["passed"] is False
    assert "golden row" in machine.json["checks"][0]["detail"]


def test_an_untrusted_pipeline_is_a_mistake(tiny: Tiny) -> None:
    said = mistake("bundle", "check", tiny.bundle)
    assert f"name it with --pipeline {PACKAGE}" in said


def test_a_corrupt_bundle_is_a_mistake_with_both_digests(tiny: Tiny, tmp_path: Path) -> None:
    bundle = tiny.copy(tmp_path / "models") / "tiny" / "1"
    (bundle / "model.ubj").write_bytes(b"damaged")
    said = mistake("bundle", "check", bundle, "--pipeline", PACKAGE)
    assert open_bundle(bundle).manifest.files["model.ubj"] in said
    assert digest_bytes(b"damaged") in said
