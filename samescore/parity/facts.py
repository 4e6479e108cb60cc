"""What the libraries of a process say of the code that they run: the evidence for a switch."""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib
import importlib.util
import math
import re
import sys
from collections import Counter
from collections.abc import Iterable
from typing import Final

import numpy as np

from consistency.digest import digest_bytes

ATEN: Final = "PyTorch's kernels"
LIBM: Final = "the C library's exp"
LIBMF: Final = "the C library's expf"
MKL: Final = "MKL"
NUMPY: Final = "numpy"
ONEDNN: Final = "oneDNN"
ONEDNN_CALLS: Final = "oneDNN's primitives"
OPENBLAS: Final = "OpenBLAS"

VERBOSE: Final = {"ONEDNN_VERBOSE": "1", "MKL_VERBOSE": "1"}
"""Makes oneDNN and MKL print each call: set for a probe, never where time is measured."""

_NO_PRIMITIVE: Final = "the model runs no oneDNN primitive"
_MKL_CPU: Final = re.compile(r"64 architecture (.*?),? Lnx")
_EXPONENTS: Final = np.linspace(-8.0, 8.0, 4096).tolist()


def facts_here() -> dict[str, str]:
    """Return what can be asked within the process that has scored."""
    facts = {NUMPY: ", ".join(numpy_features()) or "its baseline", LIBM: _digest(math.exp)}
    facts |= _expf_fact() | _blas_fact()
    if "torch" in sys.modules:
        import torch

        facts[ATEN] = torch.backends.cpu.get_cpu_capability()
    return facts


def numpy_features() -> tuple[str, ...]:
    """Return the CPU features beyond its baseline that numpy dispatches to in this process."""
    # numpy shows this in `show_runtime()` as text only; the module has no types
    core = importlib.import_module("numpy._core._multiarray_umath")
    return tuple(name for name in core.__cpu_dispatch__ if core.__cpu_features__[name])


def _digest(function: object) -> str:
    assert callable(function)
    values = np.array([function(x) for x in _EXPONENTS])
    return f"4,096 values {digest_bytes(values.tobytes())[-8:]}"


def _expf_fact() -> dict[str, str]:
    name = ctypes.util.find_library("m") or "libm.so.6"
    try:
        expf = ctypes.CDLL(name).expf
    except (OSError, AttributeError):
        return {}
    expf.restype, expf.argtypes = ctypes.c_float, [ctypes.c_float]
    return {LIBMF: _digest(expf)}


def _blas_fact() -> dict[str, str]:
    """Ask OpenBLAS for its kernels through threadpoolctl, which comes with scikit-learn."""
    if importlib.util.find_spec("threadpoolctl") is None:
        return {}
    threadpool_info = importlib.import_module("threadpoolctl").threadpool_info

    found = [i["architecture"] for i in threadpool_info() if i["internal_api"] == "openblas"]
    return {OPENBLAS: ", ".join(dict.fromkeys(found))} if found else {}


def facts_printed(lines: Iterable[str]) -> dict[str, str]:
    """Read what oneDNN and MKL printed under `VERBOSE`.

    >>> lines = ["onednn_verbose,v1,info,cpu,isa:Intel AVX2",
    ...          "onednn_verbose,v1,primitive,exec,cpu,matmul,brg:avx2,undef,,,8x8:8x8,0.1"]
    >>> found = facts_printed(lines)
    >>> found["oneDNN"], found["oneDNN's primitives"]
    ('Intel AVX2', '1 × matmul brg:avx2')
    """
    calls: Counter[str] = Counter()
    isa, mkl, mkl_calls = "", "", 0
    for line in lines:
        if line.startswith("onednn_verbose"):
            isa = isa or _onednn_isa(line)
            calls.update(_onednn_call(line))
        elif line.startswith("MKL_VERBOSE"):
            about = _MKL_CPU.search(line)
            mkl = about[1].strip() if about else mkl
            mkl_calls += about is None
    told = ", ".join(f"{n} × {name}" for name, n in sorted(calls.items()))
    return {
        ONEDNN: isa if calls else _NO_PRIMITIVE,
        ONEDNN_CALLS: told or _NO_PRIMITIVE,
        MKL: mkl if mkl_calls else "the model calls no MKL routine",
    }


def _onednn_isa(line: str) -> str:
    return line.partition("cpu,isa:")[2].strip()


def _onednn_call(line: str) -> list[str]:
    """Return the primitive and its implementation, if the line tells of a call."""
    fields = line.split(",")
    at = fields.index("exec") if "exec" in fields else len(fields)
    return [" ".join(fields[at + 2 : at + 4])] if len(fields) > at + 3 else []
