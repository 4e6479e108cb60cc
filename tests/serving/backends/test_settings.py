from __future__ import annotations

import pytest

from consistency.errors import ConfigError
from serving.backends.settings import BackendSettings


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("grpc://a", "grpc://a:8500"),
        ("grpc://a:9000,b", "grpc://a:9000,grpc://b:8500"),
        ("grpc://a, grpc://b", "grpc://a:8500,grpc://b:8500"),
        ("rest://a", "rest://a:8501"),
        ("http://10.0.0.1:80/", "rest://10.0.0.1:80"),
        ("grpc://[::1]:8500", "grpc://[::1]:8500"),
    ],
)
def test_addresses(text: str, meant: str) -> None:
    assert str(BackendSettings.parse(text)) == meant


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "protocol '' is unknown"),
        ("a:8500", "is unknown"),
        ("https://a", "protocol 'https' is unknown; give grpc://HOST:PORT"),
        ("grpc://a,rest://b", "all instances speak one protocol"),
        ("grpc://a,a:8500", "stands there twice"),
        ("grpc://", "is no host with a port"),
        ("grpc://a,", "is no host with a port"),
        ("grpc://a:99999", "[Pp]ort out of range"),
        ("grpc://a:0", "is no host with a port"),
        ("rest://a/v1/models", "is no host with a port"),
        ("rest://user@a", "is no host with a port"),
        ("grpc://a b", "is no host with a port"),
    ],
)
def test_what_is_no_address_is_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        BackendSettings.parse(text)


def test_weights_are_one_an_instance() -> None:
    assert BackendSettings.parse("grpc://a,b").every_weight == (1, 1)
    assert BackendSettings.parse("grpc://a,b", (3, 1)).every_weight == (3, 1)
    with pytest.raises(ConfigError, match="1 backend weights for 2 instances"):
        BackendSettings.parse("grpc://a,b", (3,))
    with pytest.raises(ConfigError, match="backend weight 0"):
        BackendSettings.parse("grpc://a,b", (3, 0))


def test_bounds_are_above_0() -> None:
    with pytest.raises(ConfigError, match="above 0"):
        BackendSettings.parse("grpc://a", max_in_flight=0)
