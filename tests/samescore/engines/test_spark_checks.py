"""What a user is told when Spark cannot be had."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from samescore.engines.spark import check_spark
from tests.fixtures.cli import mistake
from tests.fixtures.tiny import Tiny


def drift_on_spark(tiny: Tiny, log: Path, *more: object) -> str:
    return mistake("drift", "run", log, "--bundle", tiny.bundle, "--engine", "spark", *more)


def test_spark_is_there_in_the_tests() -> None:
    check_spark()


def test_without_pyspark(monkeypatch: pytest.MonkeyPatch, tiny: Tiny, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "pyspark", None)
    assert "pip install 'samescore[spark]'" in drift_on_spark(tiny, tmp_path)


@pytest.mark.parametrize("home", [None, "gone"])
def test_without_java(
    monkeypatch: pytest.MonkeyPatch, tiny: Tiny, tmp_path: Path, home: str | None
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    if home is None:
        monkeypatch.delenv("JAVA_HOME", raising=False)
    else:
        monkeypatch.setenv("JAVA_HOME", str(tmp_path / home))
    said = drift_on_spark(tiny, tmp_path)
    assert "needs Java 17" in said
    assert "apt-get install openjdk-17-jre-headless" in said


def test_jobs_and_masters_belong_to_their_engines(tiny: Tiny, tmp_path: Path) -> None:
    assert "--jobs is for --engine local" in drift_on_spark(tiny, tmp_path, "--jobs", 2)
    options = ("--bundle", tiny.bundle, "--spark-master", "local[2]")
    assert "--spark-master is for --engine spark" in mistake("drift", "run", tmp_path, *options)
