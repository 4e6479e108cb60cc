from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from samescore import __version__
from samescore.cli import main
from tests.fixtures.cli import mistake, samescore

COMMAND = Path(sys.executable).with_name("samescore")


def commands(group: click.Group, *path: str) -> Iterator[tuple[str, ...]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, *path, name)
        else:
            yield (*path, name)


ALL = sorted(commands(main))


def test_the_commands_are_those_that_the_readme_names() -> None:
    assert ALL == [
        ("bundle", "build"),
        ("bundle", "check"),
        ("bundle", "show"),
        ("dashboards", "build"),
        ("dashboards", "publish"),
        ("demo",),
        ("drift", "history"),
        ("drift", "run"),
        ("drift", "show"),
        ("log", "cat"),
        ("log", "compact"),
        ("log", "export"),
        ("log", "prune"),
        ("log", "stats"),
        ("log", "tail"),
        ("log", "verify"),
        ("model-server",),
        ("parity",),
        ("promote",),
        ("replay",),
        ("rules", "build"),
        ("serve",),
        ("storage",),
        ("suite", "build"),
        ("suite", "check"),
        ("suite", "docs"),
        ("suite", "policy"),
        ("suite", "show"),
    ]


@pytest.mark.parametrize("command", ALL, ids=" ".join)
def test_each_commands_help_gives_an_example_of_itself(command: tuple[str, ...]) -> None:
    ran = samescore(*command, "--help")
    assert ran.code == 0
    example = ran.out.partition("Example:")[2].strip().splitlines()
    assert example[0].startswith(f"samescore {' '.join(command)}")


@pytest.mark.parametrize(
    ("command", "codes"),
    [
        (("replay",), ("0: every row", "1: something differs", "2: wrong usage")),
        (("bundle", "check"), ("0: all reproduced", "1: the golden gate fails")),
        (("log", "verify"), ("0: intact", "1: lines are damaged")),
        (
            ("log", "cat"),
            ("Exit code 1 when a --request-id is not in the log, or no request is behind",),
        ),
        (("log", "compact"), ("0: all sealed segments", "1: a damaged one stays as it is")),
    ],
)
def test_exit_codes_are_documented(command: tuple[str, ...], codes: tuple[str, ...]) -> None:
    words = samescore(*command, "--help").words
    assert all(code in words for code in codes)


def test_the_version_is_the_packages() -> None:
    assert samescore("--version").words == f"samescore, version {__version__}"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("replai",), "No such command 'replai'"),
        (("bundle", "eat"), "No such command 'eat'"),
        (("replay", "--no-such-option"), "No such option"),
        (("log", "verify"), "Missing argument 'LOG'"),
    ],
)
def test_a_typing_error_is_told_and_ends_with_2(arguments: tuple[str, ...], said: str) -> None:
    assert said in mistake(*arguments)


def test_the_installed_command_is_this_one() -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SAMESCORE_")}
    done = subprocess.run(
        [COMMAND, "replay", "nowhere", "--bundles", "nowhere"],
        check=False, capture_output=True, text=True, timeout=60, env=environment,
    )  # fmt: skip
    assert done.returncode == 2
    assert "Directory 'nowhere' does not exist" in done.stderr
    assert "Traceback" not in done.stderr


def test_options_can_be_set_by_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SAMESCORE_REPLAY_DECIMALS", "99")
    assert "99 is not in the range" in mistake("replay", tmp_path, "--bundles", tmp_path)
