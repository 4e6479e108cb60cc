"""The templates that schedule a replay: their format, and the command inside them."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from samescore.cli.replay import command

TEMPLATES = Path(__file__).parents[2] / "deploy" / "replay"
PREFIX = "/var/lib/"


def cron_words() -> list[str]:
    (line,) = (
        line
        for line in (TEMPLATES / "samescore-replay.cron").read_text().splitlines()
        if line and not line.startswith(("#", "CRON_TZ="))
    )
    assert "%" not in line, "cron ends a command at a percent sign"
    return shlex.split(line)


def service_words() -> list[str]:
    text = (TEMPLATES / "samescore-replay.service").read_text()
    (found,) = re.findall(r"^ExecStart=(.+)$", text, re.MULTILINE)
    return shlex.split(found)


def inner() -> dict[str, Any]:
    value: dict[str, Any] = yaml.safe_load((TEMPLATES / "cronjob.yaml").read_text())
    assert (value["apiVersion"], value["kind"]) == ("batch/v1", "CronJob")
    assert value["spec"]["timeZone"] == "Etc/UTC"
    found: dict[str, Any] = value["spec"]["jobTemplate"]["spec"]
    return found


def container() -> dict[str, Any]:
    (found,) = inner()["template"]["spec"]["containers"]
    assert isinstance(found, dict)
    return found


COMMANDS = {
    "cron": lambda: cron_words()[6:],
    "systemd": service_words,
    "kubernetes": lambda: container()["command"],
}


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
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
    words = cron_words()
    assert words[:6] == ["45", "0", "*", "*", "*", "samescore"]
    assert words[6:] == service_words()


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.fail("systemd-analyze is not installed; apt-get install -y systemd")
    names = ("samescore-replay.service", "samescore-replay.timer")
    for name in names:
        text = (TEMPLATES / name).read_text()
        # the path of an installation, which is not on this machine
        text = text.replace("/opt/samescore/bin/samescore", str(Path(sys.executable)))
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        [program, "verify", "--man=no", *(tmp_path / name for name in names)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "samescore-replay" not in done.stderr, done.stderr


def test_a_difference_is_a_verdict_and_not_a_failure() -> None:
    assert "\nSuccessExitStatus=1\n" in (TEMPLATES / "samescore-replay.service").read_text()
    fail, _ = inner()["podFailurePolicy"]["rules"]
    assert fail["onExitCodes"] == {
        "containerName": container()["name"], "operator": "In", "values": [1, 2],
    }  # fmt: skip
    assert inner()["template"]["spec"]["restartPolicy"] == "Never"


def test_every_folder_of_the_command_is_mounted_and_only_its_own_can_be_written() -> None:
    pod = inner()["template"]["spec"]
    mounts = {m["mountPath"]: m for m in container()["volumeMounts"]}
    assert {m["name"] for m in mounts.values()} == {v["name"] for v in pod["volumes"]}
    for word in container()["command"]:
        if word.startswith("/"):
            assert any(Path(word).is_relative_to(path) for path in mounts), word
    writable = {path for path, mount in mounts.items() if not mount.get("readOnly")}
    assert writable == {"/var/lib/samescore/replay", "/tmp"}
