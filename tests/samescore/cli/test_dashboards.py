"""`samescore dashboards build|publish`; publishing talks HTTP to a stand-in for Grafana."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from dashboards.render import boards
from tests.fakes.grafana_stand_in import GrafanaStandIn, grafana_stand_in
from tests.fixtures.cli import mistake, samescore

OVERVIEW, MODEL = "samescore-overview", "samescore-model"


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    """The token of an editor, for the tests that set no other."""
    monkeypatch.setenv("GRAFANA_TOKEN", "editor-token")


@pytest.fixture
def grafana() -> Iterator[GrafanaStandIn]:
    """A stand-in with two folders."""
    with grafana_stand_in(folders={"f1": "samescore", "f2": "other"}) as running:
        yield running


def test_build_writes_every_board(tmp_path: Path) -> None:
    ran = samescore("dashboards", "build", "--out", tmp_path / "new" / "boards")
    assert ran.code == 0
    written = {p.name: p.read_text("utf-8") for p in (tmp_path / "new" / "boards").iterdir()}
    assert written == {b.file_name: b.text for b in boards()}
    assert "samescore / Overview" in ran.out


def test_check_says_what_is_not_current_and_writes_nothing(tmp_path: Path) -> None:
    assert samescore("dashboards", "build", "--out", tmp_path).code == 0
    assert samescore("dashboards", "build", "--check", "--out", tmp_path).code == 0
    (tmp_path / f"{OVERVIEW}.json").write_text("{}\n")
    (tmp_path / f"{MODEL}.json").unlink()
    (tmp_path / "samescore-old.json").write_text("{}\n")
    before = {p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    ran = samescore("dashboards", "build", "--check", "--out", tmp_path)
    assert ran.code == 1
    assert f"{OVERVIEW}.json: not current" in ran.out
    assert f"{MODEL}.json: missing" in ran.out
    assert "samescore-old.json: no board of samescore" in ran.out
    assert f"run: samescore dashboards build --out {tmp_path}" in ran.err
    assert {p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir()} == before


def test_check_of_a_folder_that_is_not_there(tmp_path: Path) -> None:
    ran = samescore("dashboards", "build", "--check", "--out", tmp_path / "none")
    assert ran.code == 1
    assert ran.out.count("missing") == 2


def test_build_into_a_file(tmp_path: Path) -> None:
    taken = tmp_path / "boards"
    taken.write_text("")
    said = mistake("dashboards", "build", "--out", taken)
    assert f"--out {taken}" in said
    assert "name a folder" in said


def test_boards_are_created_in_the_folder(grafana: GrafanaStandIn) -> None:
    ran = samescore("dashboards", "publish", "--url", grafana.url)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines() == [f"{OVERVIEW}: created", f"{MODEL}: created"]
    assert grafana.places == {OVERVIEW: "f1", MODEL: "f1"}
    for board in boards():
        stored = grafana.boards[board.uid]
        assert {k: v for k, v in stored.items() if k not in {"id", "version"}} == board.content
    assert set(grafana.messages) == {"samescore dashboards publish"}


def test_publishing_again_writes_nothing(grafana: GrafanaStandIn) -> None:
    samescore("dashboards", "publish", "--url", grafana.url)
    grafana.asked.clear()
    ran = samescore("dashboards", "publish", "--url", f"{grafana.url}/")
    assert ran.out.splitlines() == [f"{OVERVIEW}: unchanged", f"{MODEL}: unchanged"]
    assert grafana.writes == []
    assert {b["version"] for b in grafana.boards.values()} == {1}


def test_only_the_board_that_differs_is_written(grafana: GrafanaStandIn) -> None:
    samescore("dashboards", "publish", "--url", grafana.url)
    grafana.boards[MODEL]["title"] = "changed by hand"
    ran = samescore("dashboards", "publish", "--url", grafana.url)
    assert ran.out.splitlines() == [f"{OVERVIEW}: unchanged", f"{MODEL}: updated"]
    assert grafana.boards[MODEL]["title"] == "samescore / Model"
    assert grafana.boards[MODEL]["version"] == 2
    assert grafana.boards[OVERVIEW]["version"] == 1


def test_a_board_in_another_folder_is_moved(grafana: GrafanaStandIn) -> None:
    samescore("dashboards", "publish", "--url", grafana.url, "--folder", "other")
    ran = samescore("dashboards", "publish", "--url", grafana.url, "--folder", "f1")
    assert ran.out.splitlines() == [f"{OVERVIEW}: moved", f"{MODEL}: moved"]
    assert set(grafana.places.values()) == {"f1"}


def test_general_is_the_root(grafana: GrafanaStandIn) -> None:
    samescore("dashboards", "publish", "--url", grafana.url, "--folder", "General")
    assert set(grafana.places.values()) == {""}


def test_a_dry_run_shows_the_difference_and_writes_nothing(grafana: GrafanaStandIn) -> None:
    samescore("dashboards", "publish", "--url", grafana.url)
    grafana.boards[MODEL]["refresh"] = "5s"
    del grafana.boards[OVERVIEW]
    grafana.asked.clear()
    ran = samescore("dashboards", "publish", "--url", grafana.url, "--dry-run")
    assert ran.code == 1
    assert grafana.writes == []
    lines = ran.out.splitlines()
    assert lines[:3] == [f"{OVERVIEW}: would create", "--- /dev/null", f"+++ built/{OVERVIEW}"]
    changed = lines[lines.index(f"{MODEL}: would update") + 1 :]
    assert changed[:2] == [f"--- grafana/{MODEL}", f"+++ built/{MODEL}"]
    assert [line for line in changed[2:] if line[0] in "+-"] == [
        '-  "refresh": "5s",',
        '+  "refresh": "30s",',
    ]


def test_a_dry_run_without_a_difference(grafana: GrafanaStandIn) -> None:
    samescore("dashboards", "publish", "--url", grafana.url)
    ran = samescore("dashboards", "publish", "--url", grafana.url, "--dry-run")
    assert ran.code == 0
    assert ran.out.splitlines() == [f"{OVERVIEW}: unchanged", f"{MODEL}: unchanged"]


def test_an_unknown_folder(grafana: GrafanaStandIn) -> None:
    said = mistake("dashboards", "publish", "--url", grafana.url, "--folder", "mine")
    assert "there is no folder 'mine'" in said
    assert "other, samescore" in said
    assert "--create-folder" in said
    assert grafana.writes == []


def test_a_folder_is_created_when_asked(grafana: GrafanaStandIn) -> None:
    asked = ("dashboards", "publish", "--url", grafana.url, "--folder", "mine", "--create-folder")
    dry = samescore(*asked, "--dry-run")
    assert dry.code == 1
    assert "the folder 'mine' would be created" in dry.out
    assert grafana.writes == []
    assert samescore(*asked).code == 0
    (uid,) = (uid for uid, title in grafana.folders.items() if title == "mine")
    assert set(grafana.places.values()) == {uid}
    assert samescore(*asked).out.count("unchanged") == 2


def test_two_folders_of_one_title(grafana: GrafanaStandIn) -> None:
    grafana.folders["f3"] = "samescore"
    assert "by its uid, f1 or f3" in mistake("dashboards", "publish", "--url", grafana.url)


def test_a_path_in_front_of_grafana() -> None:
    with grafana_stand_in(folders={"f1": "samescore"}, prefix="/team/grafana") as behind:
        assert samescore("dashboards", "publish", "--url", behind.url).code == 0
        assert behind.asked[0] == ("GET", "/team/grafana/api/folders")


def test_nobody_listens() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        said = mistake("dashboards", "publish", "--url", url)
    assert f"on {url}: connection refused" in said
    assert "is Grafana running at this address" in said


def test_an_unknown_token(grafana: GrafanaStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFANA_TOKEN", "forged")
    said = mistake("dashboards", "publish", "--url", grafana.url)
    assert "Unauthorized" in said
    assert "make a new one for a service account" in said
    assert "forged" not in said


def test_a_token_that_may_not_write(
    grafana: GrafanaStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIEW", "viewer-token")
    said = mistake("dashboards", "publish", "--url", grafana.url, "--token-env", "VIEW")
    assert "additional permissions" in said
    assert "role Editor" in said
    assert grafana.boards == {}


def test_no_token(grafana: GrafanaStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GRAFANA_TOKEN")
    said = mistake("dashboards", "publish", "--url", grafana.url)
    assert "--token-env GRAFANA_TOKEN: this environment variable is not set" in said
    assert grafana.asked == []


def test_a_token_that_no_header_can_hold(
    grafana: GrafanaStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAFANA_TOKEN", "a\nb")
    assert "is no token" in mistake("dashboards", "publish", "--url", grafana.url)


@pytest.mark.parametrize(
    "url",
    [
        "grafana.example.org",
        "ftp://127.0.0.1",
        "http://",
        "http://me:secret@127.0.0.1",
        "http://127.0.0.1/?orgId=1",
        "http://127.0.0.1:port",
        "http://[::1",
    ],
)
def test_a_url_that_is_none(url: str) -> None:
    said = mistake("dashboards", "publish", "--url", url)
    assert "--url" in said
    assert "write it as http(s)://host[:port][/path]" in said
    assert "secret" not in said


def test_a_provisioned_board_cannot_be_written(grafana: GrafanaStandIn) -> None:
    samescore("dashboards", "publish", "--url", grafana.url)
    grafana.boards[MODEL]["refresh"] = "5s"
    grafana.provisioned.add(MODEL)
    said = mistake("dashboards", "publish", "--url", grafana.url)
    assert f"cannot write the board {MODEL!r}" in said
    assert "provisioned" in said


def test_a_board_of_that_title_is_there_already(grafana: GrafanaStandIn) -> None:
    grafana.boards["theirs"] = {"uid": "theirs", "title": "samescore / Model", "version": 1}
    grafana.places["theirs"] = "f1"
    said = mistake("dashboards", "publish", "--url", grafana.url)
    assert "same name" in said
    assert "another board of this title" in said
    assert grafana.boards["theirs"] == {"uid": "theirs", "title": "samescore / Model", "version": 1}


def test_something_else_answers(grafana: GrafanaStandIn) -> None:
    grafana.broken = True
    said = mistake("dashboards", "publish", "--url", grafana.url)
    assert "does it answer with JSON" in said


def test_the_token_on_an_open_line_is_warned_of() -> None:
    ran = samescore("dashboards", "publish", "--url", "http://grafana.invalid")
    assert ran.code == 2
    assert "anyone on the way can read the token" in ran.err
