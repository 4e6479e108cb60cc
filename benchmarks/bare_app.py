"""The peer: the XGBoost model behind a bare ASGI app, and nothing else.

Reads a body, parses 30 numbers, predicts, answers; no checks, no features, no log, no metrics. Runs
in a process of its own, under uvicorn with the settings of `samescore serve`:

    python -m benchmarks.bare_app MODEL_FOLDER --call inplace
"""

from __future__ import annotations

import argparse
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import orjson
import uvicorn

from samescore.server import UVICORN

Predict: TypeAlias = Callable[[list[float | None]], float]
Message: TypeAlias = MutableMapping[str, Any]  # Any: ASGI's own untyped messages
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]


def inplace(folder: Path) -> Predict:
    """Return XGBoost's own call for a single row, as anybody would write it."""
    import xgboost

    booster = xgboost.Booster(params={"nthread": 1}, model_file=folder / "model.ubj")

    def predict(row: list[float | None]) -> float:
        return float(booster.inplace_predict(np.array([row], np.float64))[0])

    return predict


def kept(folder: Path) -> Predict:
    """Return our loader's call, which keeps XGBoost's description of the matrix between calls."""
    from serving.loaders.xgboost import load

    scorer = load(folder, threads=1)

    def predict(row: list[float | None]) -> float:
        return float(scorer.predict(np.array([row], np.float64))[0])

    return predict


CALLS = {"inplace": inplace, "kept": kept}


def make_app(predict: Predict) -> App:
    """Return the ASGI app: a JSON list of numbers (null: missing) in, `{"score": ...}` out."""

    async def app(_scope: Message, receive: Receive, send: Send) -> None:
        message = await receive()
        body = message["body"]
        while message.get("more_body", False):
            message = await receive()
            body += message["body"]
        answer = orjson.dumps({"score": predict(orjson.loads(body))})
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(answer)),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    return app


def main() -> None:
    """Load the model, say where it listens, and serve until SIGTERM."""
    parser = argparse.ArgumentParser(description="The bare model behind a raw ASGI app.")
    parser.add_argument("folder", type=Path, help="holds model.ubj")
    parser.add_argument("--call", choices=sorted(CALLS), default="inplace")
    options = parser.parse_args()
    app = make_app(CALLS[options.call](options.folder))
    sock = socket.create_server(("127.0.0.1", 0), backlog=2048)
    ready = {"url": f"http://127.0.0.1:{sock.getsockname()[1]}"}
    print(orjson.dumps(ready, option=orjson.OPT_INDENT_2).decode(), flush=True)
    uvicorn.Server(uvicorn.Config(app, lifespan="off", **UVICORN)).run(sockets=[sock])


if __name__ == "__main__":
    main()
