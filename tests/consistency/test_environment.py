from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

import orjson
import pytest

from consistency import environment
from consistency.environment import cpu, cpu_digest, installed_packages, record_environment

CPU_INFO = """processor\t: 0
model name\t: A CPU @ 3.00GHz
flags\t\t: sse avx2 avx512f

processor\t: 1
model name\t: Another
flags\t\t: sse
"""


@pytest.fixture
def cpu_info(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "cpuinfo"
    monkeypatch.setattr(environment, "CPU_INFO", path)
    monkeypatch.setattr(environment, "cpu", cpu.__wrapped__)
    return path


def test_the_record_is_this_process() -> None:
    record = record_environment("cuda:0")
    assert record.python == platform.python_version()
    assert record.machine == platform.machine()
    assert record.cpu_count == os.cpu_count()
    assert record.device == "cuda:0"
    assert record.packages["numpy"] == importlib.metadata.version("numpy")
    assert record_environment().device == "cpu"


def test_the_record_goes_to_json_whole() -> None:
    record = record_environment()
    value = orjson.loads(orjson.dumps(record.to_json()))
    assert value["packages"] == record.packages
    assert value["cpu_flags"] == list(record.cpu_flags)
    assert value.keys() == set(record.__slots__)


def test_thread_settings_are_those_that_were_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    monkeypatch.setenv("UNRELATED_NUM_THREADS", "9")
    settings = record_environment().thread_settings
    assert settings["OMP_NUM_THREADS"] == "3"
    assert "MKL_NUM_THREADS" not in settings
    assert "UNRELATED_NUM_THREADS" not in settings


def test_settings_that_choose_kernels_are_kept_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    settings = record_environment().thread_settings
    assert settings["ONEDNN_MAX_CPU_ISA"] == "AVX2"
    assert settings["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


def test_packages_are_named_in_lower_case_and_in_order() -> None:
    names = list(installed_packages())
    assert names == sorted(names)
    assert names == [name.lower() for name in names]
    assert "samescore" in names


def test_the_cpu_is_the_first_one_with_its_flags_in_order(cpu_info: Path) -> None:
    cpu_info.write_text(CPU_INFO)
    assert environment.cpu() == ("A CPU @ 3.00GHz", ("avx2", "avx512f", "sse"))


def test_a_system_that_does_not_tell_has_no_flags(cpu_info: Path) -> None:
    assert not cpu_info.exists()
    assert environment.cpu() == (platform.processor(), ())


def test_the_digest_follows_the_flags_and_not_their_order(cpu_info: Path) -> None:
    digests = []
    for text in (
        CPU_INFO,
        CPU_INFO.replace("sse avx2", "avx2 sse"),
        CPU_INFO.replace(" avx512f", ""),
    ):
        cpu_info.write_text(text)
        digests.append(cpu_digest())
    assert digests[0] == digests[1]
    assert digests[0] != digests[2]
