import os
import shutil
import time
from pathlib import Path

import pytest

from consistency.errors import ConfigError
from serving.core.source import FileSystemSource, content_token


def make_version(base: Path, model: str, version: str, text: str = "weights") -> Path:
    folder = base / model / version
    (folder / "samescore").mkdir(parents=True)
    (folder / "samescore" / "manifest.json").write_text("{}")
    (folder / "model.bin").write_text(text)
    return folder


def numbers(source: FileSystemSource) -> dict[str, list[int]]:
    return {name: list(versions) for name, versions in source.poll().items()}


def test_versions_come_and_go(tmp_path: Path) -> None:
    source = FileSystemSource(tmp_path)
    assert numbers(source) == {}
    first = make_version(tmp_path, "flights", "1")
    assert numbers(source) == {"flights": [1]}
    make_version(tmp_path, "flights", "10")
    make_version(tmp_path, "flights", "9")
    make_version(tmp_path, "delays", "0")
    assert numbers(source) == {"delays": [0], "flights": [1, 9, 10]}
    shutil.rmtree(first)
    assert numbers(source) == {"delays": [0], "flights": [9, 10]}
    assert source.problems == ()


def test_a_padded_number_is_the_number(tmp_path: Path) -> None:
    folder = make_version(tmp_path, "flights", "00000123")
    found = FileSystemSource(tmp_path).poll()
    assert list(found["flights"]) == [123]
    assert found["flights"][123].path == folder


def test_of_two_spellings_the_first_is_served_and_the_clash_told(tmp_path: Path) -> None:
    make_version(tmp_path, "flights", "1")
    padded = make_version(tmp_path, "flights", "01")
    source = FileSystemSource(tmp_path)
    assert source.poll()["flights"][1].path == padded
    (problem,) = source.problems
    assert "directory '1' is ignored" in problem
    assert "served from '01'" in problem


@pytest.mark.parametrize(
    "name",
    ["v1", "1.tmp", ".1", ".tmp-1", "-1", "+1", "1_000", "²", "1e3", " 1", "9223372036854775808"],
)
def test_a_directory_that_is_no_version_is_ignored(tmp_path: Path, name: str) -> None:
    make_version(tmp_path, "flights", "7")
    make_version(tmp_path, "flights", name)
    source = FileSystemSource(tmp_path)
    assert numbers(source) == {"flights": [7]}
    assert source.problems == ()


def test_files_are_neither_models_nor_versions(tmp_path: Path) -> None:
    make_version(tmp_path, "flights", "7")
    (tmp_path / "README").write_text("")
    (tmp_path / "flights" / "8").write_text("")
    assert numbers(FileSystemSource(tmp_path)) == {"flights": [7]}


def test_a_version_that_is_being_written_is_not_found_before_its_rename(tmp_path: Path) -> None:
    folder = make_version(tmp_path, "flights", ".2.tmp-4711")
    source = FileSystemSource(tmp_path)
    assert numbers(source) == {"flights": []}
    assert "model 'flights' has no version" in source.problems[0]
    folder.rename(tmp_path / "flights" / "2")
    assert numbers(source) == {"flights": [2]}


def test_a_model_that_vanished_has_an_empty_entry(tmp_path: Path) -> None:
    make_version(tmp_path, "flights", "1")
    source = FileSystemSource(tmp_path)
    source.poll()
    shutil.rmtree(tmp_path / "flights")
    assert numbers(source) == {"flights": []}
    assert numbers(source) == {"flights": []}
    assert numbers(FileSystemSource(tmp_path)) == {}


def test_a_model_that_cannot_be_read_has_no_entry_and_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_version(tmp_path, "flights", "1").parent
    make_version(tmp_path, "delays", "1")
    source = FileSystemSource(tmp_path)
    source.poll()
    scandir = os.scandir

    def refuse(path: Path) -> object:  # a mode would not do: root, who runs in containers, reads on
        if path == folder:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert numbers(source) == {"delays": [1]}
    assert "'flights' cannot be read and stays as it is" in source.problems[0]


def test_only_the_names_on_the_list_are_found(tmp_path: Path) -> None:
    make_version(tmp_path, "flights", "1")
    make_version(tmp_path, "delays", "1")
    make_version(tmp_path, "not a name", "1")
    source = FileSystemSource(tmp_path, ["flights", "absent"])
    assert numbers(source) == {"flights": [1]}
    (problem,) = source.problems
    assert "model 'absent' has no directory" in problem


@pytest.mark.parametrize(
    "name", ["", "../up", "a/b", ".hidden", "-x", "ä", "a b", "x" * 129, "a\n"]
)
def test_a_list_with_an_impossible_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="a model's name is"):
        FileSystemSource(tmp_path, [name])


