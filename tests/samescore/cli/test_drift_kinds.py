"""Every kind of feature and of drift, from the bundle to the verdict of `samescore drift run`."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import orjson
import pytest
from onnx import TensorProto, helper

from serving.core.state import ServableId
from serving.servable import BundleLoader, LoadSettings
from tests.fixtures.cli import samescore
from tests.fixtures.tiny import record_body
from tests.fixtures.traffic import serve_into_log

pytestmark = pytest.mark.slow

PACKAGE = "kinds_features"
DAYS, ROWS = 35, 150
WORDS = ("sum", "limit", "group", "ring", "field", "set")
Record = dict[str, Any]
Change = Callable[[Record, int], Record]


def orders(day: int) -> list[Record]:
    rng = np.random.default_rng(1_000 + day)
    return [
        {
            "at": f"2026-{1 + day // 28:02}-{1 + day % 28:02}T12:00:00Z",
            "price": float(rng.normal(100.0, 20.0)),
            "share": float(rng.uniform(0.1, 0.9)),
            "items": int(rng.poisson(3)),
            "member": bool(rng.random() < 0.3),
            "town": str(rng.choice(["Bonn", "Kiel", "Ulm"])),
            "note": " ".join(rng.choice(WORDS, rng.integers(4, 9))) + f" {day}.{row}",
            "words": [str(w) for w in rng.choice(WORDS, 3)],
        }
        for row in range(ROWS)
    ]


CHANGES: dict[str, tuple[Change, str]] = {
    "nothing": (lambda r, _: r, ""),
    "a shifted number": (lambda r, _: {**r, "price": r["price"] + 12.0}, "number"),
    "30% missing": (lambda r, i: {**r, "price": None if i % 10 < 3 else r["price"]}, "number"),
    "infinities": (lambda r, i: {**r, "share": 1.0 if i % 10 == 0 else r["share"]}, "odds"),
    "more items": (lambda r, _: {**r, "items": r["items"] + 2}, "integer"),
    "another share of members": (lambda r, i: {**r, "member": i % 10 < 7}, "boolean"),
    "a new town": (lambda r, i: {**r, "town": "Ys" if i % 5 == 0 else r["town"]}, "category"),
    "longer notes": (lambda r, _: {**r, "note": r["note"] * 2}, "text[length]"),
    "other words, as many": (lambda r, _: {**r, "words": ["mea", "culpa", "sum"]}, "bag[tokens]"),
    "more words": (lambda r, _: {**r, "words": r["words"] * 2}, "bag"),
}


def model(folder: Path) -> Path:
    """Write a model that takes all of it; its score says nothing of it."""
    kinds = {
        "number": TensorProto.DOUBLE,
        "odds": TensorProto.DOUBLE,
        "integer": TensorProto.INT64,
        "boolean": TensorProto.BOOL,
        "category": TensorProto.STRING,
        "text": TensorProto.STRING,
    }
    inputs = [helper.make_tensor_value_info(n, kind, ["n"]) for n, kind in kinds.items()]
    inputs.append(helper.make_tensor_value_info("bag", TensorProto.STRING, ["n", 8]))
    nodes = [
        helper.make_node("Cast", ["integer"], ["items"], to=TensorProto.DOUBLE),
        helper.make_node("Sin", ["items"], ["score"]),
    ]
    outputs = [helper.make_tensor_value_info("score", TensorProto.DOUBLE, ["n"])]
    graph = helper.make_graph(nodes, "graph", inputs, outputs)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path = folder / "model.onnx"
    onnx.save(made, path)
    return path


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A bundle whose reference are 35 days, built as a user builds it."""
    root = tmp_path_factory.mktemp("kinds")
    source = Path(__file__).parents[2] / "fixtures" / f"{PACKAGE}.py"
    shutil.copyfile(source, root / source.name)
    rows = root / "rows.jsonl"
    records = [record for day in range(DAYS) for record in orders(day)]
    rows.write_bytes(b"\n".join(orjson.dumps(r) for r in records))
    golden = root / "golden.jsonl"
    golden.write_bytes(b"\n".join(orjson.dumps(r) for r in records[:20]))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(root)
        ran = samescore(
            "bundle", "build", root / "models", "--name", "kinds", "--version", 1, "--format",
            "onnx", "--model", model(root), "--pipeline", f"{PACKAGE}:pipeline", "--golden",
            golden, "--reference", rows, "--reference-time", "at", "--reference-block", "1h",
        )  # fmt: skip
        assert ran.code == 0, ran.err
        yield root / "models" / "kinds" / "1"


