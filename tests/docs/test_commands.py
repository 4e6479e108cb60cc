"""Whatever the pages, the deployment notes and `--help` say to type is parsed as it stands.

Nothing runs here: a command that was renamed, an option that is gone, a value that would be refused
and a required option that a page forgot are seen all the same. Tests of this kind elsewhere pass
over continued lines, pipelines and prose; here these are read too.
"""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click
import pytest

from samescore.cli import main
from tests.fixtures.cli import samescore

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = sorted(
    page
    for pattern in ("README.md", "docs/**/*.md", "deploy/**/README.md", "examples/**/README.md")
    for page in ROOT.glob(pattern)
)
STANDS_FOR: Final = {"STARTS_AT": "2026-01-31T12:00Z"}
"""Words in capitals that whoever types replaces, where the value must be of a kind."""
TERMINAL: Final = 80


def commands() -> dict[tuple[str, ...], click.Command]:
    found: dict[tuple[str, ...], click.Command] = {}
    waiting: list[tuple[tuple[str, ...], click.Command]] = [((), main)]
    while waiting:
        path, command = waiting.pop()
        found[path] = command
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                child = command.get_command(context, name)
                assert child is not None
                waiting.append(((*path, name), child))
    return found


COMMANDS: Final = commands()


def typed(text: str) -> list[str]:
    """Return what is typed behind `samescore` in the lines of a shell, continued ones joined."""
    lines = text.replace("\\\n", " ").splitlines()
    found = [re.search(r"(?:^\s*(?:\$ )?|[|;&] *)(?:\S*/)?samescore +(.*)", x) for x in lines]
    return [re.split(r" [|;&>]", m[1])[0] for m in found if m is not None]


def fenced(page: Path) -> Iterator[str]:
    blocks = re.findall(
        r"^( *)```(\w*)[^\n]*\n(.*?)^\1```", page.read_text(), re.DOTALL | re.MULTILINE
    )
    for _, language, block in blocks:
        if language in ("", "sh", "bash"):
            yield from typed(block)


def split(words: list[str]) -> tuple[click.Command, list[str]]:
    """Return the command that is meant, and its own arguments."""
    path: tuple[str, ...] = ()
    while words and isinstance(COMMANDS[path], click.Group) and not words[0].startswith("-"):
        path, words = (*path, words[0]), words[1:]
        assert path in COMMANDS, f"there is no command {' '.join(path)!r}"
    return COMMANDS[path], words


def parse(line: str) -> None:
    """Parse a whole command as click would; paths need not be there."""
    words = [STANDS_FOR.get(w, w) for w in shlex.split(line, comments=True)]
    command, words = split(words)
    if "--help" in words or "--version" in words:
        return
    context = click.Context(command)
    given, rest, order = command.make_parser(context).parse_args(list(words))
    assert not rest, f"nothing takes {rest}"
    for parameter in order:
        if not isinstance(parameter.type, click.Path):
            parameter.type_cast_value(context, given.get(parameter.name or ""))
    for parameter in command.params:
        if parameter.required:
            name = parameter.name or ""
            there = name in given and not parameter.value_is_missing(given[name])
            assert there, f"{name} is missing"


def test_the_pages_have_commands() -> None:
    assert sum(len(list(fenced(page))) for page in PAGES) > 100


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_fenced_commands_are_parsed(page: Path) -> None:
    for line in fenced(page):
        try:
            parse(line)
        except (AssertionError, ValueError, click.ClickException) as e:
            pytest.fail(f"samescore {line}: {e}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_within_sentences_exist_with_their_options(page: Path) -> None:
    prose = re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    for said in re.findall(r"`samescore\s([^`]+)`", prose):
        command, words = split([w for w in said.split() if w != "…"])
        options = {o for p in command.params for o in (*p.opts, *p.secondary_opts)} | {"--help"}
        unknown = [w for w in words if w.startswith("--") and w.split("=")[0] not in options]
        assert not unknown, f"samescore {said}: no such option {unknown}"


def test_extras_that_pages_and_messages_name_can_be_installed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    sources = [
        page
        for package in ("consistency", "monitors", "serving", "dashboards", "samescore")
        for page in (ROOT / package).rglob("*.py")
    ]
    named = {
        extra.strip()
        for page in (*PAGES, *sources)
        for extras in re.findall(r"samescore\[([a-z][a-z, ]*)\]", page.read_text())
        for extra in extras.split(",")
    }
    assert len(named) > 10
    assert named <= set(project["optional-dependencies"])


@pytest.mark.parametrize("path", sorted(COMMANDS), ids=lambda p: " ".join(p) or "samescore")
def test_help_fits_a_terminal_and_its_examples_are_parsed(path: tuple[str, ...]) -> None:
    out = samescore(*path, "--help").out
    assert [line for line in out.splitlines() if len(line) > TERMINAL] == []
    example = out.partition("Example:\n")[2].partition("\n\n")[0]
    for line in typed(example):
        parse(line)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("log eat requests", "no command 'log eat'"),
        ("replay requests --bundle models", "No such option"),
        ("serve models", "log_folder is missing"),
        ("replay requests other --bundles models", "nothing takes"),
        ("serve models --log requests --port zero", "not a valid integer"),
    ],
)
def test_a_wrong_command_is_seen(line: str, said: str) -> None:
    with pytest.raises((AssertionError, click.ClickException)) as caught:
        parse(line)
    message = (
        caught.value.format_message()
        if isinstance(caught.value, click.ClickException)
        else str(caught.value)
    )
    assert said in message
