from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from serving.core.state import ServableId
from serving.servable import BundleLoader, LoadSettings, OpaqueLoader
from tests.fixtures.cli import Ran, mistake, samescore
from tests.fixtures.tiny import PACKAGE, SOURCE, Tiny, record_body
from tests.fixtures.traffic import serve_into_log
from tests.samescore.conftest import Log


def replay(log: Path, base: Path, *more: object) -> Ran:
    return samescore("replay", log, "--bundles", base, "--pipeline", PACKAGE, *more)


def test_a_log_that_agrees_ends_with_0(log: Log, tiny: Tiny) -> None:
    ran = replay(log.folder, tiny.base)
    assert ran.code == 0
    rows = sum(r.rows for r in log.requests if r.scores is not None)
    assert f"agrees: {rows} rows to 10 decimals" in ran.words
    assert "2 of 2 refusals reproduced" in ran.words


@pytest.mark.parametrize(
    ("mode", "stages"),
    [
        ("full", ["payload", "features", "outputs", "scores"]),
        ("features", ["outputs", "scores"]),
        ("pipeline", ["payload", "features"]),
    ],
)
def test_each_mode_reports_its_stages_to_machines(
    log: Log, tiny: Tiny, mode: str, stages: list[str]
) -> None:
    ran = replay(log.folder, tiny.base, "--mode", mode, "--json")
    assert ran.code == 0
    assert ran.json["mode"] == mode
    model = ran.json["models"]["tiny/1"]
    assert list(model["stages"]) == stages
    assert all(
        s["agree_ratio"] == 1 and s["bit_identical_ratio"] == 1 for s in model["stages"].values()
    )


def test_a_replay_from_logged_features_needs_no_trusted_pipeline(log: Log, tiny: Tiny) -> None:
    ran = samescore("replay", log.folder, "--bundles", tiny.base, "--mode", "features")
    assert ran.code == 0


@pytest.mark.parametrize("batch", ["1", "7", "logged", "4096"])
def test_the_batch_can_be_chosen(log: Log, tiny: Tiny, batch: str) -> None:
    ran = replay(log.folder, tiny.base, "--batch-size", batch, "--json")
    assert ran.code == 0
    assert ran.json["batch"] == batch


def test_a_log_that_differs_ends_with_1_and_says_where(bad_log: Log, tiny: Tiny) -> None:
    ran = replay(bad_log.folder, tiny.base)
    assert ran.code == 1
    assert "storage_precision" in ran.words
    assert "first divergence: request" in ran.words
    assert "stage features" in ran.words
    machine = replay(bad_log.folder, tiny.base, "--json")
    assert machine.code == 1
    model = machine.json["models"]["tiny/1"]
    first = model["worst"][0]
    assert first["stage"] == "features"
    assert first["request_id"] in {r.request_id for r in bad_log.requests}
    assert first["online"] != first["offline"]
    cause = model["features"][first["name"]]
    assert cause["proven"] is True
    assert cause["cause"] == "storage_precision"


def test_fewer_decimals_forgive_a_small_difference(bad_log: Log, tiny: Tiny) -> None:
    assert replay(bad_log.folder, tiny.base, "--decimals", "3").code == 0


def test_an_empty_log_ends_with_1(tmp_path: Path, tiny: Tiny) -> None:
    ran = replay(tmp_path, tiny.base)
    assert ran.code == 1
    assert "nothing was replayed" in ran.words


def test_a_model_that_is_not_in_the_log_ends_with_1(log: Log, tiny: Tiny) -> None:
    assert replay(log.folder, tiny.base, "--model", "tiny").code == 0
    ran = replay(log.folder, tiny.base, "--model", "other")
    assert ran.code == 1
    assert "nothing was replayed" in ran.words


@pytest.mark.parametrize(("torn", "code"), [(True, 0), (False, 1)])
def test_a_damaged_line_ends_with_1_and_a_torn_tail_with_0(
    log: Log, tiny: Tiny, tmp_path: Path, torn: bool, code: int
) -> None:
    folder = shutil.copytree(log.folder, tmp_path / "copy")
    (segment,) = folder.iterdir()
    content = segment.read_bytes()
    if torn:
        segment.with_name(segment.name + ".open").write_bytes(content + content[:40])
        segment.unlink()
    else:
        segment.write_bytes(content.replace(b'"rows":1', b'"rows":7', 1))
    ran = replay(folder, tiny.base)
    assert ran.code == code
    assert "damaged: " in ran.words
    assert ("torn tail (40 bytes)" in ran.words) is torn


# ----------------------------------------------------------------------------------------- mistakes


def other_bundle(base: Path) -> Path:
    """Change what decides a score, so that the digest is another one."""
    manifest = base / "tiny" / "1" / "samescore" / "manifest.json"
    value: dict[str, Any] = json.loads(manifest.read_text())
    value["postprocess"]["platt"] = {"slope": 1.0, "intercept": 0.5}
    manifest.write_text(json.dumps(value))
    return base


def test_another_bundle_than_the_one_that_served_is_a_mistake(
    log: Log, tiny: Tiny, tmp_path: Path
) -> None:
    base = other_bundle(tiny.copy(tmp_path / "models"))
    said = mistake("replay", log.folder, "--bundles", base, "--pipeline", PACKAGE)
    assert "replay with the one that served" in said


def test_a_bundle_that_is_not_there_is_a_mistake(log: Log, tmp_path: Path) -> None:
    said = mistake("replay", log.folder, "--bundles", tmp_path, "--pipeline", PACKAGE)
    assert "tiny/1; name the folder that was served" in said


