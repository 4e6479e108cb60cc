"""The programme of the demo, act by act."""

from __future__ import annotations

import math
import os
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson
from rich.console import Console

from consistency.bundle import Bundle, open_bundle
from consistency.log import RequestLogReader
from monitors.reference import ReferenceSet
from samescore.demo.acts import fault, replays
from samescore.demo.acts.alarm import NOT_AVAILABLE, Alarm, sound_alarm
from samescore.demo.acts.faulty import FAULTY_FEATURE
from samescore.demo.acts.figures import LogFigures, LogPass
from samescore.demo.acts.serving import Served, WeatherDesk, serving, weather_desk
from samescore.demo.acts.training import train
from samescore.demo.errors import DemoError
from samescore.demo.narrator import Narrator
from samescore.demo.processes import finish, module_command, run_lines, stopped_by_sigterm
from samescore.demo.stage import FLOAT32_MODEL, MODELS, VERSION, Stage, set_stage
from samescore.demo.telling.closing import alarm_in_words, close
from samescore.demo.telling.report import write_report
from samescore.demo.telling.summary import Played, summarise
from samescore.demo.telling.verdict import problems
from samescore.demo.traffic.client import PUBLISH_NOW
from samescore.log_stats import percentiles_ms

ACTS: Final = 10

Json = dict[str, Any]  # Any: JSON


@dataclass(frozen=True, slots=True)
class DemoSettings:
    """What `samescore demo` can be told.

    Attributes:
        out: the demo's folder; emptied first.
        requests: how many are sent, to all models together.
        small: little training, for tests.
    """

    out: Path
    requests: int
    small: bool


def play(settings: DemoSettings, console: Console) -> Json:
    """Play all acts; write `summary.json` and `report.html`.

    Returns:
        The summary; its `problems` are empty when all that must agree agrees.

    Raises:
        ConfigError: something is missing.
        DemoError: an act could not be played to its end.
    """
    stage = set_stage(settings.out)
    narrator = Narrator(console, ACTS)
    with stopped_by_sigterm():
        played = _play_acts(stage, settings, narrator)
    with narrator.act("report", "Report"):
        summary = summarise(played, narrator.seconds)
        summary["problems"] = problems(summary)
        stage.summary.write_bytes(orjson.dumps(summary, option=orjson.OPT_INDENT_2))
        write_report(stage.report, summary, played)
        narrator.say(f"{stage.report}\n{stage.summary}")
    close(console, summary)
    return summary


def _play_acts(stage: Stage, settings: DemoSettings, narrator: Narrator) -> Played:
    with narrator.act("training", "Train on January–June 2013 and bundle four models"):
        train(stage, narrator, small=settings.small)
    served, traffic, log = _serve_and_count(stage, settings.requests, narrator)
    with narrator.act("replay", "Replay the whole log in a new process, from its bytes alone"):
        replay = _replay(stage, narrator)
    with narrator.act("float32", f"Prove why {FLOAT32_MODEL} differs: change only the batch size"):
        batches = _prove(stage, replay, narrator)
    references = {m: ReferenceSet.from_bytes(_bundle(stage, m).reference()) for m in MODELS}
    with narrator.act("figures", "Latency by stage, scores and PSI by month, from the log"):
        figures = _figures(stage, traffic, references, narrator)
    with narrator.act("fault", f"Break one thing on purpose: {FAULTY_FEATURE} as float32"):
        refused, verdict = _break(stage, figures, narrator)
    with narrator.act("alarm", "Let a real Prometheus watch: an airline appears that nobody knows"):
        alarm = play_alarm(stage, narrator)
    made_with = dict(_bundle(stage, fault.FAULTY_MODEL).manifest.environment)
    return Played(
        served, traffic, log, replay, batches, figures, references, refused, verdict, alarm,
        made_with,
    )  # fmt: skip


def _serve_and_count(
    stage: Stage, requests: int, narrator: Narrator
) -> tuple[list[Json], Json, Json]:
    desk = weather_desk(stage)
    with ExitStack() as stack:
        with narrator.act("serving", "Serve the bundles in a process of its own"):
            with narrator.waiting("loading the models, reproducing their golden rows"):
                server = stack.enter_context(serving(stage))
            models = _look(server, narrator)
        with narrator.act(
            "traffic", f"Send {requests:,} requests made of July–December, over HTTP"
        ):
            traffic = _send(stage, server, requests, desk, narrator)
        with narrator.act("counts", "Stop the server with SIGTERM, and count the log"):
            finish("the server", server.process, server.said)
            log = _count(stage, traffic, narrator)
    return models, traffic, log


def _look(server: Served, narrator: Narrator) -> list[Json]:
    """Read `/models`, and say which version is served unverified, and why.

    Raises:
        DemoError: a model is not served.
    """
    models = server.models()
    for model in models:
        if model["state"] != "AVAILABLE":
            raise DemoError(f"{model['name']} is not served: {model['error']}")
        narrator.say(f"{model['name']}/{model['version']}: {model['gate'].upper()}")
        if model["gate"] == "unverified":
            narrator.say(model["gate_report"], "yellow")
    return models


