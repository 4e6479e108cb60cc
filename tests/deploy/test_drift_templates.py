"""The templates that schedule the drift job: their format, and the command inside them."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from samescore.cli import main

TEMPLATES = Path(__file__).parents[2] / "deploy" / "drift"
PREFIX = "/var/lib/"


def cron_words() -> list[str]:
    (line,) = (
        line
        for line in (TEMPLATES / "samescore-drift.cron").read_text().splitlines()
        if line and not line.startswith(("#", "CRON_TZ="))
    )
    assert "%" not in line, "cron ends a command at a percent sign"
    return shlex.split(line)


def service_words() -> list[str]:
    text = (TEMPLATES / "samescore-drift.service").read_text()
    (command,) = re.findall(r"^ExecStart=(.+)$", text, re.MULTILINE)
    return shlex.split(command)


def cronjob() -> dict[str, Any]:
    value = yaml.safe_load((TEMPLATES / "cronjob.yaml").read_text())
    assert isinstance(value, dict)
    return value


def container() -> dict[str, Any]:
    pod = cronjob()["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (found,) = pod["containers"]
    assert isinstance(found, dict)
    return found


COMMANDS = {
    "cron": lambda: cron_words()[6:],
    "systemd": service_words,
    "kubernetes": lambda: container()["command"],
}


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


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
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
    words = cron_words()
    assert words[:6] == ["15", "0", "*", "*", "*", "samescore"]
    assert "CRON_TZ=UTC" in (TEMPLATES / "samescore-drift.cron").read_text().splitlines()
    assert cron_words()[6:] == service_words(), "cron and systemd run the same command"


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.fail("systemd-analyze is not installed; apt-get install -y systemd")
    for name in ("samescore-drift.service", "samescore-drift.timer"):
        text = (TEMPLATES / name).read_text()
        # the path of an installation, which is not on this machine
        text = text.replace("/opt/samescore/bin/samescore", str(Path(sys.executable)))
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        [program, "verify", "--man=no", tmp_path / "samescore-drift.timer",
         tmp_path / "samescore-drift.service"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "samescore-drift" not in done.stderr, done.stderr
    times = subprocess.run(
        [program, "calendar", "*-*-* 00:15:00 UTC"], capture_output=True, text=True, check=True
    )
    assert "Normalized form: *-*-* 00:15:00 UTC" in times.stdout


def test_systemd_sees_drift_as_a_verdict_and_not_as_a_failure() -> None:
    text = (TEMPLATES / "samescore-drift.service").read_text()
    assert "\nSuccessExitStatus=1\n" in text
    assert "\nType=oneshot\n" in text


def test_the_cronjob_has_the_fields_of_its_schema() -> None:
    job = cronjob()
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "CronJob")
    assert set(job) == {"apiVersion", "kind", "metadata", "spec"}
    assert set(job["spec"]) <= {
        "schedule", "timeZone", "concurrencyPolicy", "startingDeadlineSeconds", "suspend",
        "successfulJobsHistoryLimit", "failedJobsHistoryLimit", "jobTemplate",
    }  # fmt: skip
    assert job["spec"]["concurrencyPolicy"] in {"Allow", "Forbid", "Replace"}
    assert job["spec"]["schedule"] == "15 0 * * *"
    assert job["spec"]["timeZone"] == "Etc/UTC"
    inner = job["spec"]["jobTemplate"]["spec"]
    assert set(inner) == {"backoffLimit", "activeDeadlineSeconds", "podFailurePolicy", "template"}
    labels = inner["template"]["metadata"]["labels"]
    assert labels.items() <= job["metadata"]["labels"].items()


def test_a_verdict_is_not_tried_again() -> None:
    inner = cronjob()["spec"]["jobTemplate"]["spec"]
    pod = inner["template"]["spec"]
    assert pod["restartPolicy"] == "Never", "podFailurePolicy takes no other"
    fail, ignore = inner["podFailurePolicy"]["rules"]
    assert fail["action"] == "FailJob"
    assert fail["onExitCodes"] == {
        "containerName": container()["name"], "operator": "In", "values": [1, 2],
    }  # fmt: skip
    assert ignore == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}


def test_every_folder_of_the_command_is_mounted() -> None:
    pod = cronjob()["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    mounts = {m["mountPath"]: m for m in container()["volumeMounts"]}
    assert {m["name"] for m in mounts.values()} == {v["name"] for v in pod["volumes"]}
    for word in container()["command"]:
        if word.startswith("/"):
            assert any(Path(word).is_relative_to(path) for path in mounts), word
    writable = {path for path, mount in mounts.items() if not mount.get("readOnly")}
    assert writable == {"/var/lib/samescore/drift", "/tmp"}
    assert container()["securityContext"]["readOnlyRootFilesystem"] is True
