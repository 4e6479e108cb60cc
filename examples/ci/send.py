"""Sends rides to a running server, one to five in a request.

python send.py --url http://127.0.0.1:8501
"""

from __future__ import annotations

import argparse
import http.client
import json
from urllib.parse import urlsplit

from rides import make_rides


def send(url: str, rows: int) -> int:
    """Send rides that the model was not trained on, and return how many requests it took."""
    rides = make_rides(rows, seed=11)
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    sent = 0
    while rides:
        insts, rides = rides[: sent % 5 + 1], rides[sent % 5 + 1 :]
        body = json.dumps({"type": "record", "data": {"insts": insts}}).encode()
        connection.request("POST", "/predict/rides/1", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        said = answer.read().decode()
        if answer.status != 200:
            raise SystemExit(f"the server answered {answer.status}: {said}")
        sent += 1
    return sent


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Send rides to the server.")
    parser.add_argument("--url", default="http://127.0.0.1:8501")
    parser.add_argument("--rows", type=int, default=300)
    options = parser.parse_args()
    print(send(options.url, options.rows), "requests")
