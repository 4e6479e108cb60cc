"""A replay's metrics, before the real promtool and a real Pushgateway."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from consistency.compare import EXACT_DECIMALS, Comparison
from consistency.replay import ModelReport, ReplayReport, ReplaySettings
from consistency.replay.core import new_sum
from monitors.job_exposition import write_textfile
from monitors.metrics import REPLAY_CATALOGUE
from monitors.replay_metrics import push, replay_metrics
from tests.fixtures.prometheus import component
from tests.fixtures.pushgateway import pushgateway, scrape

NOW = 1_767_400_000.5
ALL = Comparison(10, 10, 10, decimals=(0,) * EXACT_DECIMALS + (10,))
SOME = Comparison(10, 7, 7, 0.5, 9, decimals=(3,) + (0,) * (EXACT_DECIMALS - 1) + (7,))


def report_of(**models: ModelReport) -> ReplayReport:
    named = {name.replace("_", "/"): model for name, model in models.items()}
    return replace(new_sum(ReplaySettings()).settled(), models=named)


GOOD = ModelReport(requests=10, rows=10, stages={"features": ALL, "scores": ALL})
BAD = ModelReport(requests=10, rows=10, stages={"features": ALL, "scores": SOME})
REPORT = report_of(flights_3=GOOD, flights_4=BAD)


def test_a_textfile_holds_the_catalogues_metrics_and_promtool_takes_it(tmp_path: Path) -> None:
    path = tmp_path / "replay.prom"
    write_textfile(path, replay_metrics(REPORT, NOW))
    done = subprocess.run(
        [component("promtool"), "check", "metrics"],
        input=path.read_bytes(), capture_output=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    families = {f.name: f for f in text_string_to_metric_families(path.read_text())}
    assert {m.name: m.help for m in REPLAY_CATALOGUE} == {
        name: family.documentation for name, family in families.items()
    }
    for metric in REPLAY_CATALOGUE:
        for sample in families[metric.name].samples:
            assert set(sample.labels) == set(metric.labels)
    verdicts = {s.labels["version"]: s.value for s in families["samescore_replay_agrees"].samples}
    assert verdicts == {"3": 1, "4": 0}
    differing = {
        (s.labels["version"], s.labels["stage"]): s.value
        for s in families["samescore_replay_differing_rows"].samples
    }
    assert differing == {
        ("3", "features"): 0, ("3", "scores"): 0, ("4", "features"): 0, ("4", "scores"): 3,
    }  # fmt: skip


def test_lost_lines_leave_no_model_in_agreement() -> None:
    registry = replay_metrics(replace(REPORT, lost_lines=1), NOW)
    labels = {"model": "flights", "version": "3"}
    assert registry.get_sample_value("samescore_replay_agrees", labels) == 0
    assert registry.get_sample_value("samescore_replay_rows", labels) == 10


def test_a_pushgateway_holds_the_last_push_of_each_model_version() -> None:
    with pushgateway() as url:
        push(url, REPORT, NOW)
        first = scrape(url)
        push(url, report_of(flights_4=GOOD), NOW + 1)
        second = scrape(url)
    key = 'instance="scheduled",job="samescore_replay",model="flights",version='
    assert first[f'samescore_replay_agrees{{{key}"4"}}'] == 0
    assert second[f'samescore_replay_agrees{{{key}"4"}}'] == 1
    old = {s: v for s, v in second.items() if 'version="3"' in s}
    assert old == {s: v for s, v in first.items() if 'version="3"' in s}
