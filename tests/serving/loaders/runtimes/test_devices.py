from __future__ import annotations

import pytest

from consistency.errors import ConfigError
from serving.loaders.runtimes.devices import Device, only_cpu


@pytest.mark.parametrize(
    ("text", "name", "gpu"),
    [("cpu", "cpu", None), ("cuda", "cuda:0", 0), ("cuda:12", "cuda:12", 12)],
)
def test_a_device_is_read_and_named_as_the_log_names_it(
    text: str, name: str, gpu: int | None
) -> None:
    device = Device.parse(text)
    assert (str(device), device.gpu) == (name, gpu)
    assert Device.parse(str(device)) == device


@pytest.mark.parametrize(
    "text", ["", "gpu", "CPU", "cpu:0", "cuda:", "cuda:x", "cuda:01", "cuda:٣"]
)
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="write cpu, cuda"):
        Device.parse(text)


def test_a_library_without_gpus_says_so() -> None:
    only_cpu("LightGBM", "cpu")
    with pytest.raises(ConfigError, match="device 'cuda:1': LightGBM models are scored on the CPU"):
        only_cpu("LightGBM", "cuda:1")
