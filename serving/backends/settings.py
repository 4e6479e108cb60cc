"""Which instances a remote backend has, and its bounds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self
from urllib.parse import SplitResult, urlsplit

from consistency.errors import ConfigError
from serving.backends.balancing import SmoothRoundRobin
from serving.backends.health import DEFAULT_HEALTH, HealthPolicy


class WireProtocol(StrEnum):
    """How instances are spoken to; both are TensorFlow Serving's."""

    GRPC = "grpc"
    REST = "rest"


_SCHEMES: Final = {"grpc": WireProtocol.GRPC, "rest": WireProtocol.REST, "http": WireProtocol.REST}
_PORTS: Final = {WireProtocol.GRPC: 8500, WireProtocol.REST: 8501}
_HOST: Final = re.compile(r"[A-Za-z0-9._:-]{1,253}")
_FORM: Final = "give grpc://HOST:PORT[,HOST:PORT...], or rest:// in its place"


@dataclass(frozen=True, slots=True)
class Address:
    """Where an instance listens.

    Attributes:
        host: name or IP address, an IPv6 one without brackets.
        port: TCP.
    """

    protocol: WireProtocol
    host: str
    port: int

    @property
    def netloc(self) -> str:
        """Host and port as URLs hold them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.protocol}://{self.netloc}"


@dataclass(frozen=True, slots=True)
class BackendSettings:
    """Everything that a remote backend can be told.

    Attributes:
        addresses: of the instances, at least one, each once, all of one protocol.
        weights: one an instance; empty for equal ones.
        timeout_seconds: from the features to the scores, waiting for an instance included.
        max_in_flight: requests that an instance has at a time; more wait until their deadline.
        probe_seconds: between two looks at an instance.
        health: when an instance is ejected.
    """

    addresses: tuple[Address, ...]
    weights: tuple[int, ...] = ()
    timeout_seconds: float = 1.0
    max_in_flight: int = 64
    probe_seconds: float = 1.0
    health: HealthPolicy = DEFAULT_HEALTH

    def __post_init__(self) -> None:
        if self.weights and len(self.weights) != len(self.addresses):
            raise ConfigError(
                f"{len(self.weights)} backend weights for {len(self.addresses)} instances; give one"
                " for each instance, in their order"
            )
        SmoothRoundRobin(self.every_weight)
        if self.timeout_seconds <= 0 or self.max_in_flight < 1 or self.probe_seconds <= 0:
            raise ConfigError(f"{self}: timeouts, pauses and bounds of a backend are above 0")

    @property
    def every_weight(self) -> tuple[int, ...]:
        """One weight an instance."""
        return self.weights or (1,) * len(self.addresses)

    def __str__(self) -> str:
        return ",".join(map(str, self.addresses))

    @classmethod
    def parse(
        cls,
        text: str,
        weights: Sequence[int] = (),
        *,
        timeout_seconds: float = 1.0,
        max_in_flight: int = 64,
        probe_seconds: float = 1.0,
    ) -> Self:
        """Read `grpc://host:8500,host2:8500` or `rest://host:8501`; `http://` is `rest://`.

        The protocol stands once, or before each address. The port may be left out. The other
        arguments are as the attributes.

        Raises:
            ConfigError: a number out of bounds, another form, another protocol, an address twice.

        >>> str(BackendSettings.parse("grpc://a,b:9000"))
        'grpc://a:8500,grpc://b:9000'
        """
        parts = [part.strip() for part in text.split(",")]
        scheme = parts[0].partition("://")[0]
        addresses = tuple(_address(text, p if "://" in p else f"{scheme}://{p}") for p in parts)
        if len({address.protocol for address in addresses}) != 1:
            raise ConfigError(f"backend {text!r}: all instances speak one protocol; {_FORM}")
        if len(set(addresses)) != len(addresses):
            raise ConfigError(
                f"backend {text!r}: an instance stands there twice; give it a weight in its place"
            )
        return cls(addresses, tuple(weights), timeout_seconds, max_in_flight, probe_seconds)


def _address(text: str, part: str) -> Address:
    url = urlsplit(part)
    protocol = _SCHEMES.get(url.scheme)
    if protocol is None:
        raise ConfigError(f"backend {text!r}: protocol {url.scheme!r} is unknown; {_FORM}")
    try:
        host, port = url.hostname or "", url.port
    except ValueError as e:
        raise ConfigError(f"backend {text!r}: {part!r}: {e}; {_FORM}") from e
    if not _HOST.fullmatch(host) or port == 0 or _has_more(url):
        raise ConfigError(f"backend {text!r}: {part!r} is no host with a port; {_FORM}")
    return Address(protocol, host, port or _PORTS[protocol])


def _has_more(url: SplitResult) -> bool:
    more = url.path.strip("/") or url.query or url.fragment or url.username or url.password
    return bool(more)