@pytest.mark.parametrize("name", ["my model", "_private", "ä", "x" * 129])
def test_a_directory_with_an_impossible_name_is_not_served(tmp_path: Path, name: str) -> None:
    make_version(tmp_path, name, "1")
    source = FileSystemSource(tmp_path)
    assert numbers(source) == {}
    assert f"directory {name!r} is not served" in source.problems[0]


@pytest.mark.parametrize("is_file", [False, True])
def test_an_unusable_base_names_the_setting(tmp_path: Path, is_file: bool) -> None:
    base = tmp_path / "models"
    if is_file:
        base.write_text("")
    source = FileSystemSource(base, setting="--models")
    with pytest.raises(ConfigError, match=r"--models '.*/models' cannot be read .*<version>"):
        source.poll()


def test_a_base_that_vanished_is_an_error_and_not_an_empty_answer(tmp_path: Path) -> None:
    make_version(tmp_path / "models", "flights", "1")
    source = FileSystemSource(tmp_path / "models")
    source.poll()
    (tmp_path / "models").rename(tmp_path / "elsewhere")
    with pytest.raises(ConfigError):
        source.poll()
    (tmp_path / "elsewhere").rename(tmp_path / "models")
    assert numbers(source) == {"flights": [1]}


def test_links_inside_the_base_are_followed_to_their_target(tmp_path: Path) -> None:
    release = make_version(tmp_path, ".releases", "abc")
    (tmp_path / "flights").mkdir()
    (tmp_path / "flights" / "1").symlink_to("../.releases/abc")
    source = FileSystemSource(tmp_path)
    assert source.poll()["flights"][1].path == release
    assert source.problems == ()


def test_a_base_that_is_a_link_is_the_operators_business(tmp_path: Path) -> None:
    folder = make_version(tmp_path / "real", "flights", "1")
    (tmp_path / "link").symlink_to("real")
    found = FileSystemSource(tmp_path / "link").poll()
    assert found["flights"][1].path == folder


@pytest.mark.parametrize("link", ["models/flights", "models/flights/1"])
def test_links_that_leave_the_base_are_refused(tmp_path: Path, link: str) -> None:
    outside = make_version(tmp_path, "outside", "1")
    base = tmp_path / "models"
    base.mkdir()
    target = outside if link.endswith("1") else outside.parent
    (tmp_path / link).parent.mkdir(exist_ok=True)
    (tmp_path / link).symlink_to(target)
    source = FileSystemSource(base)
    assert not numbers(source).get("flights")
    assert f"link {tmp_path / link} is refused" in source.problems[0]


def test_links_to_nowhere_are_ignored(tmp_path: Path) -> None:
    make_version(tmp_path, "flights", "1")
    (tmp_path / "flights" / "2").symlink_to("nowhere")
    (tmp_path / "flights" / "3").symlink_to("3")
    (tmp_path / "flights" / "4").symlink_to("1/model.bin")
    assert numbers(FileSystemSource(tmp_path)) == {"flights": [1]}


def rewrite(folder: Path) -> None:
    (folder / "model.bin").write_text("other weights")


def rewrite_with_same_length(folder: Path) -> None:
    (folder / "model.bin").write_text("WEIGHTS")


def rewrite_manifest(folder: Path) -> None:
    (folder / "samescore" / "manifest.json").write_text('{"name": "flights"}')


def add_file(folder: Path) -> None:
    (folder / "assets").mkdir()
    (folder / "assets" / "vocabulary.txt").write_text("a")


def mend_permission(folder: Path) -> None:
    (folder / "model.bin").chmod(0o600)


def replace_folder(folder: Path) -> None:
    shutil.copytree(folder, folder.with_name("copy"))  # keeps sizes and modification times
    shutil.rmtree(folder)
    folder.with_name("copy").rename(folder)


@pytest.mark.parametrize(
    "repair",
    [
        rewrite,
        rewrite_with_same_length,
        rewrite_manifest,
        add_file,
        mend_permission,
        replace_folder,
    ],
)
def test_the_token_changes_with_the_content(tmp_path: Path, repair: object) -> None:
    folder = make_version(tmp_path, "flights", "1")
    before = content_token(folder)
    time.sleep(0.02)  # a file system's clock may tick in steps of 10 ms
    assert callable(repair)
    repair(folder)
    assert content_token(folder) != before


def test_the_token_does_not_change_with_what_loading_leaves_behind(tmp_path: Path) -> None:
    folder = make_version(tmp_path, "flights", "1")
    before = content_token(folder)
    time.sleep(0.02)
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "service.pyc").write_text("")
    (folder / ".cache").write_text("")
    (folder / "model.bin").read_text()
    assert content_token(folder) == before


def test_the_token_survives_odd_names_and_dangling_links(tmp_path: Path) -> None:
    folder = make_version(tmp_path, "flights", "1")
    (folder / "line\nbreak").write_text("")
    (folder / "dangling").symlink_to("nowhere")
    assert content_token(folder) == content_token(folder)
