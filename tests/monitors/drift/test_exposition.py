"""The job's metrics, before the real promtool and a real Pushgateway."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from consistency.errors import ConfigError
from monitors.drift.exposition import drift_metrics, push
from monitors.drift.record import WindowRecord
from monitors.errors import MonitorError
from monitors.job_exposition import check_pushgateway, write_textfile
from monitors.metrics import DRIFT_CATALOGUE
from tests.fixtures.prometheus import component
from tests.fixtures.pushgateway import pushgateway, scrape

NOW = 1_767_400_000.5


def test_a_textfile_holds_the_catalogues_metrics_and_promtool_takes_it(
    record: WindowRecord, tmp_path: Path
) -> None:
    path = tmp_path / "drift.prom"
    write_textfile(path, drift_metrics(record, NOW))
    done = subprocess.run(
        [component("promtool"), "check", "metrics"],
        input=path.read_bytes(), capture_output=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    families = {f.name: f for f in text_string_to_metric_families(path.read_text())}
    assert {m.name: m.help for m in DRIFT_CATALOGUE} == {
        name: family.documentation for name, family in families.items()
    }
    for metric in DRIFT_CATALOGUE:
        (sample,) = families[metric.name].samples
        assert set(sample.labels) == set(metric.labels)
        assert (sample.labels["model"], sample.labels["version"]) == ("flights", "3")
    values = {name: family.samples[0].value for name, family in families.items()}
    assert values["samescore_drift_rows"] == 300
    assert values["samescore_drift_window_end_timestamp_seconds"] == 1_767_312_000
    assert values["samescore_drift_last_success_timestamp_seconds"] == NOW
    assert values["samescore_drift_feature_psi"] == record.judgement.features[0].psi
    assert values["samescore_drift_score_psi"] == record.judgement.scores[0].psi
    assert list(tmp_path.iterdir()) == [path], "it was renamed into place"


def test_a_pushgateway_holds_the_last_push_of_each_model_version(record: WindowRecord) -> None:
    with pushgateway() as url:
        push(url, drift_metrics(record, NOW), "flights", 3)
        first = scrape(url)
        push(url, drift_metrics(record, NOW), "flights", 3)
        push(url, drift_metrics(record, NOW), "flights", 4)
        second = scrape(url)
    labels = 'instance="scheduled",job="samescore_drift",model="flights",version="3"'
    series = f"samescore_drift_rows{{{labels}}}"
    assert first[series] == 300
    assert len(first) == len(DRIFT_CATALOGUE)
    assert {s: v for s, v in second.items() if 'version="3"' in s} == first
    assert len(second) == 2 * len(DRIFT_CATALOGUE)


def test_a_pushgateway_that_is_not_there_is_told(record: WindowRecord) -> None:
    with pytest.raises(MonitorError, match=r"pushgateway http://127\.0\.0\.1:9: .*run again"):
        push("http://127.0.0.1:9", drift_metrics(record, NOW), "flights", 3)


@pytest.mark.parametrize("url", ["", "127.0.0.1:9091", "ftp://host", "http://"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="give a URL, for example"):
        check_pushgateway(url)


def test_a_textfile_that_no_collector_reads_is_refused(
    record: WindowRecord, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"must end in \.prom"):
        write_textfile(tmp_path / "drift.txt", drift_metrics(record, NOW))
    with pytest.raises(MonitorError, match="folder that is there"):
        write_textfile(tmp_path / "none" / "drift.prom", drift_metrics(record, NOW))
