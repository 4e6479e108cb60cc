"""The templates that schedule a replay: their format, and the command inside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from samescore.cli.replay.command import command
from tests.fixtures.job_templates import PREFIX, JobTemplates

TEMPLATES = JobTemplates("replay")


@pytest.mark.parametrize("words", TEMPLATES.commands().values(), ids=TEMPLATES.commands())
def test_the_real_command_takes_the_line(words: Any, tmp_path: Path) -> None:
    name, verb, *rest = words()
    assert (Path(name).name, verb) == ("samescore", "replay")
    root = tmp_path / "samescore"
    for folder in ("requests", "models"):
        (root / folder).mkdir(parents=True)
    below = [w.replace(PREFIX, f"{tmp_path}/") for w in rest]
    options = command.make_context("replay", below).params
    assert (options["log"], options["bundles"]) == (root / "requests", root / "models")
    assert (options["out"], options["html"]) == (root / "replay", True)
    assert options["since"] is not None
    assert (options["textfile"] is None) != (options["pushgateway"] is None)


def test_cron_and_systemd_run_the_same_command_as_a_user() -> None:
    words = TEMPLATES.cron_words()
    assert words[:6] == ["45", "0", "*", "*", "*", "samescore"]
    assert words[6:] == TEMPLATES.service_words()


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    TEMPLATES.verify_units(tmp_path)


def test_a_difference_is_a_verdict_and_not_a_failure() -> None:
    service = (TEMPLATES.folder / "samescore-replay.service").read_text()
    assert "\nSuccessExitStatus=1\n" in service
    fail, _ = TEMPLATES.job()["podFailurePolicy"]["rules"]
    assert fail["onExitCodes"] == {
        "containerName": TEMPLATES.container()["name"], "operator": "In", "values": [1, 2],
    }  # fmt: skip
    assert TEMPLATES.job()["template"]["spec"]["restartPolicy"] == "Never"


def test_every_folder_of_the_command_is_mounted_and_only_its_own_can_be_written() -> None:
    TEMPLATES.verify_mounts()
