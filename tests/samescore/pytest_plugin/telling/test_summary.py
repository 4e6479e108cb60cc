"""Annotations in GitHub's language."""

from __future__ import annotations

from pathlib import Path

import pytest

from samescore.pytest_plugin.telling.summary import github_commands


def report(outcome: str, text: object = "", **properties: str) -> pytest.TestReport:
    return pytest.TestReport(
        nodeid="samescore.toml::golden::gate[a,b]",
        location=("samescore.toml", 4, "golden::gate[a,b]"),
        keywords={"samescore": 1},
        outcome=outcome,
        longrepr=text or None,
        when="call",
        user_properties=[(f"samescore_{name}", value) for name, value in properties.items()],
    )


def test_an_error_points_at_the_code_and_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_WORKSPACE", str(Path.cwd()))
    failed = report("failed", "100% wrong\r\nrow: 3, 4", source="features.py:31")
    title = "samescore.toml%3A%3Agolden%3A%3Agate[a%2Cb]"
    assert list(github_commands([failed])) == [
        f"::error file=features.py,line=31,title={title}::100%25 wrong%0D%0Arow: 3, 4"
    ]


def test_without_known_code_it_points_at_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)
    (line,) = github_commands([report("failed", "x")])
    assert line.startswith("::error file=samescore.toml,line=5,")


def test_the_file_is_named_from_the_workspace(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "service").mkdir()
    monkeypatch.chdir(tmp_path / "service")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    (line,) = github_commands([report("failed", "x", source="features.py:31")])
    assert "file=service/features.py,line=31," in line


def test_what_was_not_checked_and_what_differs_are_warnings() -> None:
    skipped = report("skipped", ("samescore.toml", 5, "Skipped: left out: no locale"))
    assert [c.partition("::")[2].partition("::")[2] for c in github_commands([skipped])] == [
        "not checked: left out: no locale"
    ]
    passed = report("passed", warning="cpu: other flags")
    (line,) = github_commands([passed])
    assert line.startswith("::warning ")
    assert line.endswith("::cpu: other flags")


def test_a_pass_without_a_warning_says_nothing() -> None:
    assert list(github_commands([report("passed")])) == []
