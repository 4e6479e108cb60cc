"""`samescore.toml`: what it may say, and how a mistake in it is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from consistency.errors import ConfigError
from consistency.log.selection import LogSelection
from consistency.replay import BatchPlan, ReplayMode
from samescore.pytest_plugin.catalogue import every_check
from samescore.pytest_plugin.configuring.configuration import read_settings, settings_from
from samescore.pytest_plugin.configuring.settings import Level

WHOLE = """
strict = true
trusted = ["ride_features"]
trusted_types = ["team.Clip"]
decimals = 9

[environment]
cpu = "ignore"
names = ["scipy"]

[bundles.rides]
path = "models/rides/1"
records = ["golden", "odd.jsonl"]
distinct = ["tip"]
threads = [1, 4]
devices = ["cpu", "cuda:0"]
storage = ["parquet"]

[bundles.rides.environment]
packages = "warn"

[bundles.rides.skip]
"laws::pure" = "slow"

[pipelines.next]
object = "ride_features:pipeline"
records = ["odd.jsonl"]
generated = 0

[logs."last night"]
path = "requests"
bundles = "models"
mode = "pipeline"
batch = "logged"
decimals = 12
models = ["rides"]
versions = [3, 4]
since = "2026-01-31"
until = "2026-02-01T12:00+01:00"
sample = 0.25
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "samescore.toml"
    path.write_text(text)
    return path


def mistake(folder: Path, text: str) -> str:
    path = written(folder, text)
    with pytest.raises(ConfigError) as caught:
        every_check(read_settings(path))
    said = str(caught.value)
    assert said.startswith(str(path))
    return said


def test_everything_that_may_be_said(tmp_path: Path) -> None:
    settings = read_settings(written(tmp_path, WHOLE))
    assert settings.strict
    assert settings.trusted == {"ride_features"}
    assert settings.trust.types == {"team.Clip"}
    (rides,) = settings.bundles
    assert (rides.name, rides.line, rides.path) == ("rides", 11, tmp_path / "models/rides/1")
    assert (rides.threads, rides.devices) == ((1, 4), ("cpu", "cuda:0"))
    assert rides.laws.distinct == ("tip",)
    assert rides.environment.cpu is Level.IGNORE, "the shared table holds for each bundle"
    assert rides.environment.packages is Level.WARN
    assert rides.environment.names == ("scipy",)
    (pipeline,) = settings.pipelines
    assert (pipeline.line, pipeline.laws.generated) == (25, 0)
    (log,) = settings.logs
    assert (log.name, log.mode, log.batch) == ("last night", ReplayMode.PIPELINE, BatchPlan(None))
    assert log.decimals == 12
    assert log.selection == LogSelection(
        since_us=1_769_817_600_000_000,
        until_us=1_769_943_600_000_000,
        models=frozenset({"rides"}),
        versions=frozenset({3, 4}),
        sample_ratio=0.25,
    )