@pytest.fixture(scope="module")
def log(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log with a day for each change."""
    from consistency.snapshots import SnapshotStore

    folder = tmp_path_factory.mktemp("log") / "requests"
    settings = LoadSettings(frozenset({PACKAGE}), SnapshotStore(bundle.parents[1] / ".snapshots"))
    servable = BundleLoader(ServableId("kinds", 1), bundle, settings).load()
    bodies = []
    for day, (change, _) in enumerate(CHANGES.values(), DAYS + 7):
        records = [change(record, i) for i, record in enumerate(orders(day))]
        bodies += [
            record_body(records[i : i + 50], event_time=records[0]["at"])
            for i in range(0, ROWS, 50)
        ]
    serve_into_log(servable, folder, bodies)
    return folder


@pytest.fixture(scope="module")
def judged(bundle: Path, log: Path) -> dict[str, Any]:
    """The windows of `samescore drift run --json`, by change."""
    ran = samescore("drift", "run", log, "--bundle", bundle, "--min-rows", "100", "--json")
    assert ran.code == 1, ran.err
    assert ran.json["uncalibrated"] == ""
    return dict(zip(CHANGES, ran.json["windows"], strict=True))


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_is_found_where_it_is_and_nothing_else(
    judged: dict[str, Any], change: str
) -> None:
    expected, window = CHANGES[change][1], judged[change]
    assert window["verdict"] == ("drift" if expected else "no_drift")
    known = {expected, "score"} if expected == "integer" else {expected}
    assert expected in [*window["drifted"], ""]
    assert set(window["drifted"]) <= known


def test_derived_features_are_measured_like_others(judged: dict[str, Any]) -> None:
    features = judged["nothing"]["feature_psi"]
    assert set(features) == {"number", "odds", "integer", "boolean", "category", "text",
                             "text[length]", "bag", "bag[tokens]"}  # fmt: skip


def test_a_list_of_what_moved_with_few_false_ones_and_the_classic_bands_are_told(
    judged: dict[str, Any], bundle: Path, log: Path
) -> None:
    window = judged["more items"]
    assert set(window["drifted"]) <= set(window["moved"])
    assert window["false_discovery_rate"] == 0.1
    assert window["min_rows"] == 100
    assert window["bands"]["integer"] == "major"
    assert judged["nothing"]["moved"] == []
    # The bands alone are no alarm: small windows have large indices without any drift.
    usual = [w["bands"].items() - {(n, b) for n, b in w["bands"].items() if n in w["drifted"]}
             for w in judged.values()]  # fmt: skip
    assert any(band != "stable" for bands in usual for _, band in bands)
    told = samescore("drift", "run", log, "--bundle", bundle, "--min-rows", "100")
    assert "major (location" in told.words


def test_a_minimum_sample_is_asked_for(bundle: Path, log: Path) -> None:
    ran = samescore("drift", "run", log, "--bundle", bundle, "--min-rows", "151", "--json")
    assert ran.code == 2
    assert {w["verdict"] for w in ran.json["windows"]} == {"too_few_rows"}
    assert "a verdict needs 151 (--min-rows)" in ran.err


@pytest.mark.parametrize("baseline", ["rolling", "noise"])
def test_other_baselines_find_a_new_town_too(bundle: Path, log: Path, baseline: str) -> None:
    ran = samescore("drift", "run", log, "--bundle", bundle, "--min-rows", "100", "--json",
                    "--baseline", baseline)  # fmt: skip
    windows = dict(zip(CHANGES, ran.json["windows"], strict=True))
    assert ran.json["baseline"] == baseline
    assert "category" in windows["a new town"]["drifted"]
    assert windows["nothing"]["verdict"] == "no_drift"
