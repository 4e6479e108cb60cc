"""Steady traffic to one model, in a process of its own, until SIGTERM: for the act of the alarm.

It sends flights of the training months. As long as a certain file exists, an airline that training
never saw flies every few of them. Run as `python -m samescore.demo.traffic.steady`.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from random import Random
from typing import Any, Final

import click
import orjson

from consistency.records import Record
from samescore.demo.traffic.plan import Phase, Planned, body_of
from samescore.demo.traffic.wire import Connection, WireError

NEW_AIRLINE: Final = "ZZ"
"""No airline of the data."""

NEW_AIRLINE_EVERY: Final = 5
"""Of so many flights one is the new airline's, while the fault lasts."""

ROWS: Final = 8
PAUSE_SECONDS: Final = 0.03
SEED: Final = 2013

_BODIES: Final = 500
_MOST_FAILURES: Final = 5


def steady_bodies(records: Sequence[Record], seed: int) -> list[bytes]:
    """Return the bodies of requests made of flights drawn at random, the same for the same seed."""
    drawn = Random(seed).sample(range(len(records)), min(_BODIES * ROWS, len(records)))  # noqa: S311 - no secrets
    chunks = (drawn[at : at + ROWS] for at in range(0, len(drawn), ROWS))
    return [body_of(Planned(Phase.MIXED, tuple(chunk)), records) for chunk in chunks]


def with_new_airline(records: Sequence[Record]) -> list[Record]:
    """Let the new airline fly one of every few flights; nothing else changes.

    >>> [r["carrier"] for r in with_new_airline([{"carrier": "UA"}] * 6)]
    ['ZZ', 'UA', 'UA', 'UA', 'UA', 'ZZ']
    """
    return [
        {**record, "carrier": NEW_AIRLINE} if number % NEW_AIRLINE_EVERY == 0 else record
        for number, record in enumerate(records)
    ]


@dataclass(slots=True)
class Steady:
    """Sends one request after another over one connection.

    Attributes:
        url: the server.
        model: its name; version 1 is asked.
        switch: while this file exists, the fault lasts.
        sent: requests that were written as a whole.
        answered: with a score for each row.
        failures: the first of what went wrong otherwise.
    """

    url: str
    model: str
    switch: Path
    sent: int = 0
    answered: int = 0
    failures: list[str] = field(default_factory=list)

    def play(
        self, healthy: Sequence[bytes], faulty: Sequence[bytes], stop: threading.Event
    ) -> None:
        """Send until told to stop, or until something breaks."""
        connection = Connection(self.url)
        try:
            for good, bad in cycle(zip(healthy, faulty, strict=True)):
                self._send(connection, bad if self.switch.exists() else good)
                if stop.wait(PAUSE_SECONDS):
                    break
        except (OSError, WireError) as e:
            self._failed(f"{type(e).__name__}: {e}")
        finally:
            connection.close()

    def to_json(self) -> dict[str, Any]:  # Any: JSON
        """Return JSON types."""
        return {"sent": self.sent, "answered": self.answered, "failures": self.failures}

    def _send(self, connection: Connection, body: bytes) -> None:
        connection.post(f"/predict/{self.model}/1", body)
        self.sent += 1
        answer = connection.answer()
        if answer.status == 200:
            self.answered += 1
        else:
            self._failed(f"{answer.status}: {answer.body[:200].decode(errors='replace')}")

    def _failed(self, text: str) -> None:
        if len(self.failures) < _MOST_FAILURES:
            self.failures.append(text)


@click.command()
@click.option("--url", required=True)
@click.option("--model", required=True)
@click.option("--switch", type=click.Path(path_type=Path), required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True)
def main(url: str, model: str, switch: Path, out: Path) -> None:
    """Send flights of the training months until SIGTERM; write what was counted."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    from flights_data import TRAIN_MONTHS, load_flights  # of the example, on PYTHONPATH

    flights = load_flights().months(*TRAIN_MONTHS).records
    steady = Steady(url, model, switch)
    healthy, faulty = (steady_bodies(r, SEED) for r in (flights, with_new_airline(flights)))
    steady.play(healthy, faulty, stop)
    out.write_bytes(orjson.dumps(steady.to_json()))
    if not stop.is_set():
        raise SystemExit(f"broke off: {steady.failures[-1]}")


if __name__ == "__main__":
    main()
