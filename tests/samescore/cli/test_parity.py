from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from consistency import PostProcess
from consistency.schema import FeatureSchema
from samescore import BundleRequest, build_bundle
from tests.fixtures.cli import mistake, samescore
from tests.fixtures.made_models import WIDTH, make
from tests.fixtures.tiny import Tiny
from tests.samescore.conftest import Log

pytestmark = pytest.mark.slow

FEW = ("--batch", "1,64", "--execution", "as_is", "--isa", "default", "--onednn", "on")


def cells(value: dict[str, Any], **wanted: object) -> list[dict[str, Any]]:
    return [c for c in value["cells"] if all(c[k] == v for k, v in wanted.items())]


def test_trees_agree_bit_for_bit_and_end_with_0(tiny: Tiny) -> None:
    ran = samescore("parity", tiny.bundle, *FEW, "--execution", "padded:16,float64", "--json")
    assert ran.code == 0, ran.err
    assert "8 cells of 1,040 rows each, executions as_is, padded:16" in ran.err
    value = ran.json
    assert (value["rows"], value["distinct_rows"], value["rows_from"]) == (1040, 40, "golden")
    assert value["executions"] == {"as_is": True, "padded:16": True}
    assert "float32 by design" in value["without"]["float64"]
    assert len(cells(value, state="measured", threads=2)) == 4
    for cell in value["cells"]:
        assert cell["against_reference"]["bit_identical_ratio"] == 1
        assert cell["seconds_per_row"] > 0
    assert value["advice"]["serve_with"] == "as_is"


def test_a_switch_that_the_library_does_not_have_is_not_agreement(tiny: Tiny) -> None:
    few = ("--batch", "1,64", "--execution", "as_is", "--threads", "1")
    ran = samescore("parity", tiny.bundle, *few, "--json")
    assert ran.code == 0, ran.err
    for changed in ({"onednn": "off"}, {"isa": "avx2"}):
        for cell in cells(ran.json, **changed):
            assert cell["state"] in ("not_applicable", "not_available")
            assert cell["agrees"] is None
            assert cell["reason"]
    shown = samescore("parity", tiny.bundle, *few)
    assert "oneDNN off: not applicable: xgboost has no switch for it" in shown.words


def test_logged_rows_can_be_scored_and_the_page_is_whole(
    tiny: Tiny, log: Log, tmp_path: Path
) -> None:
    page = tmp_path / "parity.html"
    more = ("--log", log.folder, "--threads", "1", "--html", page)
    ran = samescore("parity", tiny.bundle, *FEW, *more)
    assert ran.code == 0, ran.err
    assert "rows in each cell" in ran.words
    assert "agrees to 10 decimals in all 2 cells; serve it as it is" in ran.words
    text = page.read_text()
    assert text.count('<img src="data:image/svg+xml;base64,') == 2
    assert "The same scores in every cell" in text
    assert "http://" not in text
    assert "https://" not in text


def test_a_cell_that_fails_is_a_row_and_ends_with_1(tiny: Tiny) -> None:
    ran = samescore(
        "parity", tiny.bundle, *FEW, "--threads", "1", "--cell-timeout", "0.1", "--json"
    )
    assert ran.code == 1
    assert [c["state"] for c in ran.json["cells"]] == ["failed"] * 2
    assert {c["reason"] for c in ran.json["cells"]} == {"no answer within 0.1 s"}
    assert "2 of 2 cells failed" in ran.json["advice"]["headline"]


def test_a_device_that_is_not_there_is_a_row_with_its_reason(tiny: Tiny) -> None:
    devices = ("--device", "cpu,cuda:98")
    ran = samescore("parity", tiny.bundle, *FEW, "--threads", "1", *devices, "--json")
    assert ran.code == 0, "what this machine does not have is no objection"
    for cell in cells(ran.json, device="cuda:98"):
        assert cell["state"] == "not_available"
        assert "cuda:98" in cell["reason"]


