"""Decides, by the summary alone, whether all that must agree agrees. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from consistency.diagnose import Cause
from samescore.demo.acts.faulty import FAULTY_FEATURE
from samescore.demo.stage import FLOAT32_MODEL, MODELS

Summary = Mapping[str, Any]  # Any: JSON

MUST_AGREE: Final = tuple(m for m in MODELS if m != FLOAT32_MODEL)


def problems(summary: Summary) -> list[str]:
    """Return what is wrong, in words; empty when the demo's exit code may be 0.

    Args:
        summary: the content of `summary.json`; what it lacks is wrong too.
    """
    return [
        *_counts(summary),
        *(p for name in MUST_AGREE for p in _model(name, summary)),
        *_float32(summary.get(FLOAT32_MODEL, {})),
        *_fault(summary),
        *_alarm(summary),
    ]


def _counts(summary: Summary) -> list[str]:
    found = []
    sent, answered, logged = (summary.get(k, 0) for k in ("sent", "answered", "logged"))
    if not sent == answered == logged > 0:
        found.append(f"sent {sent}, answered {answered}, logged {logged} must be equal, and not 0")
    traffic = summary.get("traffic", {})
    found += [f"the client: {text}" for text in traffic.get("failures", [])[:3]]
    found += [f"the client: {text}" for text in traffic.get("unexpected", [])[:3]]
    log = summary.get("log", {})
    if not log.get("intact", False) or log.get("segments_open", 1):
        found.append("the request log is not intact, or was not sealed when the server stopped")
    scored = traffic.get("rows", 0)
    replayed = sum(m["rows"] for m in summary.get("models", {}).values())
    if scored != replayed:
        found.append(f"{scored} rows were answered with a score, {replayed} were replayed")
    if len(summary.get("snapshots", {}).get("rows", {})) < 2:
        found.append("the log names one weather snapshot; the new one was not used while serving")
    return found


def _model(name: str, summary: Summary) -> list[str]:
    model = summary.get("models", {}).get(name)
    if model is None or not model["rows"]:
        return [f"{name}: nothing was replayed"]
    if model["agree_ratio"] != 1.0:
        return [f"{name}: {model['agree_ratio']:.6%} of {model['rows']} rows agree"]
    if not summary.get("replay", {}).get(name, {}).get("agrees", False):
        return [f"{name}: the replay differs (a refusal that is not refused again, perhaps)"]
    return []


def _float32(proof: Summary) -> list[str]:
    """Where the network differs, the batch size alone must be proven to make it differ."""
    if not proof.get("rows"):
        return [f"{FLOAT32_MODEL}: nothing was replayed"]
    if any(proof["rows_differing_by_batch"].values()) and proof["cause"] != Cause.BATCH_VARIANCE:
        return [f"{FLOAT32_MODEL}: its differences are not explained: {proof['evidence']}"]
    return []


def _fault(summary: Summary) -> list[str]:
    fault, details = summary.get("fault", {}), summary.get("fault_details", {})
    found = []
    if not details.get("refused_by_gate", False):
        found.append("the fault: the golden gate let it pass")
    if not fault.get("detected", False):
        found.append("the fault: the replay did not find it")
        return found
    if (fault["stage"], fault["feature"]) != ("features", FAULTY_FEATURE):
        where = f"{fault['stage']} {fault['feature']}"
        found.append(f"the fault: found at {where}, planted at features {FAULTY_FEATURE}")
    if details.get("finding", {}).get("cause") != Cause.STORAGE_PRECISION:
        found.append(f"the fault: its cause is not proven to be {Cause.STORAGE_PRECISION}")
    return found


def _alarm(summary: Summary) -> list[str]:
    """Where there was a Prometheus, the one alert must have come and gone, and no other."""
    alarm, details = summary.get("alarm"), summary.get("alarm_details", {})
    if alarm is None:
        return ["the alarm: the act was not played"]
    if not alarm["available"]:
        return []
    found = []
    if not alarm["fired"]:
        found.append(f"the alarm: {alarm['alert']} did not fire")
    elif alarm["seconds_to_fire"] < 0:
        found.append(f"the alarm: {alarm['alert']} fired before the fault began")
    elif not alarm["resolved"]:
        found.append(f"the alarm: {alarm['alert']} fired, and did not resolve")
    if alarm["others"]:
        found.append(f"the alarm: {', '.join(alarm['others'])} fired, which had no reason to")
    found += [f"the alarm's client: {text}" for text in details["traffic"]["failures"][:3]]
    return found
