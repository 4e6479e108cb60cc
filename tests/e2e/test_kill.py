from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from consistency.log import LogSettings, RequestLogWriter
from consistency.log.lines.line import decode_line
from consistency.log.reader import verify_log
from tests.fixtures.cli import samescore
from tests.fixtures.figures import Tell
from tests.fixtures.server import Load, serving
from tests.fixtures.tiny import PACKAGE, Tiny, record_body

pytestmark = pytest.mark.slow

KILLS = 20
ANSWERS = 1_000
CONNECTIONS = 4
TORN_EVERY = 4
TORN = b'{"v":1,"request_id":"never-acknowledged","ingest_time_us":17'


@dataclass
class Figures:
    """What the client saw over all lives of the server."""

    acknowledged: list[set[str]] = field(default_factory=list)
    surplus: list[int] = field(default_factory=list)
    torn: list[int] = field(default_factory=list)
    torn_planted: int = 0
    seconds: float = 0.0


def one_life(tiny: Tiny, root: Path, bodies: list[Any], figures: Figures) -> None:
    """Serve under load, and kill the server after a thousand answers."""
    with serving(
        tiny.base, "--log", root / "log", "--pipeline", PACKAGE,
        errors=root / "stderr", environment=tiny.environment(),
    ) as server:  # fmt: skip
        assert len(list((root / "log").glob("*.open"))) == 1, "its own: the dead one's was sealed"
        load = Load(server.port, "/predict/tiny", bodies, CONNECTIONS)
        load.wait_for(ANSWERS)
        server.kill()
        load.join()
    assert set(load.replies) == {200}
    assert len(load.failures) == CONNECTIONS, "every connection was busy when it broke"
    assert len(load.acknowledged) >= ANSWERS
    figures.acknowledged.append(set(load.acknowledged))


def tear(folder: Path) -> None:
    """Leave the beginning of a line, as a process that dies within its write does."""
    (segment,) = folder.glob("*.open")
    with segment.open("ab") as stream:
        stream.write(TORN)


def note_torn(folder: Path, figures: Figures, *, plant: bool) -> None:
    """Count what stands behind the last newline: the kill itself can fall within a write, too."""
    if plant:
        tear(folder)
        figures.torn_planted += 1
    (segment,) = folder.glob("*.open")
    if torn := segment.read_bytes().rpartition(b"\n")[2]:
        figures.torn.append(len(torn))


def ids_by_segment(folder: Path) -> list[list[str]]:
    """Return the ids in each sealed segment, oldest first; a damaged line is an error."""
    lines = [path.read_bytes().splitlines() for path in sorted(folder.glob("*.jsonl"))]
    return [[decode_line(line).request_id for line in segment] for segment in lines]


def test_nothing_that_was_acknowledged_is_lost_when_the_server_is_killed(
    tiny: Tiny, tmp_path: Path, tell: Tell
) -> None:
    folder, figures = tmp_path / "log", Figures()
    bodies = [record_body(tiny.records[i : i + i % 3 + 1]) for i in range(60)]
    began = time.monotonic()
    for life in range(KILLS):
        one_life(tiny, tmp_path, bodies, figures)
        note_torn(folder, figures, plant=life % TORN_EVERY == 0)
    recovered = RequestLogWriter(LogSettings(folder))  # the next start seals the last one
    recovered.close()
    figures.seconds = time.monotonic() - began

    segments = ids_by_segment(folder)
    logged = [request_id for ids in segments for request_id in ids]
    acknowledged = set().union(*figures.acknowledged)
    surplus = set(logged) - acknowledged

    assert len(segments) == KILLS
    assert list(folder.glob("*.open")) == []
    assert acknowledged <= set(logged), "acknowledged is logged"
    assert len(logged) == len(set(logged)), "nothing is there twice"
    for ids, answered in zip(segments, figures.acknowledged, strict=True):
        assert answered <= set(ids)
        figures.surplus.append(len(set(ids) - answered))
    assert max(figures.surplus) <= CONNECTIONS, "at most what was in flight"

    verdict = verify_log(folder)
    assert verdict.intact
    assert verdict.requests == len(logged)
    assert [d.size_bytes for d in verdict.damage] == figures.torn
    assert len(figures.torn) >= figures.torn_planted
    told = samescore("log", "verify", folder)
    assert told.code == 0
    assert told.out.count(".torn line 1: torn tail") == len(figures.torn)
    if surplus:  # each can be listed by its id
        options = [part for request_id in sorted(surplus) for part in ("--request-id", request_id)]
        listed = samescore("log", "cat", folder, *options)
        assert listed.code == 0
        assert len(listed.out.splitlines()) == len(surplus)
    replayed = samescore("replay", folder, "--bundles", tiny.base, "--pipeline", PACKAGE)
    assert replayed.code == 0

    tell(
        f"{KILLS} kills, {CONNECTIONS} connections: {len(acknowledged):,} acknowledged, "
        f"{len(logged):,} logged, 0 lost, 0 twice, surplus {len(surplus)} (at most "
        f"{max(figures.surplus)} a kill), {len(figures.torn)} torn tails cut "
        f"({figures.torn_planted} planted), "
        f"{figures.seconds:.0f} s"
    )
    for request_id in sorted(surplus):
        tell(f"logged, not acknowledged: {request_id}")
