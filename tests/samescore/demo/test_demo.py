"""The whole demo, small, as a user would run it."""

from __future__ import annotations

import base64
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import orjson
import pytest

from consistency.log import LoggedRequest, RequestLogReader
from samescore.demo.acts.alarm import Alarm
from samescore.demo.telling.report import against, render
from samescore.demo.telling.verdict import problems
from samescore.plotting import Plot

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
MODELS = ("xgboost", "lightgbm", "keras_float32", "keras_float64")


@dataclass(frozen=True, slots=True)
class Ran:
    out: Path
    done: subprocess.CompletedProcess[bytes]
    summary: dict[str, Any]
    page: str


def demo(out: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "samescore", "demo", "--small", "--out", str(out), *more]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    out = tmp_path_factory.mktemp("demo") / "out"
    done = subprocess.run(demo(out, "--json"), cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-4_000:]
    summary = orjson.loads((out / "summary.json").read_bytes())
    return Ran(out, done, summary, (out / "report.html").read_text(encoding="utf-8"))


def test_standard_output_is_the_summary_alone(ran: Ran) -> None:
    assert orjson.loads(ran.done.stdout) == ran.summary


def test_what_was_sent_was_answered_and_logged(ran: Ran) -> None:
    summary = ran.summary
    assert summary["sent"] == summary["answered"] == summary["logged"] == 600
    assert summary["problems"] == []
    assert summary["traffic"]["by_status"] == {"200": 568, "400": 32}


def test_each_model_has_its_figures(ran: Ran) -> None:
    assert tuple(ran.summary["models"]) == MODELS
    for name, model in ran.summary["models"].items():
        assert set(model) == {
            "rows", "agree_ratio", "bit_identical_ratio", "max_abs_diff", "p50_ms", "p99_ms",
        }  # fmt: skip
        assert model["rows"] > 1_000
        assert 0 < model["p50_ms"] <= model["p99_ms"]
        if name != "keras_float32":
            assert model["agree_ratio"] == 1.0
            assert model["max_abs_diff"] <= 5e-11


def test_the_float32_network_agrees_at_the_logged_batch_sizes(ran: Ran) -> None:
    proof = ran.summary["keras_float32"]
    assert proof["rows_differing_by_batch"]["logged"] == 0
    if any(proof["rows_differing_by_batch"].values()):
        assert (proof["cause"], proof["proven"]) == ("batch_variance", True)


def test_the_fault_was_refused_and_then_found(ran: Ran) -> None:
    assert ran.summary["fault"] == {
        "detected": True,
        "stage": "features",
        "feature": "route_late_rate",
    }
    details = ran.summary["fault_details"]
    assert details["refused_by_gate"]
    assert details["exit_code"] == 1
    assert details["finding"]["cause"] == "storage_precision"
    assert details["worst"]["online"] != details["worst"]["offline"]


def test_the_one_alert_fired_and_resolved(ran: Ran) -> None:
    """This machine must have a Prometheus: a demo without one is tested below."""
    alarm, details = ran.summary["alarm"], ran.summary["alarm_details"]
    assert alarm["available"], details["reason"]
    assert set(alarm) == {
        "available", "alert", "fired", "resolved", "seconds_to_fire", "seconds_to_resolve",
        "others",
    }  # fmt: skip
    assert alarm["alert"] == "SamescoreUnseenCategories"
    assert (alarm["fired"], alarm["resolved"], alarm["others"]) == (True, True, [])
    assert alarm["seconds_to_fire"] > 0
    assert alarm["seconds_to_resolve"] > 0
    assert details["looks"][0]["state"] == "inactive"
    assert max(k["unseen_ratio"] or 0 for k in details["looks"]) > details["threshold"]


def test_the_requests_of_the_alarm_are_in_a_log_of_their_own(ran: Ran) -> None:
    counted = ran.summary["alarm_details"]["traffic"]
    assert counted["sent"] == counted["answered"] > 0
    log = RequestLogReader(ran.out / "alarm" / "requests")
    assert sum(isinstance(item, LoggedRequest) for item in log) == counted["sent"]


