"""Every alert has its page, and what a page says to type can be typed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from monitors.alerting.alerts import build_rules
from monitors.alerting.settings import AlertSettings
from monitors.slo.rules import build_slo_rules
from samescore.cli import main
from tests.rules.slo_cases import SLO

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "runbooks"
RULES = AlertSettings(workers=1, model_age_seconds=1, feature_psi=0.25)
GROUPS = (*build_rules(RULES), *build_slo_rules(SLO, RULES))
BUILT = {a.name: a for g in GROUPS for a in reversed(g.alerts)}
"""By name; an alert on the budget of an objective is there four times, the first one counts."""
ALERTS = list(BUILT)
SECTIONS = ["Meaning", "First look", "Causes and remedies", "Silence"]
PAGES = pytest.mark.parametrize("alert", ALERTS)


def page(alert: str) -> str:
    return (FOLDER / f"{alert}.md").read_text(encoding="utf-8")


def sections(text: str) -> dict[str, str]:
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def commands(text: str) -> Iterator[list[str]]:
    """Yield each command of the shell blocks as its words; a pipe's parts one by one."""
    for block in re.findall(r"^ *```sh\n(.*?)^ *```", text, flags=re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line)
            while "|" in words:
                yield words[: words.index("|")]
                words = words[words.index("|") + 1 :]
            yield words


def parse(words: list[str]) -> None:
    """Parse a `samescore` command without running it; a name or option it lacks is an error.

    Paths are stand-ins, so values are not converted.
    """
    group: click.Command = main
    rest = words[1:]
    while isinstance(group, click.Group):
        found = group.get_command(click.Context(group), rest[0])
        assert found is not None, f"no command {rest[0]!r} in {shlex.join(words)}"
        group, rest = found, rest[1:]
    if rest == ["--help"]:
        return
    context = click.Context(group)
    given, left, order = group.make_parser(context).parse_args(rest)
    assert not left, f"{left} are too many in {shlex.join(words)}"
    for parameter in order:
        value = given.get(parameter.name)
        if isinstance(parameter.type, click.types.IntParamType):
            parameter.type_cast_value(context, value)
    lacking = [p.name for p in group.params if p.required and _is_missing(p, given.get(p.name))]
    assert not lacking, f"{shlex.join(words)} lacks {lacking}"


def _is_missing(parameter: click.Parameter, value: object) -> bool:
    return value is None or parameter.value_is_missing(value)


def test_there_is_a_page_for_each_alert_and_none_without_one() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.md")) == sorted(ALERTS)


@PAGES
def test_a_page_has_its_sections_and_something_in_each(alert: str) -> None:
    assert page(alert).startswith(f"# {alert}\n")
    found = sections(page(alert))
    assert list(found) == SECTIONS
    assert all(len(text.split()) > 8 for text in found.values())


@PAGES
def test_a_page_says_what_to_type_first_and_it_can_be_typed(alert: str) -> None:
    assert list(commands(sections(page(alert))["First look"]))
    for words in commands(page(alert)):
        if words[0] == "samescore":
            parse(words)


@PAGES
def test_a_page_leads_to_the_requests_behind_its_alert_if_there_are_any(alert: str) -> None:
    typed = [words for words in commands(page(alert)) if words[:3] == ["samescore", "log", "cat"]]
    asked = [words for words in typed if "--alert" in words]
    assert bool(asked) == (BUILT[alert].rows is not None)
    assert {words[words.index("--alert") + 1] for words in asked} <= {alert}


@PAGES
def test_the_silence_is_for_this_alert_and_ends(alert: str) -> None:
    (silence,) = commands(sections(page(alert))["Silence"])
    assert silence[:4] == ["amtool", "silence", "add", f"alertname={alert}"]
    assert any(word.startswith("--duration=") for word in silence)


@pytest.mark.parametrize(
    "line",
    [
        "samescore lock cat requests",
        "samescore log cat requests --modell m",
        "samescore log cat",
        "samescore log cat requests more",
        "samescore log cat requests --limit many",
    ],
)
def test_a_command_that_does_not_exist_is_seen(line: str) -> None:
    with pytest.raises((AssertionError, click.UsageError)):
        parse(shlex.split(line))


def test_options_named_in_the_text_exist() -> None:
    text = "".join(page(alert) for alert in ALERTS)
    named = set(re.findall(r"`(--[a-z-]+)", text))
    known = {option for command in _leaves(main) for p in command.params for option in p.opts}
    assert len(named) > 10
    assert named <= known


def _leaves(group: click.Group) -> Iterator[click.Command]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield from _leaves(command) if isinstance(command, click.Group) else (command,)


def test_the_table_of_alerts_is_the_builders() -> None:
    text = (ROOT / "docs" / "alerts.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| \[(\w+)\]\(runbooks/(\w+)\.md\) \| (\w+) \|", text, re.MULTILINE)
    alerts = [(a.name, a.name, a.severity.value) for a in BUILT.values()]
    assert sorted(told) == sorted(alerts)
