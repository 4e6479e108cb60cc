"""The checks on a real bundle: green as it is, and red with the first difference when it is not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from consistency.bundle import open_bundle
from consistency.errors import ConfigError
from samescore.pytest_plugin.catalogue import every_check
from samescore.pytest_plugin.configuring.configuration import settings_from
from samescore.pytest_plugin.fresh import carry_out, run_check
from samescore.pytest_plugin.telling.findings import Finding, Verdict
from tests.fixtures.tiny import Tiny, replace_golden, spoil_golden

pytestmark = pytest.mark.slow


def table(path: Path, **more: Any) -> dict[str, Any]:
    of_bundle = {"path": str(path), "generated": 5, "environment": {"pipeline": "fail"}, **more}
    return {"trusted": ["tiny_features"], "bundles": {"tiny": of_bundle}}


def checked(item: str, given: Mapping[str, Any], folder: Path) -> Finding:
    """Run one check in this process."""
    group, _, name = item.partition("::")
    request = {"source": str(folder / "samescore.toml"), "table": given}
    return carry_out({**request, "group": group, "item": name})


def edit_manifest(bundle: Path, **environment: Any) -> Path:
    manifest = bundle / "samescore" / "manifest.json"
    value = json.loads(manifest.read_text())
    value["environment"] |= environment
    manifest.write_text(json.dumps(value))
    return bundle


def test_every_check_of_a_good_bundle_passes(tiny: Tiny, tmp_path: Path) -> None:
    given = table(tiny.bundle, distinct=["score"], storage=["parquet", "csv.repr"])
    settings = settings_from(tmp_path / "samescore.toml", given)
    found = {f"{c.group}::{c.item}": run_check(c) for c in every_check(settings)}
    # a machine need not have another locale
    optional = {"laws::locale_independent[tiny]"}
    red = {n: f.summary for n, f in found.items() if f.verdict is not Verdict.PASSED}
    assert red.keys() <= optional, red
    assert found["golden::gate[tiny]"].properties["agree_ratio"] == 1.0
    assert found["scorer::batch_size_invariant[tiny]"].properties["bit_identical_ratio"] == 1.0
    assert found["laws::hostile_refused[tiny-generated]"].properties["refused"]


def test_a_moved_golden_feature_is_named_with_all_digits(tiny: Tiny, tmp_path: Path) -> None:
    bundle = tiny.copy(tmp_path / "models") / "tiny" / "1"
    golden = open_bundle(bundle).golden()
    numeric = golden.features.numeric.copy(order="F")
    column = golden.features.schema.numeric_names.index("amount_log")
    numeric[7:, column] = np.nextafter(numeric[7:, column] + 1e-6, 99)
    replace_golden(bundle, replace(golden, features=replace(golden.features, numeric=numeric)))
    found = checked("golden::gate[tiny]", table(bundle), tmp_path)
    assert found.verdict is Verdict.FAILED
    evidence = found.evidence
    assert evidence is not None
    assert (evidence.stage, evidence.name, evidence.row) == ("features", "amount_log", 7)
    assert evidence.expected == repr(float(numeric[7, column]))
    assert evidence.made_by.startswith("amount_log() at ")
    assert "tiny_features.py:" in found.source
    assert "amount_log (33 of 40 rows)" in found.text("x")
    assert "sources are the bundle's" in found.cause


def test_a_proven_cause_is_said_to_be_proven(tiny: Tiny, tmp_path: Path) -> None:
    bundle = tiny.copy(tmp_path / "models") / "tiny" / "1"
    golden = open_bundle(bundle).golden()
    numeric = golden.features.numeric.astype(np.float32).astype(np.float64)
    numeric = np.asfortranarray(numeric)
    replace_golden(bundle, replace(golden, features=replace(golden.features, numeric=numeric)))
    found = checked("golden::gate[tiny]", table(bundle), tmp_path)
    assert found.cause.startswith("proven: storage_precision"), found.cause


def test_moved_golden_scores_are_told_as_scores(tiny: Tiny, tmp_path: Path) -> None:
    bundle = spoil_golden(tiny.copy(tmp_path / "models") / "tiny" / "1")
    found = checked("golden::gate[tiny]", table(bundle), tmp_path)
    assert found.evidence is not None
    assert (found.evidence.stage, found.evidence.row) == ("scores", 0)
    assert found.evidence.ulps > 0
    assert found.properties["agree_ratio"] == 0.0


def test_a_pipeline_is_not_imported_unless_it_is_trusted(tiny: Tiny, tmp_path: Path) -> None:
    given = {**table(tiny.bundle), "trusted": []}
    found = checked("golden::gate[tiny]", given, tmp_path)
    assert found.verdict is Verdict.FAILED
    assert 'trusted = ["tiny_features"]' in found.summary


@pytest.mark.parametrize(
    "item", ["golden::gate[tiny]", "laws::pure[tiny]", "environment::cpu[tiny]"]
)
def test_a_bundle_that_is_not_there(item: str, tmp_path: Path) -> None:
    found = checked(item, table(tmp_path / "models" / "tiny" / "1"), tmp_path)
    assert found.verdict is Verdict.FAILED
    assert "[bundles.tiny] path" in found.summary


@pytest.mark.parametrize(
    ("environment", "item", "level", "part"),
    [
        ({"python": "3.8.1"}, "python", "fail", "bundle 3.8.1, here 3."),
        ({"packages": {"numpy": "1.0"}}, "packages", "fail", "numpy: bundle 1.0, here "),
        ({"cpu_model": "Z80", "cpu_flags": ["di"]}, "cpu", "warn", "only in the bundle's: di"),
        ({"thread_settings": {"OMP_NUM_THREADS": "64"}}, "threads", "warn", "bundle 64"),
        ({"device": "cuda:3"}, "device", "warn", "bundle cuda:3, here cpu"),
    ],
)  # fmt: skip
def test_what_differs_of_the_environment_fails_or_warns(
    tiny: Tiny, tmp_path: Path, environment: dict[str, Any], item: str, level: str, part: str
) -> None:
    bundle = edit_manifest(tiny.copy(tmp_path / "models") / "tiny" / "1", **environment)
    name = f"environment::{item}[tiny]"
    found = checked(name, table(bundle), tmp_path)
    failed = level == "fail"
    assert found.verdict is (Verdict.FAILED if failed else Verdict.PASSED)
    assert part in ("\n".join(found.notes) if failed else "\n".join(found.warnings))
    allowed = checked(name, table(bundle, environment={item: "ignore"}), tmp_path)
    assert allowed.verdict is Verdict.PASSED
    assert part not in "\n".join(allowed.warnings)
    refused = checked(name, table(bundle, environment={item: "fail"}), tmp_path)
    assert refused.verdict is Verdict.FAILED


def test_a_changed_file_of_the_bundle_fails(tiny: Tiny, tmp_path: Path) -> None:
    bundle = tiny.copy(tmp_path / "models") / "tiny" / "1"
    (bundle / "stranger.txt").write_text("x")
    found = checked("environment::files[tiny]", table(bundle), tmp_path)
    assert found.verdict is Verdict.FAILED
    assert "stranger.txt" in found.summary


def test_a_form_of_storage_that_is_relied_on_must_be_safe(tiny: Tiny, tmp_path: Path) -> None:
    found = checked("storage::round_trips[tiny]", table(tiny.bundle, storage=["csv.6f"]), tmp_path)
    assert found.verdict is Verdict.FAILED
    assert found.evidence is not None
    assert found.evidence.sides == ("stored", "read back")
    assert "csv.repr" in "\n".join(found.notes), "the table of every form comes with it"
    unknown = checked("storage::round_trips[tiny]", table(tiny.bundle, storage=["x"]), tmp_path)
    assert "storage form 'x' is unknown" in unknown.summary


def test_gaps_that_a_form_confuses_are_told_loudly(tiny: Tiny, tmp_path: Path) -> None:
    found = checked("storage::round_trips[tiny]", table(tiny.bundle, storage=["parquet"]), tmp_path)
    assert found.verdict is Verdict.PASSED
    assert "absent → null" in "\n".join(found.warnings)


def test_a_device_that_is_not_there_is_not_a_pass(tiny: Tiny, tmp_path: Path) -> None:
    given = table(tiny.bundle, devices=["cpu", "cuda:97"])
    found = checked("scorer::device_invariant[tiny]", given, tmp_path)
    assert found.verdict is Verdict.NOT_RUN
    assert "cuda:97" in found.summary


def test_own_records_that_cannot_be_read_fail(tiny: Tiny, tmp_path: Path) -> None:
    found = checked("laws::pure[tiny]", table(tiny.bundle, records=["none.jsonl"]), tmp_path)
    assert found.verdict is Verdict.FAILED
    assert "none.jsonl" in found.summary


def test_a_skip_that_names_no_check_is_a_mistake(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="laws::purity"):
        checked("laws::pure[tiny]", table(tiny.bundle, skip={"laws::purity": "x"}), tmp_path)