def test_a_model_that_nobody_trusts_yet_is_a_mistake_and_no_table(tmp_path: Path) -> None:
    rows = np.random.default_rng(1).normal(size=(40, WIDTH))
    (tmp_path / "model").mkdir()
    made = make("sklearn_forest", tmp_path / "model", rows, (rows[:, 0] > 0).astype(float))
    features = FeatureSchema.float64(tuple(f"f{i}" for i in range(WIDTH)))
    bundle = build_bundle(
        tmp_path,
        BundleRequest("m", 1, made.format, tmp_path / "model" / made.file, rows, features=features,
                      postprocess=PostProcess(column=1), trust=made.trust),
    )  # fmt: skip
    said = mistake("parity", bundle, *FEW)
    assert "nothing can be compared" in said
    assert "name each with --trust-type" in said


def test_a_single_cell_is_no_agreement(tiny: Tiny) -> None:
    one = ("--batch", "1", "--threads", "1", "--isa", "default", "--onednn", "on")
    ran = samescore("parity", tiny.bundle, *one, "--execution", "as_is")
    assert ran.code == 1
    assert "nothing to compare" in ran.words


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--batch", "0"), "no whole number from 1 to"),
        (("--batch", ","), "give at least one value"),
        (("--threads", "two"), "no whole number"),
        (("--isa", "avx3"), "'avx3' is not one of default, avx512, avx2, avx, sse4"),
        (("--execution", "padded"), "padded:N"),
        (("--device", "tpu"), "cpu, cuda"),
        (("--html", "no/such/folder/page.html"), "name a file in a folder that exists"),
    ],
)
def test_a_mistake_is_told_before_anything_runs(
    tiny: Tiny, arguments: tuple[str, str], said: str
) -> None:
    assert said in mistake("parity", tiny.bundle, *arguments)


def test_a_folder_that_is_no_bundle_and_a_log_without_rows(tiny: Tiny, tmp_path: Path) -> None:
    assert "is this a bundle?" in mistake("parity", tmp_path)
    assert "no feature row of tiny/1" in mistake("parity", tiny.bundle, "--log", tmp_path)


# ----------------------------------------------------------------------------------- a real network


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bundle an untrained float32 network, in a process of its own."""
    import subprocess
    import sys

    base = tmp_path_factory.mktemp("network")
    program = """
import sys
from pathlib import Path
import keras, numpy as np
from consistency.schema import FeatureSchema
from samescore import BundleRequest, build_bundle

keras.utils.set_random_seed(3)
layers = [keras.layers.Dense(n, activation="relu") for n in (256, 128)]
model = keras.Sequential([keras.Input((64,)), *layers, keras.layers.Dense(1, "sigmoid")])
base = Path(sys.argv[1])
model.export(base / "saved", verbose=False)
rows = np.random.default_rng(4).normal(size=(512, 64))
names = FeatureSchema.float64(tuple(f"f{i}" for i in range(64)))
build_bundle(base, BundleRequest("net", 1, "saved_model", base / "saved", rows, features=names))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, base], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return base / "net" / "1"


def test_a_float32_network_moves_with_its_batch_and_both_cures_are_found(network: Path) -> None:
    few = ("--batch", "1,64", "--threads", "1", "--onednn", "on", "--isa", "default")
    ran = samescore("parity", network, *few, "--execution", "padded:16,float64", "--json")
    assert ran.code == 1, ran.err
    value = ran.json
    assert value["executions"] == {"as_is": False, "padded:16": True, "float64": True}
    (moved,) = cells(value, execution="as_is", batch=64)
    assert 0 < moved["against_reference"]["agree_ratio"] < 1
    assert moved["against_reference"]["max_abs_diff"] < 1e-5
    (promoted,) = cells(value, execution="float64", batch=64)
    assert promoted["against_reference"]["max_abs_diff"] < 1e-14
    (padded,) = cells(value, execution="padded:16", batch=64)
    assert padded["against_reference"]["bit_identical_ratio"] == 1
    assert value["advice"]["serve_with"] in ("padded:16", "float64")
    assert "of rows move between batch 1 and 64" in value["advice"]["headline"]


def test_onednn_is_switched_off_by_tensorflows_own_account(network: Path) -> None:
    ran = samescore("parity", network, "--batch", "64", "--threads", "1", "--isa", "default",
                    "--execution", "as_is", "--json")  # fmt: skip
    (cell,) = cells(ran.json, onednn="off")
    (switch,) = cell["switches"]
    assert switch["switch"] == "TF_ENABLE_ONEDNN_OPTS=0"
    assert (cell["state"] == "measured") is (switch["before"] != switch["after"])
