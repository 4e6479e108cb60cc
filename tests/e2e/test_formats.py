"""Every model format, by the commands a user types: bundle, check, serve, replay."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from numpy.typing import NDArray

from consistency.bundle import open_bundle
from consistency.log import LoggedRequest, RequestLogReader
from serving.loaders import FORMATS
from tests.fixtures.cli import mistake, samescore
from tests.fixtures.made_models import MADE, WIDTH, Made, make
from tests.fixtures.server import serving

pytestmark = pytest.mark.slow

PACKAGE = "sklearn_features"
SOURCE = Path(__file__).parents[1] / "fixtures" / "sklearn_features.py"


def opt_ins(made: Made) -> list[str]:
    types = [part for name in sorted(made.trust.types) for part in ("--trust-type", name)]
    return [*types, *(["--allow-pickle"] if made.trust.allow_pickle else [])]


def write_lines(path: Path, rows: list[Any]) -> Path:
    path.write_bytes(b"\n".join(map(orjson.dumps, rows)))
    return path


@pytest.fixture(scope="module")
def rows() -> NDArray:
    return np.random.default_rng(21).normal(size=(200, WIDTH))


CASES = [*((name, "as_is") for name in MADE), ("onnx", "padded:16"), ("torch", "padded:16")]


@pytest.mark.parametrize(("name", "execution"), CASES)
def test_a_model_is_bundled_gated_served_and_replayed(
    name: str, execution: str, rows: NDArray, tmp_path: Path
) -> None:
    model, base, log = tmp_path / "model", tmp_path / "models", tmp_path / "requests"
    model.mkdir()
    made = make(name, model, rows, (rows[:, 0] > 0).astype(float))
    names = tmp_path / "names.txt"
    names.write_text("\n".join(f"f{i}" for i in range(WIDTH)))
    golden = write_lines(tmp_path / "golden.jsonl", rows[:50].tolist())
    given = model / made.file if FORMATS[made.format].file else model
    asked = [
        "bundle", "build", base, "--name", "m", "--version", 1, "--format", made.format,
        "--model", given, "--features", names, "--golden", golden,
        "--execution", execution,
    ]  # fmt: skip
    if made.trust.types or made.trust.allow_pickle:
        assert "--trust-type" in (said := mistake(*asked)) or "--allow-pickle" in said
    column = ["--column", 1] if made.output == "predict_proba" else []
    assert samescore(*asked, *column, *opt_ins(made)).code == 0
    bundle = base / "m" / "1"
    two = 1 if made.one_runtime else 2
    assert (bundle / made.file).is_file()
    assert samescore("bundle", "check", bundle, "--threads", two, *opt_ins(made)).code == 0

    options = ["--log", log, *opt_ins(made)]
    with serving(base, *options, errors=tmp_path / "errors") as server:
        assert server.announced["serving"] == ["m version 1"], server.announced
        client = server.client()
        for count, start in ((1, 0), (7, 1), (64, 8)):
            insts = rows[start : start + count].tolist()
            reply = client.post("/predict/m/1", {"type": "dense", "data": {"insts": insts}})
            assert reply.status == 200, reply.body
            expected = made.expected(rows[start : start + count])
            expected = expected[:, -1] if expected.ndim == 2 else expected
            np.testing.assert_allclose(
                np.float64(reply.json["data"]["insts"]), expected, rtol=0, atol=5e-11
            )
        client.close()
        assert server.terminate() == 0
    (first, *_) = [r for r in RequestLogReader(log) if isinstance(r, LoggedRequest)]
    assert first.model == ("m", 1)
    for batch, threads in ((1, 1), (64, two), (4096, 1), ("logged", 1)):
        ran = samescore(
            "replay", log, "--bundles", base, "--batch-size", batch, "--threads", threads, "--json",
            *opt_ins(made),
        )  # fmt: skip
        assert ran.code == 0, ran.out
        assert ran.json["models"]["m/1"]["rows"] == 72


# ------------------------------------------------------------------------- a scikit-learn pipeline


@dataclass(frozen=True)
class Site:
    """A user's package on `sys.path`, and a model that was trained behind its pipeline."""

    folder: Path
    model: Path
    state: Path
    records: list[dict[str, float]]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    shutil.copyfile(SOURCE, folder / f"{PACKAGE}.py")
    sys.path.insert(0, str(folder))
    try:
        yield train(folder)
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop(PACKAGE, None)


def train(folder: Path) -> Site:
    import importlib

    import skops.io
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression

    pipeline = importlib.import_module(PACKAGE).components
    values = np.random.default_rng(6).normal(size=(300, 12)) * 100
    records = [{f"x{i}": float(v) for i, v in enumerate(row)} for row in values]
    fitted = PCA(3, random_state=0).fit(pipeline.frame(records))
    fitted.set_output(transform="default")
    state = pipeline.fitted_state(fitted)
    (folder / "state.json").write_bytes(state.to_bytes())
    matrix = pipeline.bind(state, {})(records).matrix()
    model = LogisticRegression().fit(matrix, matrix[:, 0] > 0)
    skops.io.dump(model, folder / "model.skops")
    return Site(folder, folder / "model.skops", folder / "state.json", records)


def test_a_fitted_transformer_goes_the_whole_way(site: Site, tmp_path: Path) -> None:
    base, log = tmp_path / "models", tmp_path / "requests"
    golden = write_lines(tmp_path / "golden.jsonl", site.records[:60])
    built = samescore(
        "bundle", "build", base, "--name", "pca", "--version", 1, "--format", "sklearn",
        "--model", site.model, "--pipeline", f"{PACKAGE}:components", "--state", site.state,
        "--golden", golden, "--reference", golden, "--column", 1,
    )  # fmt: skip
    assert built.code == 0, built.err
    environment = open_bundle(base / "pca" / "1").manifest.environment
    for library in ("scikit-learn", "skops", "onnxruntime", "torch", "scipy", "threadpoolctl"):
        assert library in environment["packages"]

    path = {"PYTHONPATH": os.pathsep.join([str(site.folder), str(Path.cwd())])}
    options = ["--log", log, "--pipeline", PACKAGE]
    with serving(base, *options, errors=tmp_path / "errors", environment=path) as server:
        assert server.announced["serving"] == ["pca version 1"], server.announced
        client = server.client()
        for start in range(0, 120, 8):
            insts = site.records[start : start + 1 + start % 16]
            reply = client.post("/predict/pca/1", {"type": "record", "data": {"insts": insts}})
            assert reply.status == 200, reply.body
        client.close()
        assert server.terminate() == 0
    for batch in (1, 64):
        ran = samescore(
            "replay", log, "--bundles", base, "--pipeline", PACKAGE, "--batch-size", batch, "--json"
        )
        assert ran.code == 0, ran.out


def test_a_device_that_is_none_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    for command in (
        ("serve", tmp_path / "models", "--log", tmp_path / "log"),
        ("bundle", "check", tmp_path / "models"),
        ("replay", tmp_path, "--bundles", tmp_path / "models"),
    ):
        assert "write cpu, cuda" in mistake(*command, "--device", "gpu")
