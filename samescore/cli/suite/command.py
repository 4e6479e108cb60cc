"""`samescore suite show|policy`; the other commands of the group have files of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console

from monitors.suites import CompiledSuite, SuitePolicy, compile_suite
from monitors.suites.compiled.compiler import load_json
from monitors.suites.compiled.rules import AnyRule
from samescore.cli.options import json_option, print_json
from samescore.cli.suite.build import command as build
from samescore.cli.suite.check import command as check
from samescore.cli.suite.docs import command as docs
from samescore.suites import with_policy, write_suite

_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
_SERVER: Final = "server"
"""In place of a policy: the rule does what `--suite-policy` of the server says."""


@click.group("suite")
def command() -> None:
    """Make an expectation suite, show what guards requests, and check data with it."""


for _command in (build, check, docs):
    command.add_command(_command)


@command.command("show")
@click.argument("suite", type=_FILE)
@json_option
def show(suite: Path, as_json: bool) -> None:
    """List the rules in SUITE that can guard each row, and what only a batch can be checked for.

    \b
    Example:
      samescore suite show suite.json

    Conflicts that a build left open are listed at the end.
    """
    held = load_json(suite)
    compiled = compile_suite(held, str(suite))
    conflicts = ((held.get("meta") or {}).get("samescore") or {}).get("conflicts", [])
    if as_json:
        print_json({**_compiled_json(compiled), "conflicts": conflicts})
        return
    console = Console(soft_wrap=True)

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False)

    for rule in compiled.rules:
        say(f"row    {rule.label}: allows {rule.allowed}{_becomes(rule)}")
    for left in compiled.left_out:
        say(
            f"{left.level.value:6} {left.column or 'table'}: {left.kind} is not run on requests: "
            f"{left.reason}"
        )
    for one in conflicts:
        say(f"open conflict: {one['rule']}: {one['field']}; the new reference says {one['new']}")


def _becomes(rule: AnyRule) -> str:
    """Return what is said of a rule that does not simply do what the server does."""
    told = [] if rule.policy is None else [f"policy {rule.policy}"]
    if rule.mostly != 1:
        told.append(f"mostly {rule.mostly:g}: never rejects")
    return f" ({'; '.join(told)})" if told else ""


def _compiled_json(compiled: CompiledSuite) -> dict[str, Any]:
    return {
        "suite": compiled.name,
        "rules": [
            {
                "rule": r.label,
                "type": r.kind,
                "columns": list(r.columns),
                "level": "row",
                "allows": r.allowed,
                "mostly": r.mostly,
                "policy": r.policy,
            }
            for r in compiled.rules
        ],
        "left_out": [
            {"type": x.kind, "column": x.column, "level": x.level.value, "reason": x.reason}
            for x in compiled.left_out
        ],
    }


class _RulePolicy(click.ParamType[tuple[str, SuitePolicy | None]]):
    """`RULE=POLICY`."""

    name = "rule=policy"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, SuitePolicy | None]:
        """Split the text at its last equals sign: a rule's name may hold others."""
        if isinstance(value, tuple):
            return value
        rule, equals, policy = str(value).rpartition("=")
        if not (rule and equals) or policy not in (*SuitePolicy, _SERVER):
            known = ", ".join((*SuitePolicy, _SERVER))
            self.fail(f"{value!r}: write it as RULE=POLICY with one of {known}", param, ctx)
        return rule, None if policy == _SERVER else SuitePolicy(policy)


@command.command("policy")
@click.argument("suite", type=_FILE)
@click.argument("policies", type=_RulePolicy(), nargs=-1, required=True, metavar="RULE=POLICY...")
def policy(suite: Path, policies: tuple[tuple[str, SuitePolicy | None], ...]) -> None:
    """Set in SUITE what becomes of a row that breaks a rule.

    \b
    Example:
      samescore suite policy suite.json city:be_in_set=flag age:be_between=reject

    reject: the request is refused as a data error; flag: it is scored, and its reply and its line
    in the log name the rule and the rows; count: only the metric tells; server: what the server's
    --suite-policy says. A later `suite build` keeps it.
    """
    held = load_json(suite)
    for rule, chosen in policies:
        held = with_policy(held, rule, chosen)
    write_suite(suite, held)
    for rule, chosen in policies:
        click.echo(f"{rule}: {chosen or 'as the server says'}")
