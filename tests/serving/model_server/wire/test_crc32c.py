from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.model_server.wire.crc32c import crc32c, masked_crc32c


@pytest.mark.parametrize(
    ("data", "expected"),
    [  # RFC 3720, B.4
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(reversed(range(32))), 0x113FDB5C),
        (b"", 0),
    ],
)
def test_published_values(data: bytes, expected: int) -> None:
    assert crc32c(data) == expected


@pytest.mark.parametrize("size", [4095, 4096, 4097, 5000, 8192, 65_537, 300_001])
def test_long_data_as_bit_by_bit(size: int) -> None:
    data = bytes((n * 7 + n // 251) % 256 for n in range(size))
    rest = 0xFFFFFFFF
    table = [crc32c(bytes([n])) for n in range(256)]
    # The table of the loop, won from checksums of single bytes.
    base = table[0xFF] ^ 0xFFFFFFFF  # what byte 0xFF leaves of the ones: (ones >> 8)
    for byte in data:
        index = (rest ^ byte) & 0xFF
        rest = (table[index ^ 0xFF] ^ 0xFFFFFFFF ^ base) ^ (rest >> 8)
    assert crc32c(data) == rest ^ 0xFFFFFFFF


@given(st.binary(max_size=200))
def test_a_changed_bit_shows(data: bytes) -> None:
    if data:
        changed = bytes([data[0] ^ 1]) + data[1:]
        assert masked_crc32c(changed) != masked_crc32c(data)
