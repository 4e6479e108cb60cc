"""The server with everything on, beside the same model behind a bare ASGI app.

Contestants take turns in blocks (A B C A B C ...), each with the very same flights, so that what
else the machine does falls on all of them.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import orjson

from benchmarks.budgets import measured, quantile
from benchmarks.client import Client, Crowd, request_bytes
from benchmarks.processes import bare_app, our_server, pinned, two_cores
from benchmarks.results import Result
from benchmarks.workload import VERSION, BenchmarkError, Workload, say
from consistency.log.reader import verify_log
from consistency.records import Record

OURS: Final = "ours"
BARE: Final = "inplace"
SAME_CALL: Final = "kept"
CONNECTIONS: Final = 16
OTHER_MODELS: Final = ("lightgbm", "keras_float64")
_WARM_UP: Final = 300


def measure_xgboost(workload: Workload) -> Iterator[Result]:
    """Measure our server with XGBoost against the bare app."""
    cores = two_cores()
    say(f"serving: {cores}")
    records = workload.chosen(max(workload.effort.block * 4, workload.effort.many))
    asked = {OURS: _our_requests("xgboost", records)}
    asked[BARE] = asked[SAME_CALL] = _bare_requests(workload, records)
    with ExitStack() as stack:
        ours, log = stack.enter_context(our_server(workload, "xgboost", cores.server))
        ports = {OURS: ours}
        for call in (BARE, SAME_CALL):
            ports[call] = stack.enter_context(bare_app(workload, call, cores.server))
        stack.enter_context(pinned(cores.client))
        clients = {name: stack.enter_context(Client(port)) for name, port in ports.items()}
        sent = _same_scores(clients, asked)
        taken = _rounds(workload, clients, asked)
        yield from _one_connection(taken)
        sent += sum(len(block) for block in taken[OURS]) + _WARM_UP
        yield _many_connections(workload, ports, asked)
        sent += len(asked[OURS][: workload.effort.many]) * (workload.effort.rounds // 2 + 1)
    _check_log(log, sent)


def measure_others(workload: Workload) -> Iterator[Result]:
    """Measure single records of the other models, one connection."""
    cores = two_cores()
    records = workload.chosen(workload.effort.block * 4)
    for model in OTHER_MODELS:
        say(f"serving: {model}")
        asked = {OURS: _our_requests(model, records)}
        with (
            our_server(workload, model, cores.server) as (port, log),
            pinned(cores.client),
            Client(port) as client,
        ):
            taken = _rounds(workload, {OURS: client}, asked)[OURS]
        _check_log(log, sum(map(len, taken)) + _WARM_UP)
        yield measured(f"serving.single_p99_ms.{model}", _p99_ms(taken))


def _our_requests(model: str, records: Sequence[Record]) -> list[bytes]:
    path = f"/predict/{model}/{VERSION}"
    bodies = ({"type": "record", "data": {"insts": r}} for r in records)
    return [request_bytes(path, orjson.dumps(body)) for body in bodies]


def _bare_requests(workload: Workload, records: Sequence[Record]) -> list[bytes]:
    """Return the same flights as ready-made feature rows: the bare app makes no features."""
    pipeline = workload.load("xgboost").pipeline
    assert pipeline is not None
    rows = pipeline(records).matrix()
    return [
        request_bytes("/", orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY)) for row in rows
    ]


def _same_scores(clients: Mapping[str, Client], asked: Mapping[str, Sequence[bytes]]) -> int:
    """Make sure that contestants do the same work; return how many requests ours was sent."""
    count = min(200, len(asked[OURS]))
    found = {}
    for name, client in clients.items():
        answers = [orjson.loads(client.ask(request)) for request in asked[name][:count]]
        found[name] = [a["data"]["insts"][0] if name == OURS else a["score"] for a in answers]
    for name, scores in found.items():
        if scores != found[OURS]:
            raise BenchmarkError(f"contestant {name} gives other scores than ours")
    return count


def _rounds(
    workload: Workload, clients: Mapping[str, Client], asked: Mapping[str, Sequence[bytes]]
) -> dict[str, list[list[int]]]:
    """Return each contestant's nanoseconds, block by block, after a warm-up."""
    size = workload.effort.block
    for name, client in clients.items():
        client.block([asked[name][i % len(asked[name])] for i in range(_WARM_UP)])
    taken: dict[str, list[list[int]]] = {name: [] for name in clients}
    for turn in range(workload.effort.rounds):
        start = turn * size % (len(asked[OURS]) - size + 1)
        for name, client in clients.items():
            taken[name].append(client.block(asked[name][start : start + size]))
    return taken


def _one_connection(taken: Mapping[str, Sequence[Sequence[int]]]) -> Iterator[Result]:
    p50 = {n: [quantile(b, 0.5) / 1e3 for b in blocks] for n, blocks in taken.items()}
    for name, peer, text in (
        ("serving.added_p50_us", BARE, "bare ASGI app"),
        ("serving.added_p50_same_call_us", SAME_CALL, "bare app with our model call"),
    ):
        theirs = statistics.median(p50[peer])
        added = [a - b for a, b in zip(p50[OURS], p50[peer], strict=True)]
        ratio = statistics.median(p50[OURS]) / theirs
        yield measured(name, added, peer=f"{text}, p50 {theirs:.0f} µs", ratio=ratio)
    a, b = ([len(block) / sum(block) * 1e9 for block in taken[n]] for n in (OURS, BARE))
    yield _throughput("serving.vs_bare_c1", a, b)
    mine, theirs = _p99_ms(taken[OURS]), statistics.median(_p99_ms(taken[BARE]))
    peer, ratio = f"bare ASGI app, p99 {theirs:.2f} ms", statistics.median(mine) / theirs
    yield measured("serving.single_p99_ms", mine, peer=peer, ratio=ratio)


def _many_connections(
    workload: Workload, ports: Mapping[str, int], asked: Mapping[str, Sequence[bytes]]
) -> Result:
    rates: dict[str, list[float]] = {OURS: [], BARE: []}
    with ExitStack() as stack:
        crowds = {n: stack.enter_context(Crowd(ports[n], CONNECTIONS)) for n in rates}
        for _ in range(workload.effort.rounds // 2 + 1):
            for name, crowd in crowds.items():
                rates[name].append(crowd.throughput(asked[name][: workload.effort.many]))
    # The first turn warms up.
    return _throughput("serving.vs_bare_c16", rates[OURS][1:], rates[BARE][1:])


def _throughput(name: str, ours: Sequence[float], bare: Sequence[float]) -> Result:
    ratios = [a / b for a, b in zip(ours, bare, strict=True)]
    mine, theirs = statistics.median(ours), statistics.median(bare)
    peer = f"bare ASGI app, {theirs:.0f} req/s; ours {mine:.0f}"
    return measured(name, ratios, peer=peer, ratio=statistics.median(ratios))


def _p99_ms(blocks: Sequence[Sequence[int]]) -> list[float]:
    return [quantile(block, 0.99) / 1e6 for block in blocks]


def _check_log(log: Path, sent: int) -> None:
    """Make sure that the server was measured with its log on: one line a request, none damaged."""
    verdict = verify_log(log)
    if verdict.requests != sent or not verdict.intact:
        raise BenchmarkError(f"{sent} requests were sent, the log holds {verdict.requests}")
