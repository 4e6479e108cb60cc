"""The client, in a process of its own: sends the planned requests, and alone counts them.

It knows nothing of the server but its address. Run as `python -m samescore.demo.traffic.client`.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter_ns, sleep
from typing import Any, Final

import click
import orjson

from samescore.demo.traffic.plan import Phase, Planned, body_of, plan_requests
from samescore.demo.traffic.wire import Answer, Connection, WireError
from samescore.progress import progress

SEED: Final = 2013
CONNECTIONS_A_MODEL: Final = 2
PUBLISH_SECONDS: Final = 3.0
"""How long the requests are spread over during which a new snapshot is published."""

PUBLISH_NOW: Final = "publish"
"""The line that asks for the new snapshot."""

_PUBLISH_AFTER: Final = 0.4
_MOST_FAILURES: Final = 20


@dataclass(slots=True)
class Tally:
    """What one connection, or all of them, sent and got.

    Attributes:
        sent: requests that were written as a whole.
        rows: records that were answered with a score.
        by_status: answers in the face's envelope, by HTTP status.
        unexpected: answers that are not what the plan expects: 400 for a spoilt request, else 200.
        failures: what broke.
    """

    sent: int = 0
    rows: int = 0
    by_status: Counter[int] = field(default_factory=Counter)
    unexpected: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def take(self, other: Tally) -> None:
        """Add another tally."""
        self.sent += other.sent
        self.rows += other.rows
        self.by_status.update(other.by_status)
        self.unexpected += other.unexpected
        self.failures += other.failures

    def judge(self, planned: Planned, answer: Answer) -> None:
        """Count an answer."""
        try:
            envelope = orjson.loads(answer.body)
            scores = envelope["data"].get("insts", ())
            good = (envelope["code"] == 0) == (answer.status == 200) and "message" in envelope
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            self.failures.append(f"answer {answer.status} has no envelope: {answer.body[:200]!r}")
            return
        self.by_status[answer.status] += 1
        self.rows += len(scores)
        wanted, rows = (400, 0) if planned.flaw else (200, len(planned.flights))
        if not good or answer.status != wanted or len(scores) != rows:
            text = f"{planned.flaw or planned.phase}: {answer.status} {envelope['message']}"
            self.unexpected.append(text)

    def to_json(self) -> dict[str, Any]:  # Any: JSON
        """Return JSON types."""
        return {
            "sent": self.sent,
            "answered": self.by_status.total(),
            "rows": self.rows,
            "by_status": {str(s): n for s, n in sorted(self.by_status.items())},
            "unexpected": self.unexpected[:_MOST_FAILURES],
            "failures": self.failures[:_MOST_FAILURES],
        }


@dataclass(frozen=True, slots=True)
class Job:
    """One request to one model."""

    model: str
    planned: Planned
    body: bytes


class Courier:
    """Sends jobs over one connection, one after another.

    Args:
        url: the server.
        step: called once a request.
    """

    def __init__(self, url: str, step: Callable[[], object]) -> None:
        self._url, self._step = url, step
        self._connection: Connection | None = None
        self.tally = Tally()

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def send(self, job: Job) -> tuple[str, int] | None:
        """Send a job and count its answer.

        A request is never sent twice: what breaks is a failure, and stays one.

        Returns:
            The answer's request id and the nanoseconds from the first byte out to the last byte in,
            or None when it broke.
        """
        try:
            if self._connection is None:
                self._connection = Connection(self._url)
            start = perf_counter_ns()
            self._connection.post(f"/predict/{job.model}/1", job.body)
            self.tally.sent += 1
            answer = self._connection.answer()
            taken = perf_counter_ns() - start
        except (OSError, WireError) as e:
            self.close()
            self.tally.failures.append(f"{type(e).__name__}: {e}")
            return None
        finally:
            self._step()
        self.tally.judge(job.planned, answer)
        return answer.request_id, taken


@dataclass(slots=True)
class Client:
    """Plays the phases.

    Attributes:
        url: the server.
        models: that are sent the same bodies.
        step: called once a request.
        on_publish: called when the new snapshot is to be published.
        tally: of all phases.
        single: by model: request ids and nanoseconds of the `single` phase.
        seconds: that each phase took.
    """

    url: str
    models: Sequence[str]
    step: Callable[[], object]
    on_publish: Callable[[], object]
    tally: Tally = field(default_factory=Tally)
    single: dict[str, list[tuple[str, int]]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def play(self, plan: Sequence[Planned], bodies: Sequence[bytes]) -> None:
        """Send everything that was planned to every model."""
        for phase, send in (
            (Phase.PUBLISH, self._publish),
            (Phase.MIXED, self._mixed),
            (Phase.SINGLE, self._single),
        ):
            chosen = [(p, b) for p, b in zip(plan, bodies, strict=True) if p.phase is phase]
            start = perf_counter_ns()
            send([[Job(m, p, b) for p, b in chosen] for m in self.models])
            self.seconds[phase.value] = (perf_counter_ns() - start) / 1e9

    def _publish(self, jobs: list[list[Job]]) -> None:
        """Spread few requests over some seconds, and call for the snapshot on the way."""
        courier = Courier(self.url, self.step)
        in_turn = [job for one_of_each in zip(*jobs, strict=True) for job in one_of_each]
        ask_at = int(_PUBLISH_AFTER * len(in_turn))
        for i, job in enumerate(in_turn):
            if i == ask_at:
                self.on_publish()
            courier.send(job)
            sleep(PUBLISH_SECONDS / len(in_turn))
        self._done(courier)

    def _mixed(self, jobs: list[list[Job]]) -> None:
        """Send over several connections at once, the requests of a model dealt out to its own."""
        hands = [m[i::CONNECTIONS_A_MODEL] for m in jobs for i in range(CONNECTIONS_A_MODEL)]
        couriers = [Courier(self.url, self.step) for _ in hands]
        threads = [
            threading.Thread(target=_send_all, args=(c, hand), daemon=True)
            for c, hand in zip(couriers, hands, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for courier in couriers:
            self._done(courier)

    def _single(self, jobs: list[list[Job]]) -> None:
        """Send one record at a time, over one connection a model, one model after another."""
        for model, hand in zip(self.models, jobs, strict=True):
            courier = Courier(self.url, self.step)
            taken = [courier.send(job) for job in hand]
            self.single[model] = [t for t in taken if t is not None]
            self._done(courier)

    def _done(self, courier: Courier) -> None:
        courier.close()
        self.tally.take(courier.tally)

    def to_json(self) -> dict[str, Any]:  # Any: JSON
        """Return JSON types."""
        return {
            **self.tally.to_json(),
            "connections": CONNECTIONS_A_MODEL * len(self.models),
            "seconds": self.seconds,
            "single": {
                m: {"request_ids": [i for i, _ in taken], "ns": [ns for _, ns in taken]}
                for m, taken in self.single.items()
            },
        }


def _send_all(courier: Courier, jobs: Sequence[Job]) -> None:
    for job in jobs:
        courier.send(job)


@click.command()
@click.option("--url", required=True)
@click.option("--model", "models", multiple=True, required=True)
@click.option("--requests", type=int, required=True, help="To each model.")
@click.option("--out", type=click.Path(path_type=Path), required=True)
def main(url: str, models: tuple[str, ...], requests: int, out: Path) -> None:
    """Send real later flights to every model; write what was counted."""
    from flights_data import LATER_MONTHS, load_flights  # of the example, on PYTHONPATH

    flights = load_flights().months(*LATER_MONTHS)
    plan = plan_requests(flights.month.tolist(), requests, SEED)
    bodies = [body_of(p, flights.records) for p in plan]
    with progress("requests answered", len(plan) * len(models)) as step:
        client = Client(url, models, step, lambda: click.echo(PUBLISH_NOW))
        client.play(plan, bodies)
    out.write_bytes(orjson.dumps(client.to_json()))


if __name__ == "__main__":
    main()
