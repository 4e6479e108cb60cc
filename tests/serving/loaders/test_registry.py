from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from consistency.errors import ConfigError
from serving.loaders import FORMATS, load_scorer


def test_importing_the_loaders_imports_no_model_library() -> None:
    modules = ", ".join(entry.module for entry in FORMATS.values())
    code = (
        f"import sys, serving.loaders, serving.loaders.promotion.keras_model, {modules}\n"
        "heavy = {'xgboost', 'lightgbm', 'tensorflow', 'keras', 'pandas', 'scipy',"
        " 'sklearn', 'skops', 'joblib', 'onnxruntime', 'torch'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path.cwd()
    )
    assert done.stdout.strip() == "[]"


def test_an_unknown_format_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'coreml' is unknown.*xgboost, lightgbm, saved_model"):
        load_scorer("coreml", tmp_path)


@pytest.mark.parametrize(
    ("model_format", "extra"),
    [
        ("xgboost", "xgboost"),
        ("lightgbm", "lightgbm"),
        ("saved_model", "tf"),
        ("sklearn", "sklearn"),
        ("onnx", "onnx"),
        ("torch", "torch"),
        ("frozen_graph", "tf"),
        ("pmml", "pmml"),
    ],
)
def test_a_missing_library_names_the_extra(
    model_format: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("model.ubj", "model.txt", "saved_model.pb"):
        (tmp_path / name).write_bytes(b"tree\nend of trees\n")
    monkeypatch.setitem(sys.modules, FORMATS[model_format].library, None)
    with pytest.raises(ConfigError, match=rf"pip install 'samescore\[{extra}\]'"):
        load_scorer(model_format, tmp_path)


def test_a_library_that_itself_lacks_one_speaks_for_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "xgboost", raising=False)
    (tmp_path / "xgboost.py").write_text("import no_such_dependency\n")
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
        load_scorer("xgboost", tmp_path)


@pytest.mark.parametrize("threads", [0, -1])
def test_a_model_needs_a_thread(threads: int, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least 1 thread"):
        load_scorer("xgboost", tmp_path, threads=threads)