def _send(
    stage: Stage, server: Served, requests: int, desk: WeatherDesk, narrator: Narrator
) -> Json:
    """Let the client play, and publish the new snapshot when it asks for it."""

    def heard(line: str) -> None:
        if line == PUBLISH_NOW:
            desk.publish(desk.year)

    command = module_command(
        "samescore.demo.traffic.client", "--url", server.url, "--out", stage.traffic,
        "--requests", math.ceil(requests / len(MODELS)), *(f"--model={m}" for m in MODELS),
    )  # fmt: skip
    path = os.pathsep.join(filter(None, (str(stage.example), os.environ.get("PYTHONPATH"))))
    run_lines("the client", command, None, heard, {"PYTHONPATH": path})
    traffic: Json = orjson.loads(stage.traffic.read_bytes())
    statuses = ", ".join(f"{n:,} × {status}" for status, n in traffic["by_status"].items())
    narrator.say(
        f"sent {traffic['sent']:,}, answered {traffic['answered']:,} ({statuses}), "
        f"{traffic['rows']:,} scores, over {traffic['connections']} connections"
    )
    return traffic


def _count(stage: Stage, traffic: Json, narrator: Narrator) -> Json:
    log = replays.verify(stage)
    same = traffic["sent"] == traffic["answered"] == log["requests"] and log["intact"]
    narrator.say(
        f"sent {traffic['sent']:,} = answered {traffic['answered']:,} = logged {log['requests']:,}"
        if same
        else f"sent {traffic['sent']:,}, answered {traffic['answered']:,}, logged "
        f"{log['requests']:,}, intact: {log['intact']}",
        "green" if same else "bold red",
    )
    return log


def _replay(stage: Stage, narrator: Narrator) -> replays.Report:
    with narrator.waiting("decoding, making features, scoring, comparing"):
        report = replays.replay_all(stage)
    for name in MODELS:
        found = replays.scores_of(report, name)
        differ = found.rows - found.rows_agreeing
        text = f"{differ:,} differ" if differ else "all agree"
        narrator.say(
            f"{name}: {found.rows:,} rows, {text}, largest |Δ| {found.max_abs_diff:.2g}",
            "yellow" if differ else "green",
        )
    return report


def _prove(stage: Stage, full: replays.Report, narrator: Narrator) -> replays.Batches:
    with narrator.waiting("replaying at other batch sizes"):
        batches = replays.replay_float32(stage, full)
    for batch, found in batches.comparisons.items():
        narrator.say(
            f"batch {batch:>6}: {found.rows - found.rows_agreeing:,} of {found.rows:,} rows differ"
        )
    proven = "proven" if batches.finding.proven else "not proven"
    narrator.say(f"{batches.finding.cause} ({proven})")
    return batches


def _bundle(stage: Stage, model: str) -> Bundle:
    return open_bundle(stage.models / model / str(VERSION))


def _figures(
    stage: Stage, traffic: Json, references: dict[str, ReferenceSet], narrator: Narrator
) -> LogFigures:
    timed = {i for single in traffic["single"].values() for i in single["request_ids"]}
    model = fault.FAULTY_MODEL
    walk = LogPass(timed, model, references[model])
    with narrator.waiting("reading the log"):
        figures = walk.walk(RequestLogReader(stage.requests))
    for name in MODELS:
        if name not in figures.scores or name not in figures.latency_ns:
            why = next(iter([*traffic["failures"], *traffic["unexpected"]]), "no failure was noted")
            raise DemoError(f"the log holds no scores of {name} to look at; the client: {why}")
        single = traffic["single"][name]
        found = percentiles_ms(single["ns"])
        narrator.say(
            f"{name}: {len(single['ns']):,} single records at one connection, "
            f"p50 {found['p50']:.2f} ms, p99 {found['p99']:.2f} ms"
        )
    return figures


def _break(
    stage: Stage, figures: LogFigures, narrator: Narrator
) -> tuple[fault.Refused, fault.Verdict]:
    base = fault.set_aside(stage)
    with narrator.waiting("starting it with the golden gate enforced"):
        refused = fault.refused_by_gate(stage, base, figures.payloads[0])
    narrator.say(f"gate enforced: nothing is served, a request gets {refused.status}:", "yellow")
    narrator.say(refused.message, "dim")
    with narrator.waiting("serving it all the same, replaying its log"):
        answered = fault.answer_all_the_same(stage, base, figures.payloads)
        verdict = fault.replay_fault(stage, base)
    narrator.say(f"gate open: {answered} requests answered; the replay says")
    worst = verdict.worst
    if worst:
        narrator.say(
            f"request {worst['request_id']} row {worst['row']}, stage {worst['stage']}, "
            f"{worst['name']}\n  online  {worst['online']!r}\n  offline {worst['offline']!r}",
            "bold red",
        )
    return refused, verdict


def play_alarm(stage: Stage, narrator: Narrator) -> Alarm:
    """Play the act of the alarm, and say what became of it."""
    with narrator.waiting("serving, scraping every second"):
        alarm = sound_alarm(stage, lambda line: narrator.say(line, "dim"))
    if alarm.timeline is None:
        narrator.say(NOT_AVAILABLE, "yellow")
    else:
        narrator.say(*alarm_in_words(alarm.to_json()))
    return alarm
