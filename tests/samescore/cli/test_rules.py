from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
import yaml

from tests.fixtures.cli import mistake, samescore


def test_a_rule_file_is_written_whole_and_readable_for_others(tmp_path: Path) -> None:
    out = tmp_path / "rules.yml"
    ran = samescore("rules", "build", "--out", out, "--job", "eu", "--runbook-url", "https://w/r/")
    assert (ran.code, ran.out) == (0, f"wrote {out}\n")
    assert [path.name for path in tmp_path.iterdir()] == ["rules.yml"]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(out.stat().st_mode) == 0o666 & ~umask
    held = yaml.safe_load(out.read_text())
    alerts = [rule for group in held["groups"] for rule in group["rules"] if "alert" in rule]
    assert alerts[0]["annotations"]["runbook_url"] == "https://w/r/SamescoreHighLatency.html"
    assert 'job="eu"' in out.read_text()


def test_links_that_lead_nowhere_are_told(tmp_path: Path) -> None:
    said = samescore("rules", "build", "--out", tmp_path / "r.yml").err
    assert "give your own --runbook-url" in said
    assert "give your own --dashboard-url" in said
    own = ("--runbook-url", "https://w/r", "--dashboard-url", "https://g/d/x")
    assert samescore("rules", "build", "--out", tmp_path / "r.yml", *own).err == ""


def test_check_tells_whether_the_file_is_current_and_writes_nothing(tmp_path: Path) -> None:
    out = tmp_path / "rules.yml"
    samescore("rules", "build", "--out", out)
    assert samescore("rules", "build", "--out", out, "--check").code == 0
    before = out.read_bytes()
    ran = samescore("rules", "build", "--out", out, "--check", "--score-psi", "0.5")
    assert ran.code == 1
    assert 'samescore_score_psi{job="samescore"} > 0.5' in ran.out
    assert "not current" in ran.err
    assert out.read_bytes() == before


def test_settings_can_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAMESCORE_RULES_BUILD_UNSEEN_RATIO", "0.25")
    samescore("rules", "build", "--out", tmp_path / "r.yml")
    assert "samescore_feature_unseen:ratio_rate5m > 0.25" in (tmp_path / "r.yml").read_text()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "Missing option '--out'"),
        (("--out", "FILE", "--check"), "cannot be read"),
        (("--out", "nowhere/rules.yml"), "name a file in a writable folder"),
        (("--out", "."), "is a directory"),
        (("--out", "r", "--latency-seconds", "0.21"), "take one of 1e-05"),
        (("--out", "r", "--slow-ratio", "5"), "slow_ratio (--slow-ratio) is 5.0; give a ratio"),
        (("--out", "r", "--min-rows", "many"), "--min-rows"),
        (("--out", "r", "--job", ""), "job (--job) is ''; give printable text"),
    ],
)
def test_a_wrong_setting_is_a_mistake(
    options: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in mistake("rules", "build", *options)
    assert list(tmp_path.iterdir()) == []
