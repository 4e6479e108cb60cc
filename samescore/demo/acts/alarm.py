"""Act 9: a real Prometheus watches a server; an unseen category comes in, and goes.

The rules are those of `samescore rules build`, with times of seconds in the place of minutes. The
server's requests go to a log of their own, and into no other figure of the demo.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from consistency.snapshots import SNAPSHOT_FOLDER
from monitors.alerting.alerts import PREFIX, build_rules
from monitors.alerting.recordings import Recordings
from monitors.alerting.rules import to_yaml
from monitors.alerting.settings import AlertSettings
from samescore.demo.acts.alarm_states import AlertState, Look, Timeline, look_at, not_available
from samescore.demo.acts.prometheus import PROGRAM, Prometheus, find_prometheus, scraping
from samescore.demo.acts.serving import Served, server
from samescore.demo.processes import failed, finish, module_command, running, samescore_command
from samescore.demo.stage import PIPELINE_PACKAGE, Stage

ALARM_MODEL: Final = "lightgbm"
ALERT: Final = f"{PREFIX}UnseenCategories"
RULES: Final = AlertSettings(
    min_requests=20, window_seconds=4, for_seconds=2, drift_period_seconds=0, queue_ratio=0.5
)
"""The thresholds are the usual ones; times and the least requests are made for seconds of traffic,
and there is no drift job. One stall of a busy machine is a twentieth of four seconds, and is not
what the demo is about: half of the arrivals may wait."""

HEALTHY_SECONDS: Final = 3.0
"""How long the traffic is watched before the fault, and again after the alert has gone."""

PATIENCE_SECONDS: Final = 30.0
"""How long the alert may take to fire, and to resolve: a busy machine is no fault."""

NOT_AVAILABLE: Final = (
    f"{PROGRAM} is not on PATH: the alarm could not be shown. Install Prometheus (on Debian: "
    f"apt-get install prometheus) and run the demo again."
)

_LOOK_SECONDS: Final = 0.25

Json = dict[str, Any]  # Any: JSON


@dataclass(frozen=True, slots=True)
class Alarm:
    """What the act found.

    Attributes:
        timeline: None where there is no Prometheus.
        traffic: what the steady client counted.
    """

    timeline: Timeline | None = None
    traffic: Json = field(default_factory=dict)

    def to_json(self) -> Json:
        """Return the `alarm` of `summary.json`."""
        return not_available(ALERT) if self.timeline is None else self.timeline.to_json()

    def details(self) -> Json:
        """Return its `alarm_details`: why there is none, or all that was seen."""
        if self.timeline is None:
            return {"reason": NOT_AVAILABLE}
        return {
            "model": ALARM_MODEL,
            "threshold": RULES.unseen_ratio,
            "window_seconds": RULES.window_seconds,
            "for_seconds": RULES.for_seconds,
            "fault_began": round(self.timeline.began, 3),
            "fault_ended": round(self.timeline.ended, 3),
            "traffic": self.traffic,
            "looks": [look.to_json() for look in self.timeline.looks],
        }


def sound_alarm(stage: Stage, tell: Callable[[str], object]) -> Alarm:
    """Play the act.

    Args:
        stage: the folders.
        tell: told each change of the alert's state, in words.

    Raises:
        DemoError: the server, the client or Prometheus broke.
    """
    program = find_prometheus()
    if program is None:
        return Alarm()
    stage.alarm.mkdir()
    base, rules = _set_aside(stage), stage.alarm / "rules.yml"
    rules.write_text(to_yaml(build_rules(RULES), "The demo's: times are seconds, not minutes."))
    said = stage.said("alarm-server")
    with server(_serve(stage, base), said) as served:
        with _steady(stage, served) as watched:
            target = served.url.removeprefix("http://")
            said_so = stage.said("alarm-prometheus")
            with scraping(program, stage.alarm, said_so, RULES.job, target) as prometheus:
                prometheus.follow(rules, RULES.job)
                timeline = _Watch(prometheus, watched, tell).play(_switch(stage))
        finish("the watched server", served.process, said)
    return Alarm(timeline, orjson.loads(_counted(stage).read_bytes()))


class _Watch:
    """Looks at Prometheus again and again, while the fault comes and goes.

    Args:
        prometheus: follows the rules.
        still_playing: raises when the client does no more.
        tell: told each change of state.
    """

    def __init__(
        self,
        prometheus: Prometheus,
        still_playing: Callable[[], None],
        tell: Callable[[str], object],
    ) -> None:
        self._prometheus, self._check, self._tell = prometheus, still_playing, tell
        self._unseen = Recordings(RULES).unseen.record
        self._start = time.monotonic()
        self._looks: list[Look] = []

    def play(self, switch: Path) -> Timeline:
        """Watch healthy traffic, then the fault until the alert fires, then until it is gone."""
        self._look_until(lambda look: look.ratio is not None, PATIENCE_SECONDS)
        self._look_until(lambda _: False, HEALTHY_SECONDS)
        began = self._now()
        switch.touch()
        self._look_until(lambda look: look.state is AlertState.FIRING, PATIENCE_SECONDS)
        ended = self._now()
        switch.unlink()
        self._look_until(lambda look: look.state is AlertState.INACTIVE, PATIENCE_SECONDS)
        self._look_until(lambda _: False, HEALTHY_SECONDS / 2)
        return Timeline(ALERT, self._looks, began, ended)

    def _look_until(self, done: Callable[[Look], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._check()
            look = self._look()
            if done(look):
                return
            time.sleep(_LOOK_SECONDS)

    def _look(self) -> Look:
        ratio, alerts = self._prometheus.largest(self._unseen), self._prometheus.alerts()
        look = look_at(self._now(), ratio, alerts, ALERT)
        if not self._looks or look.state is not self._looks[-1].state:
            shown = "none yet" if ratio is None else f"{ratio:.1%}"
            self._tell(f"{look.seconds:4.1f} s  {ALERT}: {look.state}, unseen {shown}")
        self._looks.append(look)
        return look

    def _now(self) -> float:
        return time.monotonic() - self._start


@contextmanager
def _steady(stage: Stage, served: Served) -> Iterator[Callable[[], None]]:
    """Let the steady client play; yields a check that it still does."""
    said = stage.said("alarm-client")
    command = module_command(
        "samescore.demo.traffic.steady", "--url", served.url, "--model", ALARM_MODEL,
        "--switch", _switch(stage), "--out", _counted(stage),
    )  # fmt: skip
    path = os.pathsep.join(filter(None, (str(stage.example), os.environ.get("PYTHONPATH"))))
    with running(command, said, {"PYTHONPATH": path}) as process:

        def still_playing() -> None:
            if process.poll() is not None:
                raise failed("the steady client", process.returncode, said)

        yield still_playing
        finish("the steady client", process, said)


def _set_aside(stage: Stage) -> Path:
    """Copy the model that is served, and return its base folder."""
    base = stage.alarm / "models"
    shutil.copytree(stage.models / ALARM_MODEL, base / ALARM_MODEL)
    return base


def _serve(stage: Stage, base: Path) -> list[str]:
    return samescore_command(
        "serve", base, "--pipeline", PIPELINE_PACKAGE, "--log", stage.alarm / "requests",
        "--snapshots", stage.models / SNAPSHOT_FOLDER, "--port", 0, "--json",
    )  # fmt: skip


def _switch(stage: Stage) -> Path:
    return stage.alarm / "fault"


def _counted(stage: Stage) -> Path:
    return stage.alarm / "traffic.json"
