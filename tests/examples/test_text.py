"""The text example: its tokenizer, its pipeline, and its network served and replayed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import doc_features.features
from consistency.errors import DataError
from consistency.laws import Verdict, check_all_laws
from consistency.state import FittedState
from doc_features import MOST_TOKENS, pipeline, tokenize
from tests.fixtures.cli import samescore
from tests.fixtures.server import serving

EXAMPLE = Path(__file__).parents[2] / "examples" / "text"
BOUND = pipeline.bind(FittedState({"vocabulary": {"the": 0, "eigenvalues": 1, "of": 2}}), {})


@pytest.fixture(scope="module")
def data() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLE)
        import doc_data

        yield doc_data


def test_the_form_of_a_text_does_not_move_its_tokens() -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    assert tokenize(composed) == tokenize(decomposed) == ["caf\u00e9"]
    assert tokenize("STRASSE") == tokenize("stra\u00dfe")
    assert tokenize("\uff21\uff22\uff23") == ["abc"], "full-width letters"
    assert tokenize("a\u00a0b  c_d-e") == ["a", "b", "c", "d", "e"]
    assert len(tokenize("word " * 200)) == MOST_TOKENS


def test_features_of_two_texts() -> None:
    batch = BOUND([{"text": "The eigenvalues of X"}, {"text": "of of"}])
    assert batch.column("tokens").tolist() == [["the", "eigenvalues", "of", "x"], ["of", "of"]]
    assert batch.column("token_count").tolist() == [4.0, 2.0]
    assert batch.column("unknown_ratio").tolist() == [0.25, 0.0]


@pytest.mark.parametrize(("text", "says"), [("...", "holds no word"), ("a" * 10_001, "10001")])
def test_what_has_no_tokens_or_too_many_letters_is_refused(text: str, says: str) -> None:
    with pytest.raises(DataError, match=says) as refused:
        BOUND([{"text": "fine"}, {"text": text}])
    assert (refused.value.row, refused.value.field) == (1, "text")


def test_the_pipeline_keeps_all_laws(data: ModuleType) -> None:
    records = [{"text": document.text} for document in data.documents()[:40]]
    results = check_all_laws(BOUND, records)
    assert [r for r in results if r.verdict is Verdict.VIOLATED] == []
    assert sum(r.verdict is Verdict.PASSED for r in results) >= 8


def test_no_file_is_on_both_sides_of_the_split(data: ModuleType) -> None:
    texts = data.documents()
    assert {t.label for t in texts} == {0, 1}
    assert 0.1 < np.mean([t.held_out for t in texts]) < 0.3
    assert len(texts) > 3_000


@pytest.mark.slow
def test_network_served_and_replayed_and_another_tokenizer_found(
    tmp_path: Path, data: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    models, log = tmp_path / "models", tmp_path / "log"
    command = [sys.executable, str(EXAMPLE / "doc_train.py"), "--out", str(models), "--small"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    records = [{"text": t.text} for t in data.documents() if t.held_out][:130]
    with serving(
        models, "--log", log, "--pipeline", "doc_features", errors=tmp_path / "err"
    ) as server:
        for name in ("text_float32", "text_float64"):
            for begin, size in ((0, 1), (1, 1), (2, 7), (9, 57), (66, 64)):
                body = {"type": "record", "data": {"insts": records[begin : begin + size]}}
                assert server.post(f"/predict/{name}/1", body).status == 200
        assert server.terminate() == 0
    replay = ("replay", log, "--bundles", models, "--pipeline", "doc_features", "--json")
    exact = samescore(*replay, "--model", "text_float64", "--batch-size", "4096")
    assert exact.code == 0, exact.out
    assert exact.json["models"]["text_float64/1"]["rows"] == len(records)

    def keeps_case(text: str) -> list[str]:
        return tokenize(text.swapcase())[:32]

    monkeypatch.setattr(doc_features.features, "tokenize", keeps_case)
    other = samescore(*replay, "--model", "text_float64", "--batch-size", "4096")
    assert other.code == 1
    held = other.json["models"]["text_float64/1"]
    assert held["stages"]["features"]["agree_ratio"] < 0.5
    assert "tokens" in held["features"]
