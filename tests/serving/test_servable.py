from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from consistency.bundle import open_bundle
from consistency.errors import (
    BundleError,
    ConfigError,
    DigestMismatchError,
    SnapshotError,
)
from consistency.pipeline import BoundPipeline
from consistency.protocols import Scorer
from consistency.scored import GateState
from consistency.snapshots import SnapshotStore
from serving.core.state import ServableId
from serving.servable import (
    BundleLoader,
    GateMode,
    LoadSettings,
    OpaqueLoader,
    Servable,
    refresh_lookups,
)
from tests.fakes.transport import ThroughFloat32
from tests.fixtures.tiny import PACKAGE, RATES, Tiny, spoil_golden

RECORD = {"amount": 120.0, "age": 40, "city": "Berlin"}


def load(path: Path, settings: LoadSettings, version: int = 1) -> Servable:
    return BundleLoader(ServableId("tiny", version), path, settings).load()


@pytest.fixture
def base(tiny: Tiny, tmp_path: Path) -> Path:
    """A copy of the tiny base, to be changed."""
    return tiny.copy(tmp_path / "models")


@pytest.fixture
def mine(base: Path) -> LoadSettings:
    """How bundles of the copy are loaded."""
    return LoadSettings(frozenset({PACKAGE}), SnapshotStore(base / ".snapshots"))


# ------------------------------------------------------------------------------------------ loading


def test_a_bundle_becomes_a_servable_that_tells_what_it_is(tiny: Tiny, loaded: Servable) -> None:
    manifest = open_bundle(tiny.bundle).manifest
    assert manifest.pipeline is not None
    info = loaded.info
    assert (info.name, info.version) == ("tiny", 1)
    assert info.gate is GateState.VERIFIED
    assert info.bundle_digest == manifest.digest
    assert info.pipeline_digest == manifest.pipeline.digest
    assert info.backend.startswith("in_process/xgboost ")
    assert (info.dtype, info.device, info.threads, info.execution) == ("float32", "cpu", 1, "as_is")
    assert len(info.cpu_digest) == 64
    assert loaded.gate_report is not None
    assert loaded.gate_report.passed
    assert loaded.schema == manifest.features


def test_a_renamed_bundle_is_refused(base: Path, mine: LoadSettings) -> None:
    moved = base / "other" / "1"
    shutil.copytree(base / "tiny" / "1", moved)
    with pytest.raises(BundleError, match="manifest says tiny/1; a bundle cannot be renamed"):
        BundleLoader(ServableId("other", 1), moved, mine).load()
    with pytest.raises(BundleError, match="manifest says tiny/1"):
        load(base / "tiny" / "1", mine, version=2)


