"""Writes `report.html`: one file, no network, to be read from top to bottom."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from samescore import __version__
from samescore.demo.acts.alarm import RULES
from samescore.demo.stage import FLOAT32_MODEL, MODELS
from samescore.demo.telling.closing import milliseconds, percent
from samescore.demo.telling.plots import agreed_decimals, batch_proof, latency_by_stage
from samescore.demo.telling.plots_alarm import alarm_over_time
from samescore.demo.telling.plots_drift import psi_by_month, scores_by_month
from samescore.demo.telling.summary import Played
from samescore.demo.telling.verdict import MUST_AGREE
from samescore.plotting import Plot

if TYPE_CHECKING:
    from markupsafe import Markup

Json = Mapping[str, Any]  # Any: JSON

TEMPLATE: Final = "report.html.j2"


def write_report(path: Path, summary: Json, played: Played) -> None:
    """Write the page."""
    path.write_text(render(summary, draw(summary, played)), encoding="utf-8")


def draw(summary: Json, played: Played) -> dict[str, Plot]:
    """Return the plots by the name that the page calls them by."""
    plots = {
        "decimals": agreed_decimals(summary["replay"]),
        "proof": batch_proof(summary[FLOAT32_MODEL]),
        "latency": latency_by_stage(summary["latency_ms"]),
        "scores": scores_by_month(played.figures, MODELS),
        "psi": psi_by_month(summary["psi_by_month"], summary["feature_psi_by_month"]),
    }
    if played.alarm.timeline is not None:
        plots["alarm"] = alarm_over_time(played.alarm.timeline, RULES.unseen_ratio)
    return plots


def render(summary: Json, plots: Mapping[str, Plot]) -> str:
    """Return the page.

    Args:
        summary: the content of `summary.json`.
        plots: by name.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "count": lambda n: f"{n:,}",
        "percent": percent,
        "ms": milliseconds,
        "digits": repr,
        "against": against,
    }
    source = (
        resources.files("samescore.demo.telling").joinpath(TEMPLATE).read_text(encoding="utf-8")
    )
    return environment.from_string(source).render(
        summary,
        plots=plots,
        version=__version__,
        float32=summary[FLOAT32_MODEL],
        float32_name=FLOAT32_MODEL,
        gate_report=next(
            (m["gate_report"] for m in summary["served"] if m["gate"] == "unverified"), ""
        ),
        agreeing_rows=sum(summary["models"][m]["rows"] for m in MUST_AGREE),
        must_agree=MUST_AGREE,
        refused_again=all(r["refused"] == r["refused_again"] for r in summary["replay"].values()),
    )


def against(value: object, other: object) -> Markup:
    """Return all digits of a number, those marked that differ from another's.

    >>> against(0.25, 0.26)
    Markup('0.2<mark>5</mark>')
    """
    from markupsafe import Markup, escape

    mine, theirs = repr(value), repr(other)
    same = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(mine, theirs, strict=False))))
    rest = mine[same:]
    return escape(mine[:same]) + (Markup("<mark>{}</mark>").format(rest) if rest else "")
