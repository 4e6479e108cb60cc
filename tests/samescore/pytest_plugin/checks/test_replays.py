"""Replay of a request log as an item: which of its requests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from samescore.pytest_plugin.catalogue import every_check
from samescore.pytest_plugin.configuring.configuration import settings_from
from samescore.pytest_plugin.fresh import run_check
from samescore.pytest_plugin.telling.findings import Finding, Verdict
from tests.fixtures.tiny import PACKAGE, Tiny
from tests.samescore.conftest import Log


def replayed(log: Log, tiny: Tiny, folder: Path, **more: Any) -> Finding:
    of_log = {"path": str(log.folder), "bundles": str(tiny.base), **more}
    table = {"trusted": [PACKAGE], "logs": {"night": of_log}}
    (check,) = every_check(settings_from(folder / "samescore.toml", table))
    return run_check(check)


def test_a_log_is_replayed_whole_unless_told_otherwise(
    log: Log, tiny: Tiny, tmp_path: Path
) -> None:
    found = replayed(log, tiny, tmp_path)
    assert found.verdict is Verdict.PASSED, found.summary
    assert found.properties["requests"] == len(log.requests)


def test_a_span_and_a_share_choose_requests(log: Log, tiny: Tiny, tmp_path: Path) -> None:
    assert replayed(log, tiny, tmp_path, since="1970-01-01").verdict is Verdict.PASSED
    nothing = replayed(log, tiny, tmp_path, until="1970-01-02")
    assert nothing.verdict is Verdict.FAILED, "what replays nothing proves nothing"
    assert "holds no such request" in nothing.summary
    share = replayed(log, tiny, tmp_path, sample=0.5)
    assert 0 < int(share.properties["requests"]) < len(log.requests)


@pytest.mark.parametrize("version", [1, 2])
def test_a_version_chooses_requests(log: Log, tiny: Tiny, tmp_path: Path, version: int) -> None:
    found = replayed(log, tiny, tmp_path, versions=[version], models=["tiny"])
    assert (found.verdict is Verdict.PASSED) == (version == 1)