def test_a_report_without_prometheus_says_so(ran: Ran) -> None:
    nothing = Plot("title", "look", "data:,", 1)
    plots = dict.fromkeys(("decimals", "proof", "latency", "scores", "psi"), nothing)
    none = Alarm()
    without = {**ran.summary, "alarm": none.to_json(), "alarm_details": none.details()}
    assert problems(without) == []
    page = render(without, plots)
    assert "prometheus is not on PATH" in page
    assert "Not shown." in page


def test_every_month_has_scores_and_an_index(ran: Ran) -> None:
    months = [f"2013-{month:02d}" for month in range(7, 13)]
    for name in MODELS:
        assert list(ran.summary["scores_by_month"][name]) == months
        assert list(ran.summary["psi_by_month"][name]) == months
    assert len(ran.summary["feature_psi_by_month"]) == 30


def test_the_log_names_two_snapshots(ran: Ran) -> None:
    assert len(ran.summary["snapshots"]["rows"]) == 2
    assert ran.summary["snapshots"]["largest_change"] > 0


def test_every_stage_has_a_latency(ran: Ran) -> None:
    for stages in ran.summary["latency_ms"].values():
        assert stages["total"]["p50"] <= stages["end_to_end"]["p50"]
        assert all(stages[s]["p50"] > 0 for s in ("decode", "features", "backend", "postprocess"))


class Page(HTMLParser):
    """Collects what a browser would load, and the drawings."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.images: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "href", "srcset", "data", "poster", "action") and value:
                self.loaded.append(value)
                if tag == "img":
                    self.images.append(value)


def test_the_report_needs_no_network(ran: Ran) -> None:
    page = Page(ran.page)
    assert all(value.startswith("data:") for value in page.loaded)
    assert "<script" not in ran.page
    assert "@import" not in ran.page
    assert not re.search(r"url\((?!#)", ran.page)
    for drawing in map(drawn, page.images):
        assert not re.search(r"""(href|src)=["']https?:""", drawing)


def test_no_plot_of_the_report_is_empty(ran: Ran) -> None:
    drawings = [drawn(image) for image in Page(ran.page).images]
    assert len(drawings) == 6
    for drawing in drawings:
        # A bar, ridge, cell text or mark is a path or a use of one; an empty frame has a dozen.
        assert drawing.count("<path") + drawing.count("<use") > 60


def drawn(image: str) -> str:
    return base64.b64decode(image.partition("base64,")[2]).decode("utf-8")


def test_the_report_says_what_is_wrong(ran: Ran) -> None:
    nothing = Plot("title", "look", "data:,", 1)
    names = ("decimals", "proof", "latency", "scores", "psi", "alarm")
    plots = dict.fromkeys(names, nothing)
    wrong = {**ran.summary, "problems": ["xgboost: <99%> of its rows agree"]}
    page = render(wrong, plots)
    assert "xgboost: &lt;99%&gt; of its rows agree" in page
    assert "Something does not agree" in page


def test_all_digits_of_the_fault_are_shown(ran: Ran) -> None:
    worst = ran.summary["fault_details"]["worst"]
    assert str(against(worst["online"], worst["offline"])) in ran.page
    assert str(against(worst["offline"], worst["online"])) in ran.page


def test_a_strangers_folder_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    done = subprocess.run(demo(tmp_path), cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 2
    assert b"not a demo's" in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_demo_leaves_no_process_behind(tmp_path: Path, number: signal.Signals) -> None:
    said = tmp_path / "said"
    with said.open("wb") as stream:
        process = subprocess.Popen(
            demo(tmp_path / "out"), cwd=ROOT, stdout=stream, stderr=subprocess.STDOUT
        )
    children = wait_for_children(process.pid)
    process.send_signal(number)
    assert process.wait(60) != 0
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]
    assert b"Traceback" not in said.read_bytes()


def wait_for_children(parent: int) -> list[int]:
    """Return a process's children as soon as it has some."""
    for _ in range(600):
        if children := [pid for pid, its in parents().items() if its == parent]:
            return children
        time.sleep(0.1)
    raise AssertionError("the demo started no process within a minute")


def parents() -> dict[int, int]:
    """Return the parent of every process there is."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it ended meanwhile
            # The name, in parentheses, may hold anything; state and parent follow it.
            found[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    return found