def test_a_corrupt_bundle_is_a_mistake(log: Log, tiny: Tiny, tmp_path: Path) -> None:
    base = tiny.copy(tmp_path / "models")
    (base / "tiny" / "1" / "model.ubj").write_bytes(b"x")
    said = mistake("replay", log.folder, "--bundles", base, "--pipeline", PACKAGE)
    assert "copy the bundle anew" in said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), f"name it with --pipeline {PACKAGE}"),
        (("--pipeline", "another"), f"name it with --pipeline {PACKAGE}"),
        (("--mode", "backwards"), "--mode"),
        (("--batch-size", "0"), "give a number of rows, or 'logged'"),
        (("--batch-size", "many"), "give a number of rows, or 'logged'"),
        (("--decimals", "17"), "--decimals"),
        (("--threads", "0"), "--threads"),
        (("--inference-service", "m47", "x.py", "."), "write it as NAME/VERSION"),
    ],
)
def test_a_wrong_option_is_a_mistake(
    log: Log, tiny: Tiny, options: tuple[object, ...], said: str
) -> None:
    assert said in mistake("replay", log.folder, "--bundles", tiny.base, *options)


def test_a_snapshot_that_is_not_there_is_a_mistake(log: Log, tiny: Tiny, tmp_path: Path) -> None:
    options = ("--bundles", tiny.base, "--pipeline", PACKAGE, "--snapshots", tmp_path)
    assert "copy it from the machine that served" in mistake("replay", log.folder, *options)


# ------------------------------------------------------------------------------------------- opaque


def test_a_pipeline_that_fails_here_alone_is_told_with_its_line(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, base, folder = tmp_path / "site", tmp_path / "models", tmp_path / "log"
    shutil.copytree(tiny.base / ".snapshots", base / ".snapshots")
    site.mkdir()
    code = SOURCE.read_text().replace(
        "return amount - ", 'return int(os.environ["ONE"]) * amount -'
    )
    (site / "moody_features.py").write_text(code.replace("import numpy", "import os\nimport numpy"))
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("ONE", "1")
    bundle = tiny.build(base, pipeline="moody_features:pipeline")
    settings = LoadSettings(frozenset({"moody_features"}), tiny.store)
    servable = BundleLoader(ServableId("tiny", 1), bundle, settings).load()
    serve_into_log(servable, folder, [record_body(tiny.records[:3]), record_body({"amount": 1.0})])
    options = ("--bundles", base, "--pipeline", "moody_features")
    assert samescore("replay", folder, *options).code == 0
    monkeypatch.delenv("ONE")
    said = mistake("replay", folder, *options)
    assert "the feature pipeline raised KeyError('ONE') at " in said
    assert "moody_features.py:" in said


SERVICE = """
class InferenceService:
    def __init__(self, model_path):
        pass
    def process_request(self, request):
        insts = [v * FACTOR for v in request["v"]]
        return {"message": "SUCCESS", "code": 0, "data": {"insts": insts}}
"""


@pytest.fixture
def service_log(tmp_path: Path) -> tuple[Path, Path]:
    """A log of an InferenceService, and its file."""
    file = tmp_path / "service.py"
    file.write_text("FACTOR = 1 / 3\n" + SERVICE)
    servable = OpaqueLoader(ServableId("m47", 1), str(file), tmp_path).load()
    serve_into_log(servable, tmp_path / "log", [{"v": [1, 2]}, {"v": [0.1]}, b"{"])
    return tmp_path / "log", file


def test_an_inference_service_is_replayed_when_it_is_named(
    service_log: tuple[Path, Path], tmp_path: Path
) -> None:
    folder, file = service_log
    options = ("--json", "--inference-service", "m47/1", file, tmp_path)
    ran = samescore("replay", folder, *options)
    assert ran.code == 0
    model = ran.json["models"]["m47/1"]
    assert (model["rows"], model["rejected_reproduced"]) == (3, 1)
    changed = tmp_path / "changed.py"
    changed.write_text("FACTOR = 0.3333\n" + SERVICE)
    later = ("--bundles", tmp_path, "--inference-service", "m47/1", changed, tmp_path)
    assert samescore("replay", folder, *later).code == 1


@pytest.mark.parametrize("changed", ["beside.py", "service.py"])
@pytest.mark.parametrize("place", ["file", "module"])
def test_what_a_service_computed_otherwise_is_no_longer_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, changed: str
) -> None:
    package = f"service_{place}_{changed[0]}"  # modules are imported once a process
    site, folder, kept = tmp_path / package, tmp_path / "log", tmp_path / "kept"
    site.mkdir()
    (site / "beside.py").write_text("THIRD = 1 / 3\n")
    beside = "beside" if place == "file" else f"{package}.beside"
    code = f"from {beside} import THIRD\nFACTOR = THIRD * 1.0\n{SERVICE}"
    (site / "service.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    location = str(site / "service.py") if place == "file" else f"{package}.service"
    (tmp_path / "model").write_text("")
    named = ("--inference-service", "m47/1", location, tmp_path / "model")
    servable = OpaqueLoader(ServableId("m47", 1), location, tmp_path).load()
    serve_into_log(servable, folder, [{"v": [1, 2]}])
    options = ("--bundles", tmp_path, "--checkpoint", kept, *named)
    assert samescore("replay", folder, *options).code == 0
    assert "done before and are kept" in samescore("replay", folder, *options).err
    text = (site / changed).read_text()
    (site / changed).write_text(text.replace("1 / 3", "0.3").replace("1.0", "1.5"))
    assert "done again: other services" in samescore("replay", folder, *options).err


def test_an_inference_service_that_nobody_named_is_a_mistake(
    service_log: tuple[Path, Path], tmp_path: Path
) -> None:
    said = mistake("replay", service_log[0], "--bundles", tmp_path)
    assert "name it with --inference-service" in said
