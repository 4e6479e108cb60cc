"""`samescore log cat --alert`, and `samescore rules build --slo`."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import orjson
import pytest
import yaml

from consistency.scored import Outcome
from tests.fixtures.cli import mistake, samescore
from tests.fixtures.tiny import Tiny
from tests.samescore.conftest import Log

SLO = "[models.tiny]\navailability = { objective = 0.999 }\n"
SLOW = "[models.tiny]\nlatency = { objective = 0.99, latency_seconds = 0.00001 }\n"


def behind(log: Log, alert: str, *options: object) -> dict[str, list[int]]:
    """Return which requests, and which of their rows, the command prints."""
    ran = samescore("log", "cat", log.folder, "--alert", alert, "--model", "tiny", *options)
    assert ran.code == 0, ran.err
    lines = [orjson.loads(line) for line in ran.out.splitlines()]
    return {line["request_id"]: line["alert_rows"] for line in lines}


def test_refused_requests_are_behind_the_alert_on_refusals(log: Log) -> None:
    refused = {r.request_id for r in log.requests if r.outcome is Outcome.DATA_ERROR}
    assert behind(log, "SamescoreHighDataErrorRatio", "--lookback", "1h").keys() == refused
    assert behind(log, "SamescoreDataQualityBudgetBurn").keys() == refused


def test_rows_that_miss_a_feature_are_named(log: Log) -> None:
    found = behind(log, "SamescoreMissingValues", "--feature", "score_before", "--lookback", "1h")
    for request in log.requests:
        if request.outcome is Outcome.OK and request.features is not None:
            column = request.features.columns()["score_before"]
            missing = [i for i, value in enumerate(column.tolist()) if value != value]  # noqa: PLR0124 - NaN
            assert found.get(request.request_id, []) == missing
    assert found


def test_unseen_categories_are_found_with_and_without_the_bundle(log: Log, tiny: Tiny) -> None:
    found = behind(log, "SamescoreUnseenCategories", "--lookback", "1h")
    assert found
    with_reference = behind(
        log, "SamescoreUnseenCategories", "--lookback", "1h", "--bundle", tiny.bundle
    )
    assert with_reference.items() >= found.items()


def test_the_latency_bound_can_be_that_of_the_rules(log: Log) -> None:
    everything = behind(log, "SamescoreHighLatency", "--slower-than", 1e-5, "--lookback", "1h")
    assert len(everything) == len(log.requests)
    burn = behind(log, "SamescoreLatencyBudgetBurn", "--slower-than", 1e-5)
    assert burn == everything


def test_other_filters_narrow_it_and_limit_bounds_it(log: Log) -> None:
    options = ("--slower-than", 1e-5, "--lookback", "1h")
    assert len(behind(log, "SamescoreHighLatency", *options, "--limit", 3)) == 3
    ok = behind(log, "SamescoreHighLatency", *options, "--outcome", "ok")
    assert len(ok) == sum(r.outcome is Outcome.OK for r in log.requests)


def test_nothing_behind_it_ends_with_1_and_says_where_was_looked(log: Log) -> None:
    ran = samescore("log", "cat", log.folder, "--alert", "SamescoreHighErrorRatio",
                    "--at", "2020-01-01T00:10Z", "--lookback", "10m")  # fmt: skip
    assert (ran.code, ran.out) == (1, "")
    assert "behind SamescoreHighErrorRatio from 2020-01-01T00:00:00Z to 2020-01-01T00:10" in ran.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--alert", "SamescoreHighLatenci"), "no such alert; did you mean SamescoreHighLatency?"),
        (("--alert", "Nothing like it"), "no such alert"),
        (("--alert", "SamescoreWorkersMissing"), "no logged requests are behind it; its runbook"),
        (("--alert", "SamescoreParityBudgetBurn"), "no logged requests are behind it"),
        (("--alert", "SamescoreHighLatency", "--feature", "x"), "is about no feature"),
        (("--alert", "SamescoreHighLatency", "--slower-than", "0.21"), "take one of 1e-05"),
        (("--alert", "SamescoreHighErrorRatio", "--slower-than", "0.2"), "is about no latency"),
        (("--alert", "SamescoreLatencyBudgetBurn"), "stands in your SLO file; give latency_secon"),
        (("--alert", "SamescoreHighLatency", "--lookback", "soon"), "write 90s, 15m, 2h or 3d"),
        (("--at", "2h"), "--at says more of an alert; give --alert NAME with it"),
        (("--lookback", "2h"), "--lookback says more of an alert"),
    ],
)
def test_a_mistake_is_told(log: Log, options: tuple[str, ...], said: str) -> None:
    assert said in mistake("log", "cat", log.folder, *options)


# ------------------------------------------------------------------------------------ rules build


def test_objectives_come_behind_the_other_rules(tmp_path: Path) -> None:
    (tmp_path / "slo.toml").write_text(SLO)
    out = tmp_path / "rules.yml"
    assert samescore("rules", "build", "--out", out, "--slo", tmp_path / "slo.toml").code == 0
    names = [group["name"] for group in yaml.safe_load(out.read_text())["groups"]]
    assert names[0] == "samescore-requests"
    assert names[-1] == "samescore-slo-tiny-30d"
    again = samescore("rules", "build", "--out", out, "--slo", tmp_path / "slo.toml", "--check")
    assert again.code == 0
    assert samescore("rules", "build", "--out", out, "--check").code == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [(SLO.replace("0.999", "99.9"), "write 0.999"), ("window = ", "is no TOML"), (None, "be read")],
)
def test_a_mistake_in_the_file_is_told(tmp_path: Path, text: str | None, said: str) -> None:
    path = tmp_path / "slo.toml"
    if text is not None:
        path.write_text(text)
    message = mistake("rules", "build", "--out", tmp_path / "rules.yml", "--slo", path)
    assert said in message
    assert str(path) in message
    assert not (tmp_path / "rules.yml").exists()


def test_the_command_in_an_alert_can_be_typed(log: Log, tmp_path: Path) -> None:
    (tmp_path / "slo.toml").write_text(SLOW)
    out = tmp_path / "rules.yml"
    samescore("rules", "build", "--out", out, "--slo", tmp_path / "slo.toml",
              "--latency-seconds", 0.00001)  # fmt: skip
    rules = [r for g in yaml.safe_load(out.read_text())["groups"] for r in g["rules"]]
    given = {r["alert"]: r["annotations"].get("requests") for r in rules if "alert" in r}
    labels = {"model": "tiny", "version": "1"}
    for alert in ("SamescoreHighLatency", "SamescoreLatencyBudgetBurn"):
        typed = re.sub(r"{{ \$labels\.(\w+) }}", lambda m: labels[m[1]], given[alert])
        words = shlex.split(typed.replace(" LOG ", f" {log.folder} "))
        assert words[0] == "samescore"
        ran = samescore(*words[1:])
        assert ran.code == 0, ran.err
        assert len(ran.out.splitlines()) == len(log.requests)