def test_a_log_inherits_the_decimals(tmp_path: Path) -> None:
    text = 'decimals = 7\n[logs.a]\npath = "requests"\nbundles = "models"\n'
    assert read_settings(written(tmp_path, text)).logs[0].decimals == 7


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["nothing is checked", "[bundles.NAME]"]),
        ("strict = true\n", ["nothing is checked"]),
        ("a = [", ["is no TOML"]),
        ("strickt = true\n", ["strickt", "did you mean 'strict'?"]),
        ("strict = 1\n[bundles.a]\npath='m'\n", ["strict = 1", "neither true nor false"]),
        ("[bundles.a]\n", ["[bundles.a] path", "is missing", "models/rides/1"]),
        ("bundles = 3\n", ["bundles = 3", "is no table"]),
        ("[bundles]\na = 3\n", ["[bundles] a = 3", "[bundles.NAME]"]),
        ('[bundles."a]"]\npath = "m"\n', ["is no name for a test"]),
        ("[bundles.a]\npath = 3\n", ["[bundles.a] path = 3", "in quotes"]),
        ('[bundles.a]\npath = "m"\nthread = [1]\n', ["thread", "did you mean 'threads'?"]),
        ('[bundles.a]\npath = "m"\nthreads = 2\n', ["threads = 2", "[1, 64]"]),
        ('[bundles.a]\npath = "m"\nthreads = [0]\n', ["threads = [0]", "from 1 to 256"]),
        ('[bundles.a]\npath = "m"\nmax_batch = true\n', ["max_batch = True", "whole number"]),
        ('[bundles.a]\npath = "m"\nrecords = "x"\n', ["records = 'x'", '["a", "b"]']),
        ('[bundles.a]\npath = "m"\ndevices = []\n', ["devices = []", "names none"]),
        ('[environment]\ncpu = "no"\n[bundles.a]\npath="m"\n', ["[environment] cpu", "'warn'"]),
        ('[environment]\ngpu = "warn"\n[bundles.a]\npath="m"\n', ["[environment] gpu", "known:"]),
        ("[pipelines.a]\n", ["[pipelines.a] object", "package.module:pipeline"]),
        ('[pipelines.a]\nobject = "p:q"\nrecords = ["golden"]\n', ["'golden'", "needs a bundle"]),
        ('[bundles.a]\npath="m"\n[pipelines.a]\nobject="p:q"\n', ["'a'", "rename one of the two"]),
        ('[logs.a]\npath = "r"\n', ["[logs.a] bundles", "the folder that was served"]),
        ('[logs.a]\npath="r"\nbundles="m"\nbatch = 0\n', ["batch = 0", "'logged'"]),
        ('[logs.a]\npath="r"\nbundles="m"\nmode = "all"\n', ["mode = 'all'", "'pipeline'"]),
        ('[logs.a]\npath="r"\nbundles="m"\nmodels = ["../x"]\n', ["models", "../x"]),
        ('[logs.a]\npath="r"\nbundles="m"\ndecimals = 17\n', ["decimals = 17", "0 to 16"]),
        ('[logs.a]\npath="r"\nbundles="m"\nsince = "noon"\n', ["'noon'", "for so long ago"]),
        ('[logs.a]\npath="r"\nbundles="m"\nsince="1h"\nuntil="2h"\n', ["until", "not after"]),
        ('[logs.a]\npath="r"\nbundles="m"\nsample = 0\n', ["sample = 0", "at most 1"]),
        ('[logs.a]\npath="r"\nbundles="m"\nversions = 3\n', ["versions = 3", "[1, 64]"]),
        ('[bundles.a]\npath="m"\n[bundles.a.skip]\npure = ""\n', ["[bundles.a.skip] pure", "why"]),
        ('[bundles.a]\npath="m"\n[bundles.a.skip]\npure = "x"\n', ["'pure'", "laws::pure"]),
    ],
)
def test_a_mistake_names_file_key_value_and_remedy(
    tmp_path: Path, text: str, parts: list[str]
) -> None:
    said = mistake(tmp_path, text)
    for part in parts:
        assert part in said, said


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, "pytest_samescore_config returned None; return a dict"),
        ([], r"pytest_samescore_config returned \[\]; return a dict"),
        ({3: 4}, "3 = 4: is no key of this table; remove it"),
        ({"bundles": {3: {}}}, "3 = {}: is no name for a test"),
    ],
)
def test_what_a_hook_returns_may_be_anything(tmp_path: Path, given: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        settings_from(tmp_path / "conftest.py", given)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_settings(tmp_path / "samescore.toml")


def test_collecting_opens_nothing(tmp_path: Path) -> None:
    checks = every_check(read_settings(written(tmp_path, WHOLE)))
    ids = [f"{c.group}::{c.item}" for c in checks]
    assert len(ids) == len(set(ids))
    assert "laws::rows_independent[rides]" in ids
    assert "laws::hostile_refused[rides-generated]" in ids
    assert "scorer::device_invariant[rides]" in ids
    assert "laws::pure[next]" in ids
    assert "laws::pure[next-generated]" not in ids, "generated = 0"
    assert ids[-1] == "replay::log[last night]"
    assert [c.left_out for c in checks if c.item == "pure[rides]"] == ["slow"]


def test_one_device_and_no_distinct_fields_ask_for_no_item(tmp_path: Path) -> None:
    table = {"bundles": {"a": {"path": "m", "distinct": []}}}
    names = {c.name for c in every_check(settings_from(tmp_path / "conftest.py", table))}
    assert not {"device_invariant", "missing_values_distinct"} & names
