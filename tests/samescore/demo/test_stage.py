"""The demo's folder, and what must be there before it plays."""

from __future__ import annotations

from pathlib import Path

import pytest

from consistency.errors import ConfigError
from samescore.demo.stage import EXAMPLE, check_installed, clear_folder, find_example


def test_a_former_demo_is_removed(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    clear_folder(out)
    (out / "summary.json").write_text("{}")
    clear_folder(out)
    assert not (out / "summary.json").exists()
    assert out.is_dir()


def test_files_of_somebody_else_are_not_touched(tmp_path: Path) -> None:
    precious = tmp_path / "thesis.txt"
    precious.write_text("ten years")
    with pytest.raises(ConfigError, match="not a demo's"):
        clear_folder(tmp_path)
    assert precious.read_text() == "ten years"


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    clear_folder(tmp_path)
    assert tmp_path.is_dir()


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    with pytest.raises(ConfigError, match="no folder"):
        clear_folder(tmp_path / "x")


def test_the_example_is_found_below_the_first_root_that_has_it(tmp_path: Path) -> None:
    folder = tmp_path / "b" / EXAMPLE
    folder.mkdir(parents=True)
    (folder / "train.py").touch()
    assert find_example((tmp_path / "a", tmp_path / "b")) == folder


def test_without_the_example_the_remedy_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="make demo"):
        find_example((tmp_path,))


def test_what_is_not_installed_is_named_with_the_remedy() -> None:
    with pytest.raises(ConfigError, match=r"no_such_module_here.*pip install"):
        check_installed(("json", "no_such_module_here"))
