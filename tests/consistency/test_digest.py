"""Digests: equal content, equal digest; any change, another."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consistency.digest import (
    digest_bytes,
    digest_file,
    digest_folder,
    digest_json,
    digest_sources,
    package_root,
)
from consistency.errors import ConfigError


@given(st.binary())
def test_bytes_have_their_sha256(data: bytes) -> None:
    assert digest_bytes(data) == hashlib.sha256(data).hexdigest()


def test_a_file_has_the_digest_of_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    data = bytes(range(256)) * 5000
    path.write_bytes(data)
    assert digest_file(path) == digest_bytes(data)


def test_a_folder_has_the_digest_of_its_files_less_what_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "variables").mkdir()
    (tmp_path / "model.pb").write_bytes(b"1")
    (tmp_path / "variables" / "data").write_bytes(b"2")
    whole = digest_folder(tmp_path)
    (tmp_path / "extra").mkdir()
    (tmp_path / "extra" / "notes").write_bytes(b"3")
    (tmp_path / "settings").write_bytes(b"4")
    assert digest_folder(tmp_path) != whole
    assert digest_folder(tmp_path, without=["extra", "settings"]) == whole
    (tmp_path / "variables" / "data").rename(tmp_path / "variables" / "other")
    assert digest_folder(tmp_path, without=["extra", "settings"]) != whole


def test_the_order_of_keys_does_not_matter_and_everything_else_does() -> None:
    assert digest_json({"a": 1, "b": [1.5]}) == digest_json({"b": [1.5], "a": 1})
    values = [
        {"a": 1},
        {"a": 1.0},
        {"a": "1"},
        {"a": None},
        {"a": [1]},
        {},
        {"a": -0.0},
        {"a": 0.0},
    ]
    assert len({digest_json(v) for v in values}) == len(values)


# ---- packages -----------------------------------------------------------------------------------


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def make(site: Path, name: str, *, files: dict[str, str]) -> Path:
    package = site / name
    for relative, text in files.items():
        path = package / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return package


FILES = {"__init__.py": "raise RuntimeError('imported')", "sub/map.json": "{}", "sub/f.py": "x=1"}


def test_sources_are_digested_without_importing_them(site: Path) -> None:
    make(site, "pkg_quiet", files=FILES)
    assert len(digest_sources("pkg_quiet")) == 64
    assert "pkg_quiet" not in sys.modules


def test_equal_sources_have_equal_digests_wherever_they_are(site: Path) -> None:
    make(site, "pkg_here", files=FILES)
    elsewhere = make(site / "deeper", "pkg_here", files=FILES)
    here = digest_sources("pkg_here")
    sys.path.insert(0, str(elsewhere.parent))
    try:
        assert digest_sources("pkg_here") == here
    finally:
        sys.path.remove(str(elsewhere.parent))


@pytest.mark.parametrize(
    ("relative", "text"),
    [
        ("__init__.py", "raise RuntimeError('imported') "),
        ("sub/f.py", "x=2"),
        ("sub/map.json", "{ }"),
        ("new.py", ""),
        ("rates.csv", "a,b"),
        ("sub/native.so", "compiled"),
    ],
)
def test_a_change_in_a_source_or_its_data_shows(site: Path, relative: str, text: str) -> None:
    package = make(site, "pkg_changed", files=FILES)
    before = digest_sources("pkg_changed")
    (package / relative).write_text(text)
    assert digest_sources("pkg_changed") != before


def test_a_file_that_moved_shows(site: Path) -> None:
    package = make(site, "pkg_moved", files=FILES)
    before = digest_sources("pkg_moved")
    (package / "sub" / "f.py").rename(package / "f.py")
    assert digest_sources("pkg_moved") != before


def test_what_python_and_editors_leave_behind_does_not_show(site: Path) -> None:
    package = make(site, "pkg_clean", files=FILES)
    before = digest_sources("pkg_clean")
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "f.py").write_text("stale")
    (package / "f.cpython-311.pyc").write_bytes(b"\x00")
    (package / "notes.md").write_text("notes")
    assert digest_sources("pkg_clean") == before


def test_a_single_module_is_a_package_too(site: Path) -> None:
    (site / "mod_single.py").write_text("x = 1")
    (site / "neighbour.py").write_text("y = 1")
    before = digest_sources("mod_single")
    (site / "neighbour.py").write_text("y = 2")
    assert digest_sources("mod_single") == before
    assert package_root("mod_single") == site / "mod_single.py"
    (site / "mod_single.py").write_text("x = 2")
    assert digest_sources("mod_single") != before


@pytest.mark.parametrize("name", ["no_such_package", "os.path", "", "../x", "a b", "sys"])
def test_what_is_not_installed_is_an_error(name: str) -> None:
    with pytest.raises(ConfigError, match="is not installed here"):
        digest_sources(name)


def test_a_folder_without_an_init_is_an_error(site: Path) -> None:
    (site / "only_a_folder").mkdir()
    with pytest.raises(ConfigError, match="is not installed here"):
        digest_sources("only_a_folder")