def test_a_corrupt_bundle_is_refused_before_its_model_is_loaded(
    base: Path, mine: LoadSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = base / "tiny" / "1"
    model = path / "model.ubj"
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 1
    model.write_bytes(data)

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("the model was loaded")

    monkeypatch.setattr("serving.servable.load_scorer", refuse)
    with pytest.raises(DigestMismatchError, match=r"model\.ubj"):
        load(path, mine)


def test_a_pipeline_that_the_operator_did_not_name_is_refused(
    base: Path, mine: LoadSettings
) -> None:
    with pytest.raises(ConfigError, match=f"name it with --pipeline {PACKAGE}"):
        load(base / "tiny" / "1", replace(mine, trusted=frozenset()))


def test_a_bundle_of_another_pipeline_is_refused(base: Path, mine: LoadSettings) -> None:
    path = base / "tiny" / "1" / "samescore" / "manifest.json"
    value = json.loads(path.read_text())
    value["pipeline"]["digest"] = "0" * 64
    path.write_text(json.dumps(value))
    with pytest.raises(DigestMismatchError, match=f"pipeline {PACKAGE}") as caught:
        load(base / "tiny" / "1", mine)
    assert caught.value.expected == "0" * 64


def test_a_missing_snapshot_is_refused(base: Path, mine: LoadSettings, tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match="copy it from the machine that served"):
        load(base / "tiny" / "1", replace(mine, store=SnapshotStore(tmp_path / "empty")))


# --------------------------------------------------------------------------------------------- gate


@pytest.fixture
def failing(tiny: Tiny, tmp_path: Path) -> Path:
    """A bundle whose golden scores this machine cannot reproduce.

    All digests fit: it was bundled like that, as on a machine that computes otherwise.
    """
    return spoil_golden(tiny.build(tmp_path / "bad", version=2))


def test_a_failing_golden_gate_keeps_a_version_from_going_live(
    failing: Path, settings: LoadSettings
) -> None:
    with pytest.raises(BundleError) as caught:
        load(failing, settings, version=2)
    text = str(caught.value)
    assert "golden gate to 10 decimals: FAILED" in text
    assert "golden row" in text
    assert "--gate report" in text


def test_with_report_it_is_served_marked_unverified(
    failing: Path, settings: LoadSettings, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        servable = load(failing, replace(settings, gate=GateMode.REPORT), version=2)
    assert servable.info.gate is GateState.UNVERIFIED
    assert servable.gate_report is not None
    assert not servable.gate_report.passed
    assert servable.pipeline is not None
    assert "tiny/2 is served UNVERIFIED" in caplog.text


def test_report_does_not_mark_a_version_that_passes(tiny: Tiny, settings: LoadSettings) -> None:
    servable = load(tiny.bundle, replace(settings, gate=GateMode.REPORT))
    assert servable.info.gate is GateState.VERIFIED


def test_fewer_decimals_are_the_bundles_choice(
    tiny: Tiny, settings: LoadSettings, tmp_path: Path
) -> None:
    path = spoil_golden(tiny.build(tmp_path / "loose", version=3, gate_decimals=4))
    servable = load(path, settings, version=3)
    assert servable.info.gate is GateState.VERIFIED
    assert servable.gate_report is not None
    assert servable.gate_report.decimals == 4


def test_the_gate_scores_batches_up_to_the_largest_that_serving_forms(
    tiny: Tiny, settings: LoadSettings
) -> None:
    servable = load(tiny.bundle, replace(settings, max_batch=8))
    assert servable.gate_report is not None
    assert [check.batch_rows for check in servable.gate_report.checks] == [1, 3, 8]


def test_a_padded_bundle_is_scored_in_its_fixed_shape(
    tiny: Tiny, settings: LoadSettings, tmp_path: Path
) -> None:
    path = tiny.build(tmp_path / "padded", version=4, execution="padded:4")
    servable = load(path, settings, version=4)
    assert servable.info.execution == "padded:4"
    assert servable.info.gate is GateState.VERIFIED


# ---------------------------------------------------------------------------------------- transport


def test_the_gate_sees_what_comes_out_of_the_transport(tiny: Tiny, settings: LoadSettings) -> None:
    with pytest.raises(BundleError, match="FAILED") as caught:
        load(tiny.bundle, replace(settings, transport=ThroughFloat32))
    assert "feature 'amount_centred'" in str(caught.value)
    served = load(tiny.bundle, replace(settings, transport=ThroughFloat32, gate=GateMode.REPORT))
    assert isinstance(served.pipeline, ThroughFloat32)
    assert served.info.gate is GateState.UNVERIFIED


def test_a_transport_that_changes_nothing_passes(tiny: Tiny, settings: LoadSettings) -> None:
    seen: list[BoundPipeline] = []

    def watch(pipeline: BoundPipeline) -> BoundPipeline:
        seen.append(pipeline)
        return pipeline

    assert load(tiny.bundle, replace(settings, transport=watch)).info.gate is GateState.VERIFIED
    assert len(seen) == 1


# ------------------------------------------------------------------------------------------ lookups


def publish(store: SnapshotStore, rate: float) -> str:
    rates = RATES | {"Berlin": rate}
    cities = np.array(list(rates), object)
    return store.put("rates", {"city": cities, "rate": np.array(list(rates.values()))})


def rate_of(servable: Servable) -> float:
    assert servable.pipeline is not None
    return float(servable.pipeline([RECORD]).column("city_rate")[0])


def test_a_published_snapshot_is_read_from_the_next_refresh_on(
    base: Path, mine: LoadSettings
) -> None:
    servable = load(base / "tiny" / "1", mine)
    before = servable.pipeline
    assert rate_of(servable) == RATES["Berlin"]
    later = publish(mine.store, 0.75)
    assert servable.pipeline is before
    refresh_lookups(servable, mine)
    assert rate_of(servable) == 0.75
    assert servable.pipeline is not None
    assert servable.pipeline([RECORD]).snapshots == {"rates": later}


def test_without_a_new_snapshot_nothing_is_bound_anew(base: Path, mine: LoadSettings) -> None:
    servable = load(base / "tiny" / "1", mine)
    before = servable.pipeline
    refresh_lookups(servable, mine)
    assert servable.pipeline is before


def test_a_bundle_is_gated_with_its_own_snapshot_and_served_with_the_current_one(
    base: Path, mine: LoadSettings
) -> None:
    publish(mine.store, 0.75)
    servable = load(base / "tiny" / "1", mine)
    assert servable.info.gate is GateState.VERIFIED
    assert rate_of(servable) == 0.75


@pytest.mark.parametrize("damage", ["gone", "garbage"])
def test_a_snapshot_that_cannot_be_read_leaves_the_one_in_use(
    base: Path, mine: LoadSettings, damage: str
) -> None:
    servable = load(base / "tiny" / "1", mine)
    before = servable.pipeline
    later = mine.store.root / f"{publish(mine.store, 0.75)}.arrow"
    if damage == "gone":
        later.unlink()
    else:
        later.write_bytes(b"no arrow")
    with pytest.raises(SnapshotError):
        refresh_lookups(servable, mine)
    assert servable.pipeline is before
    assert rate_of(servable) == RATES["Berlin"]


# ------------------------------------------------------------------------------------------- opaque

SERVICE = """
class InferenceService:
    def __init__(self, model_path):
        self.path = model_path
    def process_request(self, request):
        return {"data": {"insts": [len(request)]}}
"""


def test_an_inference_service_is_loaded_from_the_operators_file(tmp_path: Path) -> None:
    file = tmp_path / "service.py"
    file.write_text(SERVICE)
    servable = OpaqueLoader(ServableId("m47", 2), str(file), tmp_path).load()
    assert servable.opaque is not None
    assert servable.opaque.process({"a": 1}) == {"data": {"insts": [1]}}
    assert servable.info.gate is GateState.NONE
    assert (servable.info.name, servable.info.version) == ("m47", 2)
    assert servable.info.backend.endswith(str(file))
    assert (servable.pipeline, servable.backend, servable.bundle) == (None, None, None)


def test_an_opaque_servable_has_no_lookups_to_refresh(
    tmp_path: Path, settings: LoadSettings
) -> None:
    file = tmp_path / "service.py"
    file.write_text(SERVICE)
    servable = OpaqueLoader(ServableId("m47", 1), str(file), tmp_path).load()
    refresh_lookups(servable, settings)
    assert servable.pipeline is None


def test_a_loader_has_nothing_to_take_back(tiny: Tiny, settings: LoadSettings) -> None:
    loader = BundleLoader(ServableId("tiny", 1), tiny.bundle, settings)
    servable = loader.load()
    loader.unload(servable)
    assert rate_of(servable) == RATES["Berlin"], "a request in flight may still use it"


def test_a_model_that_fails_to_score_is_refused(
    tiny: Tiny, settings: LoadSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from consistency.errors import BackendError
    from tests.fakes.scorers import FailingScorer

    make: Callable[..., Scorer] = lambda *_, **__: FailingScorer()  # noqa: E731
    monkeypatch.setattr("serving.servable.load_scorer", make)
    with pytest.raises(BackendError, match="out of order"):
        load(tiny.bundle, settings)
