"""Where a model computes: `cpu`, `cuda` (the first GPU) or `cuda:N`.

A device is never chosen for the operator: whoever asks for a GPU that is not there, or that a
format cannot use, is told so. A library that falls back to the CPU by itself would score with
other bits than the log says.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Self

from consistency.errors import ConfigError

CPU: Final = "cpu"
_FORM: Final = re.compile(r"cpu|cuda(?::(0|[1-9][0-9]?))?")


@dataclass(frozen=True, slots=True)
class Device:
    """A parsed device; `str()` gives the form of the log: `cpu`, or `cuda:N`.

    Attributes:
        gpu: the GPU's number, or None for the CPU.

    >>> str(Device.parse("cuda"))
    'cuda:0'
    """

    gpu: int | None = None

    def __str__(self) -> str:
        return CPU if self.gpu is None else f"cuda:{self.gpu}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a device.

        Raises:
            ConfigError: it is none of `cpu`, `cuda` and `cuda:N`.
        """
        match = _FORM.fullmatch(text)
        if match is None:
            raise ConfigError(f"device {text!r}: write cpu, cuda (the first GPU) or cuda:N")
        return cls(None if text == CPU else int(match[1] or 0))


def only_cpu(library: str, device: str) -> None:
    """Refuse a GPU for a library that scores on the CPU.

    Raises:
        ConfigError: the device is another one.
    """
    if Device.parse(device).gpu is not None:
        raise ConfigError(
            f"device {device!r}: {library} models are scored on the CPU; use device 'cpu'"
        )
