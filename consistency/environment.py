"""What a score depends on besides code and data: packages, Python, CPU, threads, device."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from typing import Final

from consistency.digest import digest_json
from consistency.jsontype import Json

CPU_INFO: Final = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True)
class Environment:
    """A machine's and interpreter's record.

    Attributes:
        packages: distribution name (lower case) to version.
        cpu_flags: the CPU's feature flags, sorted; empty where the system does not tell.
        thread_settings: the environment variables that set thread counts, or that choose the
            kernels and instruction sets that a library computes with.
        device: where the model computes.
    """

    python: str
    system: str
    machine: str
    cpu_model: str
    cpu_flags: tuple[str, ...]
    cpu_count: int
    packages: dict[str, str]
    thread_settings: dict[str, str]
    device: str

    def to_json(self) -> dict[str, Json]:
        """Return JSON types."""
        return asdict(self)


_THREAD_VARIABLES: Final = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "TF_ENABLE_ONEDNN_OPTS",
    "ONEDNN_MAX_CPU_ISA",
    "OPENBLAS_CORETYPE",
    "MKL_CBWR",
    "ATEN_CPU_CAPABILITY",
    "NPY_DISABLE_CPU_FEATURES",
    "CUBLAS_WORKSPACE_CONFIG",
)


def record_environment(device: str = "cpu") -> Environment:
    """Return the record of this process."""
    model, flags = cpu()
    return Environment(
        python=platform.python_version(),
        system=f"{platform.system()} {platform.release()}",
        machine=platform.machine(),
        cpu_model=model,
        cpu_flags=flags,
        cpu_count=os.cpu_count() or 1,
        packages=installed_packages(),
        thread_settings={k: os.environ[k] for k in _THREAD_VARIABLES if k in os.environ},
        device=device,
    )


def installed_packages() -> dict[str, str]:
    """Return every installed distribution's version, by lower-case name."""
    found = {d.metadata["Name"].lower(): d.version for d in distributions() if d.metadata["Name"]}
    return dict(sorted(found.items()))


def cpu_digest() -> str:
    """Return the digest of the CPU's model and flags: equal digests run the same code paths."""
    return digest_json(cpu())


@cache
def cpu() -> tuple[str, tuple[str, ...]]:
    """Return the CPU's model name and its sorted feature flags."""
    if not CPU_INFO.exists():
        return platform.processor(), ()
    lines = CPU_INFO.read_text().split("\n\n")[0].splitlines()
    pairs = [line.partition(":") for line in lines]
    facts = {key.strip(): value.strip() for key, _, value in pairs}
    flags = facts.get("flags", facts.get("Features", ""))
    return facts.get("model name", platform.processor()), tuple(sorted(flags.split()))
