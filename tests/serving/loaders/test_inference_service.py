from __future__ import annotations

import sys
from pathlib import Path
from textwrap import dedent

import pytest

from consistency.errors import BackendError, ConfigError
from serving.loaders.inference_service import load_inference_service

GOOD = """
    import numpy as np
    from weights import WEIGHT

    class InferenceService:
        def __init__(self, model_path):
            self.model_path = model_path

        def process_request(self, request):
            if request.get("fail"):
                raise KeyError("insts")
            if "answer" in request:
                answers = {"nan": float("nan"), "set": {1}, "numpy": np.float64(0.1)}
                return answers[request["answer"]]
            return {"path": self.model_path, "insts": (WEIGHT * request["x"],), 1: None}

    class Another(InferenceService):
        pass

    class NoMethod:
        def __init__(self, model_path):
            pass

    class TwoArguments:
        def __init__(self, model_path, threads):
            pass

    class Failing:
        def __init__(self, model_path):
            raise OSError("no weights in " + model_path)
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", list(sys.path))
    path = tmp_path / "model_service.py"
    path.write_text(dedent(GOOD))
    (tmp_path / "weights.py").write_text("WEIGHT = 0.1\n")
    monkeypatch.delitem(sys.modules, "weights", raising=False)
    return path


def test_an_operators_file_works_unchanged_with_the_modules_beside_it(file: Path) -> None:
    scorer = load_inference_service(str(file), file.parent)
    answer = scorer.process({"x": 3})
    assert answer == {"path": str(file.parent), "insts": [0.1 * 3], "1": None}
    assert scorer.info.backend == f"in_process/inference_service {file}"
    assert scorer.info.dtype == "opaque"


def test_another_class_can_be_named(file: Path) -> None:
    assert load_inference_service(f"{file}:Another", file).process({"x": 1})["path"] == str(file)


def test_a_module_on_the_path_can_be_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(file.parent)
    monkeypatch.delitem(sys.modules, "model_service", raising=False)
    scorer = load_inference_service("model_service:Another", file.parent)
    assert scorer.process({"x": 0})["insts"] == [0.0]


def test_two_files_of_one_name_stay_apart(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "2" / "model_service.py"
    other.parent.mkdir()
    other.write_text(
        "class InferenceService:\n"
        "    def __init__(self, model_path): pass\n"
        "    def process_request(self, request): return 2\n"
    )
    first = load_inference_service(str(file), file)
    second = load_inference_service(str(other), file)
    assert first.process({"x": 0})["insts"] == [0.0]
    assert second.process({}) == 2


def test_a_failure_is_told_by_type_and_text(file: Path) -> None:
    scorer = load_inference_service(str(file), file)
    with pytest.raises(BackendError) as caught:
        scorer.process({"fail": True})
    assert str(caught.value) == "process_request raised KeyError: 'insts'"


@pytest.mark.parametrize("answer", ["nan", "set"])
def test_an_answer_that_json_cannot_hold_is_refused(answer: str, file: Path) -> None:
    scorer = load_inference_service(str(file), file)
    with pytest.raises(BackendError, match="answered what JSON cannot hold"):
        scorer.process({"answer": answer})


def test_numpy_floats_leave_as_floats(file: Path) -> None:
    answer = load_inference_service(str(file), file).process({"answer": "numpy"})
    assert type(answer) is float
    assert answer == 0.1


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("Missing", "has no class 'Missing'"),
        ("", "has no class ''"),
        ("NoMethod", "has no method process_request"),
        ("TwoArguments", "takes exactly one argument, model_path"),
        ("Failing", "OSError: no weights in"),
    ],
)
def test_an_unusable_class_is_named_with_its_remedy(name: str, problem: str, file: Path) -> None:
    with pytest.raises(ConfigError, match=problem):
        load_inference_service(f"{file}:{name}", file)


@pytest.mark.parametrize(
    ("source", "problem"),
    [("1 +", "SyntaxError"), ("import no_such_module_here", "no_such_module_here"), (None, "File")],
)
def test_code_that_cannot_be_imported_is_named(
    source: str | None, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    path = tmp_path / "broken.py"
    if source is not None:
        path.write_text(source)
    with pytest.raises(ConfigError, match=f"cannot be imported: .*{problem}"):
        load_inference_service(str(path), tmp_path)
    assert not [name for name in sys.modules if "inference_service_broken" in name]


def test_an_unknown_module_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no\.such\.module cannot be imported"):
        load_inference_service("no.such.module", tmp_path)
