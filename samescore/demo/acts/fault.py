"""Act 7: one thing is broken on purpose, and must be found.

A feature is stored as float32 on its way. The golden gate refuses such a server; started with the
gate open, its log goes to a replay in a new process, which must name the request, the row, the
stage, the feature and the cause.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from consistency.snapshots import SNAPSHOT_FOLDER
from samescore.demo.acts.faulty import FAULTY_FEATURE
from samescore.demo.acts.replays import Report, model_key, replay_command, replay_finished
from samescore.demo.acts.serving import Served, ask, server
from samescore.demo.errors import DemoError
from samescore.demo.processes import finish, module_command, run
from samescore.demo.stage import VERSION, Stage
from samescore.demo.traffic.plan import evenly
from samescore.demo.traffic.wire import Connection

FAULTY_MODEL: Final = "lightgbm"
FAULTY_REQUESTS: Final = 300


@dataclass(frozen=True, slots=True)
class Refused:
    """What the server with the fault did while its golden gate was enforced.

    Attributes:
        message: why the version did not go live.
        status: the HTTP status of a request to it.
    """

    message: str
    status: int

    @property
    def refused(self) -> bool:
        """Whether nothing was served, for a reason that the golden gate gave."""
        return self.status == 404 and "golden gate" in self.message


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the replay of the faulty server's log found.

    Attributes:
        code: the replay's exit code.
        report: its report of the model.
    """

    code: int
    report: Report

    @property
    def worst(self) -> dict[str, Any]:  # Any: JSON
        """The worst difference of the first stage that differs; empty if there is none."""
        found: list[dict[str, Any]] = self.report.get("worst", [])
        return found[0] if found else {}

    @property
    def detected(self) -> bool:
        """Whether the replay said so: exit code 1, and what differs."""
        return self.code == 1 and bool(self.worst)

    def to_json(self) -> dict[str, Any]:  # Any: JSON
        """Return `{detected, stage, feature}`."""
        worst = self.worst
        return {
            "detected": self.detected,
            "stage": worst.get("stage", ""),
            "feature": worst.get("name", ""),
        }

    def details(self) -> dict[str, Any]:  # Any: JSON
        """Return all that the report shows of it."""
        stages = self.report.get("stages", {})
        return {
            "model": FAULTY_MODEL,
            "exit_code": self.code,
            "requests": self.report.get("requests", 0),
            "rows": self.report.get("rows", 0),
            "rows_differing": {
                stage: found["rows"] - found["rows_agreeing"] for stage, found in stages.items()
            },
            "worst": self.worst,
            "finding": self.report.get("features", {}).get(FAULTY_FEATURE, {}),
        }


def set_aside(stage: Stage) -> Path:
    """Copy the model that is to be served with the fault, and return its base folder."""
    base = stage.fault / "models"
    shutil.copytree(stage.models / FAULTY_MODEL, base / FAULTY_MODEL)
    return base


def refused_by_gate(stage: Stage, base: Path, payload: bytes) -> Refused:
    """Start the faulty server with the gate enforced, and ask it for a score.

    Raises:
        DemoError: it did not start.
    """
    said = stage.said("fault-enforced")
    log = stage.fault / "requests-enforced"
    with server(_command(stage, base, log, "enforce"), said) as served:
        status, _ = ask(f"{served.url}/predict/{FAULTY_MODEL}/{VERSION}", payload)
        finish("the server with the fault", served.process, said)
    return Refused("\n".join(served.failed.values()), status)


def answer_all_the_same(stage: Stage, base: Path, payloads: Sequence[bytes]) -> int:
    """Start the faulty server with the gate open, send requests, and stop it.

    Args:
        stage: the folders.
        base: the bundles.
        payloads: bodies of good requests; about `FAULTY_REQUESTS` of them are sent.

    Returns:
        How many were answered.

    Raises:
        DemoError: the server did not start, stop, or answer one with a score.
    """
    said = stage.said("fault-reported")
    with server(_command(stage, base, _log(stage), "report"), said) as served:
        chosen = evenly(len(payloads), min(FAULTY_REQUESTS, len(payloads)))
        for i in chosen:
            _send(served, payloads[i])
        finish("the server with the fault", served.process, said)
    return len(chosen)


def replay_fault(stage: Stage, base: Path) -> Verdict:
    """Replay the faulty server's log in a new process."""
    said = stage.said("fault-replay")
    snapshots = ("--snapshots", stage.models / SNAPSHOT_FOLDER)
    finished = run(replay_command(_log(stage), base, *snapshots), said)
    report = replay_finished(finished, said)
    return Verdict(finished.code, report["models"].get(model_key(FAULTY_MODEL), {}))


def _send(served: Served, payload: bytes) -> None:
    connection = Connection(served.url)
    try:
        connection.post(f"/predict/{FAULTY_MODEL}/{VERSION}", payload)
        answer = connection.answer()
    finally:
        connection.close()
    if answer.status != 200:
        text = answer.body.decode(errors="replace")
        raise DemoError(f"the server with the fault answered {answer.status}: {text}")


def _command(stage: Stage, base: Path, log: Path, gate: str) -> list[str]:
    return module_command(
        "samescore.demo.acts.faulty", base, "--snapshots", stage.models / SNAPSHOT_FOLDER,
        "--log", log, "--gate", gate,
    )  # fmt: skip


def _log(stage: Stage) -> Path:
    return stage.fault / "requests"
