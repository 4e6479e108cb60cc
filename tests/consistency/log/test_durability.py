from __future__ import annotations

import threading

import pytest

from consistency.errors import ConfigError
from consistency.log.durability import Fsync, FsyncWhen, Ticker


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("seal", Fsync()),
        ("every_request", Fsync(FsyncWhen.EVERY_REQUEST)),
        ("interval:50ms", Fsync(FsyncWhen.INTERVAL, 0.05)),
        ("interval:2s", Fsync(FsyncWhen.INTERVAL, 2)),
        ("interval:0.5s", Fsync(FsyncWhen.INTERVAL, 0.5)),
    ],
)
def test_a_policy_is_read_and_shown(text: str, policy: Fsync) -> None:
    assert Fsync.parse(text) == policy
    assert Fsync.parse(str(policy)) == policy


@pytest.mark.parametrize(
    "text",
    ["", "never", "interval", "interval:", "interval:50", "interval:0ms", "interval:-1s",
     "interval:9999999s", "interval:nans", "interval:1m", "SEAL"],
)  # fmt: skip
def test_what_is_no_policy_is_told_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError, match="interval:50ms"):
        Fsync.parse(text)


def test_a_ticker_goes_on_after_a_failure_and_stops(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[int] = []
    enough = threading.Event()

    def tick() -> None:
        calls.append(1)
        if len(calls) == 3:
            enough.set()
        raise RuntimeError("a bug")

    ticker = Ticker("test-ticker", 0.001, tick)
    assert enough.wait(30)
    ticker.stop()
    held = len(calls)
    assert "test-ticker failed; it goes on" in caplog.text
    assert len(calls) == held
