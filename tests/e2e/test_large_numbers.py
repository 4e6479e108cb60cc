"""Numbers of any size through a real server: scored or refused as the offline side does it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from consistency.bundle.reader import bind_pipeline, open_bundle
from consistency.errors import DataError
from consistency.jsontype import Json
from consistency.log import RequestLogReader
from consistency.log.lines.entry import LoggedRequest
from consistency.pipeline import BoundPipeline
from consistency.scored import Outcome
from tests.fixtures.cli import samescore
from tests.fixtures.server import serving
from tests.fixtures.tiny import PACKAGE, Tiny

pytestmark = pytest.mark.slow

NUMBERS = (
    "1", "-0", "-0.0", "1E2", "0.1e-400", "1e400", "-1e400", "9007199254740993",
    "18446744073709551615", "18446744073709551616", "18446744073709551617",
    "-9223372036854775809", "1" * 308, "9" * 309, "9" * 400, "1" * 400 + "e-390",
)  # fmt: skip
FIELDS = ("amount", "age", "city", "score")


def bodies() -> list[str]:
    """Return records with each number in each field."""
    good = {"amount": "100.5", "age": "30", "city": '"Oslo"', "score": "0.5"}
    texts = ({**good, field: number} for field in FIELDS for number in NUMBERS)
    return ["{" + ",".join(f'"{n}":{v}' for n, v in text.items()) + "}" for text in texts]


def test_a_server_and_a_notebook_agree_and_a_replay_finds_so(tiny: Tiny, tmp_path: Path) -> None:
    log = tmp_path / "log"
    options = ("--log", log, "--pipeline", PACKAGE)
    with serving(
        tiny.base, *options, errors=tmp_path / "stderr", environment=tiny.environment()
    ) as server:
        sent = {}
        for record in bodies():
            body = b'{"type":"record","data":{"insts":%b}}' % record.encode()
            sent[server.post("/predict/tiny/1", body).request_id] = record
        assert server.terminate() == 0
    pipeline = offline(tiny)
    logged = [r for r in RequestLogReader(log) if isinstance(r, LoggedRequest)]
    assert len(logged) == len(sent)
    for request in logged:
        record = json.loads(sent[request.request_id])
        expected = verdict(pipeline, record)
        found = request.fields["message"] if request.features is None else request.features
        if isinstance(found, str):
            assert f"row 0 field {expected!r} is " in found, record
            assert request.outcome is Outcome.DATA_ERROR
        else:
            assert found.matrix().tobytes() == expected, record
            assert request.outcome is Outcome.OK
    outcomes = [r.outcome for r in logged]
    assert min(outcomes.count(Outcome.OK), outcomes.count(Outcome.DATA_ERROR)) >= 10
    ran = samescore("replay", log, "--bundles", tiny.base, "--pipeline", PACKAGE)
    assert ran.code == 0, ran.words


def verdict(pipeline: BoundPipeline, record: Json) -> bytes | str | None:
    """Return the features' bits, or the field that is refused."""
    try:
        return pipeline([record]).matrix().tobytes()
    except DataError as e:
        return e.field


def offline(tiny: Tiny) -> BoundPipeline:
    pipeline = bind_pipeline(open_bundle(tiny.bundle), trusted=[PACKAGE], store=tiny.store)
    assert pipeline is not None
    return pipeline
