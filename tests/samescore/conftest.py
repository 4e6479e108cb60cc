from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from consistency.scored import ScoredRequest
from serving.core.state import ServableId
from serving.servable import BundleLoader, GateMode, LoadSettings, Servable
from tests.fakes.transport import ThroughFloat32
from tests.fixtures.tiny import PACKAGE, Tiny, record_body
from tests.fixtures.traffic import serve_into_log


@dataclass(frozen=True)
class Log:
    """A log folder, and the requests that were answered."""

    folder: Path
    requests: list[ScoredRequest]


def load(tiny: Tiny, **how: object) -> Servable:
    settings = LoadSettings(frozenset({PACKAGE}), tiny.store, **how)  # type: ignore[arg-type]
    return BundleLoader(ServableId("tiny", 1), tiny.bundle, settings).load()


@pytest.fixture(scope="session")
def log(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Log:
    """Twelve requests of one to three records, two of feature rows, and two refused ones."""
    rows = tiny.records
    bodies = [record_body(rows[i : i + i % 3 + 1]) for i in range(12)]
    bodies += [{"type": "libsvm", "feature_num": "6", "data": {"insts": "0 1:1 4:0.5"}}]
    bodies += [{"type": "dense", "data": {"insts": [[1, 2, 3, 0, None, 6]]}}]
    bodies += [b"{", record_body({"amount": 1.0})]  # type: ignore[list-item]
    folder = tmp_path_factory.mktemp("requests")
    return Log(folder, serve_into_log(load(tiny), folder, bodies))


@pytest.fixture(scope="session")
def bad_log(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Log:
    """Served with features that went through float32 on their way."""
    folder = tmp_path_factory.mktemp("bad_requests")
    servable = load(tiny, transport=ThroughFloat32, gate=GateMode.REPORT)
    bodies = [record_body(tiny.records[i : i + 2]) for i in range(6)]
    return Log(folder, serve_into_log(servable, folder, bodies))
