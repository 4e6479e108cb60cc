import shutil
from pathlib import Path

import pytest

from serving.core.base_paths import BasePathSource, parse_version


def numbers(source: BasePathSource) -> dict[str, list[int]]:
    return {name: sorted(versions) for name, versions in source.poll().items()}


def make(base: Path, *names: str) -> Path:
    for name in names:
        (base / name).mkdir(parents=True)
    return base


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("1", 1),
        ("00000123", 123),
        ("0", 0),
        ("-5", -5),
        (" 7 ", 7),
        (str(2**63 - 1), 2**63 - 1),
        (str(2**63), None),
        ("9" * 100, None),
        ("1.0", None),
        ("1_000", None),
        ("v1", None),
        ("1.tmp", None),
        ("+1", None),
        ("٣", None),
        ("", None),
    ],
)
def test_a_version_is_an_int64(name: str, version: int | None) -> None:
    assert parse_version(name) == version


def test_each_model_has_a_base_path_of_its_own(tmp_path: Path) -> None:
    a, b = make(tmp_path / "a", "1", "00000002", "notes"), make(tmp_path / "elsewhere" / "b", "9")
    source = BasePathSource({"first": a, "second": b, "again": b})
    assert numbers(source) == {"again": [9], "first": [1, 2], "second": [9]}
    assert source.poll()["first"][2].path == a / "00000002"
    assert source.problems == ()


def test_a_plain_file_is_a_version_too(tmp_path: Path) -> None:
    (tmp_path / "4").write_text("what a loader makes of it is its business")
    assert numbers(BasePathSource({"m": tmp_path})) == {"m": [4]}


def test_of_two_spellings_the_last_wins_with_a_warning(tmp_path: Path) -> None:
    source = BasePathSource({"m": make(tmp_path, "00000123", "123")})
    assert source.poll()["m"][123].path.name == "123"
    assert source.problems == (
        "model 'm': version 123 is served from '123', '00000123' is ignored; remove one of them",
    )


def test_what_cannot_be_read_stays_as_it_is_and_holds_up_no_other(tmp_path: Path) -> None:
    a, b = make(tmp_path / "a", "1"), make(tmp_path / "b", "1")
    source = BasePathSource({"a": a, "b": b, "null": Path("/nul\0l")})
    source.poll()
    shutil.rmtree(a)
    make(b, "2")
    assert numbers(source) == {"b": [1, 2]}
    assert [p.split(":")[0] for p in source.problems] == ["model 'a'", "model 'null'"]


def test_a_base_path_without_a_version_is_an_empty_entry(tmp_path: Path) -> None:
    source = BasePathSource({"m": make(tmp_path / "m", "1")})
    source.poll()
    shutil.rmtree(tmp_path / "m" / "1")
    assert numbers(source) == {"m": []}
    assert "model 'm' has no version below" in source.problems[0]


def test_replaced_models_go_and_come(tmp_path: Path) -> None:
    a, b = make(tmp_path / "a", "1"), make(tmp_path / "b", "1")
    source = BasePathSource({"a": a})
    source.replace({"b": b})
    assert numbers(source) == {"a": [], "b": [1]}
    source.replace({"a": b})
    assert numbers(source) == {"a": [1], "b": []}


def test_a_token_does_not_change_with_the_files(tmp_path: Path) -> None:
    source = BasePathSource({"m": make(tmp_path, "1")})
    before = source.poll()["m"][1]
    (tmp_path / "1" / "model").write_text("repaired")
    assert source.poll()["m"][1] == before
