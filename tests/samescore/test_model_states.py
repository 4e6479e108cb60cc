"""The versions of a real server show how old they are, and which could not be loaded."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from consistency.bundle import open_bundle
from monitors.metrics import SERVABLE_CREATED, VERSION_LOAD_FAILED
from tests.fixtures.server import Server, serving
from tests.fixtures.tiny import PACKAGE, Tiny, spoil_golden

pytestmark = pytest.mark.slow


def samples(server: Server, name: str) -> dict[tuple[str, str], float]:
    text = server.get("/metrics").body.decode()
    families = {f.name: f for f in text_string_to_metric_families(text)}
    return {(s.labels["model"], s.labels["version"]): s.value for s in families[name].samples}


def test_a_version_that_fails_its_gate_is_told_beside_the_one_that_serves(
    tiny: Tiny, tmp_path: Path
) -> None:
    base = tiny.copy(tmp_path / "models")
    spoil_golden(tiny.build(base, version=2))
    made = datetime.fromisoformat(open_bundle(base / "tiny" / "1").manifest.created).timestamp()
    with serving(
        base, "--versions", "all", "--pipeline", PACKAGE, "--log", tmp_path / "log",
        errors=tmp_path / "stderr", environment=tiny.environment(),
    ) as server:  # fmt: skip
        assert samples(server, SERVABLE_CREATED.name) == {("tiny", "1"): made}
        assert samples(server, VERSION_LOAD_FAILED.name) == {("tiny", "2"): 1.0}
