"""The templates that schedule the drift job: their format, and the command inside them."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import click
import pytest

from samescore.cli import main
from tests.fixtures.job_templates import PREFIX, JobTemplates

TEMPLATES = JobTemplates("drift")


def parsed(words: list[str], root: Path) -> dict[str, Any]:
    """Parse a command line with the real command; its folders are made below `root`."""
    assert Path(words[0]).name == "samescore"
    below = [w.replace(PREFIX, f"{root}/") for w in words[1:]]
    for folder in ("requests", "models/flights/1"):
        (root / "samescore" / folder).mkdir(parents=True)
    context, command = click.Context(main), click.Command("")
    for name in below[:2]:
        group = command if isinstance(command, click.Group) else main
        found = group.get_command(context, name)
        assert found is not None
        command = found
    return command.make_context("run", below[2:]).params


@pytest.mark.parametrize("words", TEMPLATES.commands().values(), ids=TEMPLATES.commands())
def test_the_real_command_takes_the_line(words: Any, tmp_path: Path) -> None:
    options = parsed(words(), tmp_path)
    root = tmp_path / "samescore"
    assert options["log"] == root / "requests"
    assert options["bundle"] == root / "models" / "flights" / "1"
    assert options["out"] == root / "drift"
    assert str(options["length"]) == "1d"
    assert options["with_html"] is True
    assert (options["textfile"] is None) != (options["pushgateway"] is None)


def test_cron_runs_it_as_a_user_every_night() -> None:
    words = TEMPLATES.cron_words()
    assert words[:6] == ["15", "0", "*", "*", "*", "samescore"]
    assert "CRON_TZ=UTC" in (TEMPLATES.folder / "samescore-drift.cron").read_text().splitlines()
    assert words[6:] == TEMPLATES.service_words(), "cron and systemd run the same command"


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    TEMPLATES.verify_units(tmp_path)
    times = subprocess.run(
        ["systemd-analyze", "calendar", "*-*-* 00:15:00 UTC"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "Normalized form: *-*-* 00:15:00 UTC" in times.stdout


def test_systemd_sees_drift_as_a_verdict_and_not_as_a_failure() -> None:
    text = (TEMPLATES.folder / "samescore-drift.service").read_text()
    assert "\nSuccessExitStatus=1\n" in text
    assert "\nType=oneshot\n" in text


def test_the_cronjob_has_the_fields_of_its_schema() -> None:
    job = TEMPLATES.cronjob()
    assert set(job) == {"apiVersion", "kind", "metadata", "spec"}
    assert set(job["spec"]) <= {
        "schedule", "timeZone", "concurrencyPolicy", "startingDeadlineSeconds", "suspend",
        "successfulJobsHistoryLimit", "failedJobsHistoryLimit", "jobTemplate",
    }  # fmt: skip
    assert job["spec"]["concurrencyPolicy"] in {"Allow", "Forbid", "Replace"}
    assert job["spec"]["schedule"] == "15 0 * * *"
    inner = job["spec"]["jobTemplate"]["spec"]
    assert set(inner) == {"backoffLimit", "activeDeadlineSeconds", "podFailurePolicy", "template"}
    labels = inner["template"]["metadata"]["labels"]
    assert labels.items() <= job["metadata"]["labels"].items()


def test_a_verdict_is_not_tried_again() -> None:
    inner = TEMPLATES.job()
    pod = inner["template"]["spec"]
    assert pod["restartPolicy"] == "Never", "podFailurePolicy takes no other"
    fail, ignore = inner["podFailurePolicy"]["rules"]
    assert fail["action"] == "FailJob"
    assert fail["onExitCodes"] == {
        "containerName": TEMPLATES.container()["name"], "operator": "In", "values": [1, 2],
    }  # fmt: skip
    assert ignore == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}


def test_every_folder_of_the_command_is_mounted() -> None:
    TEMPLATES.verify_mounts()
    assert TEMPLATES.container()["securityContext"]["readOnlyRootFilesystem"] is True
