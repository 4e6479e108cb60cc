from pathlib import Path

import pytest

from serving.core.resources import InsufficientResourcesError, MemoryLimit, Reservations
from serving.core.state import ServableId

ONE, TWO = ServableId("m", 1), ServableId("m", 2)


def test_the_estimate_is_the_size_on_disk_times_a_factor(tmp_path: Path) -> None:
    (tmp_path / "variables").mkdir()
    (tmp_path / "variables" / "data").write_bytes(b"x" * 1000)
    (tmp_path / "saved_model.pb").write_bytes(b"x" * 500)
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    assert MemoryLimit(10**6).estimate_bytes(tmp_path) == 1800
    assert MemoryLimit(10**6, factor=2.0).estimate_bytes(tmp_path / "saved_model.pb") == 1000
    assert MemoryLimit(10**6).estimate_bytes(tmp_path / "nothing") == 0
    assert MemoryLimit().estimate_bytes(tmp_path) == 0


def test_what_is_held_never_exceeds_the_bound() -> None:
    reservations = Reservations(MemoryLimit(100))
    reservations.reserve(ONE, 60)
    with pytest.raises(InsufficientResourcesError) as caught:
        reservations.reserve(TWO, 41)
    assert (caught.value.needed_bytes, caught.value.free_bytes) == (41, 40)
    assert str(caught.value).startswith(
        "Insufficient resources to load servable {name: m version: 2}: it needs about 41 bytes"
    )
    reservations.reserve(TWO, 40)
    reservations.release(ONE)
    reservations.release(ONE)
    reservations.reserve(ONE, 60)


def test_without_a_bound_everything_fits() -> None:
    Reservations(MemoryLimit()).reserve(ONE, 10**18)
