"""The results as a table that a person reads."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from benchmarks.results import Result

_HEAD: Final = ("name", "value", "unit", "budget", "within?", "ratio", "spread", "peer")
_RIGHT: Final = frozenset({"value", "ratio"})
_PINNED: Final = ("xgboost-cpu", "xgboost", "uvicorn", "uvloop", "httptools", "orjson", "numpy")

NOTES: Final = (
    "Values are medians over rounds, spreads their smallest and largest. Contestants take turns.",
    "added_p50: ours calls XGBoost's C function with a kept proxy, the bare app inplace_predict.",
    "same_call: that quicker call on both sides, so that what is left is what we add.",
    "Ours gets raw JSON records and makes the 30 features; the bare app gets them ready-made.",
    "log.write: requests logged one after another; log.write_serving: each between two scores.",
    "log.write: a bare line, the least that a log could hold, takes turns with each write.",
    "model_server: gRPC on half_plus_two; the bare servicer has no model, and takes turns with it.",
)


def machine() -> str:
    """Return in one line what was measured on, and how busy it was."""
    versions = " · ".join(f"{name} {v}" for name in _PINNED if (v := _version(name)))
    load = ", ".join(f"{x:.2f}" for x in os.getloadavg())
    cores = len(os.sched_getaffinity(0))
    return (
        f"{_cpu()} · {cores} cores · load {load}\nPython {platform.python_version()} · {versions}"
    )


def table(results: Sequence[Result]) -> str:
    """Return the table, one line a result."""
    rows = [_HEAD, *(_cells(r) for r in results)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEAD))]
    lines = ["  ".join(_place(c, w, h) for c, w, h in zip(r, widths, _HEAD, strict=True)).rstrip()
             for r in rows]  # fmt: skip
    return "\n".join([lines[0], "  ".join("-" * w for w in widths), *lines[1:]])


def verdict(results: Sequence[Result]) -> str:
    """Return in one line what is over budget."""
    missed = [r.name for r in results if r.within_budget is False]
    kept = sum(r.within_budget is True for r in results)
    return f"{kept} within budget, {len(missed)} over: {', '.join(missed) or 'none'}"


def _cells(result: Result) -> tuple[str, ...]:
    within = {None: "", True: "yes", False: "NO"}[result.within_budget]
    return (
        result.name,
        _number(result.value),
        result.unit,
        "" if result.budget is None else str(result.budget),
        within,
        "" if result.ratio is None else f"{result.ratio:.2f}",
        "" if result.spread is None else " – ".join(map(_number, result.spread)),
        result.peer or "",
    )


def _number(value: float) -> str:
    """Return three significant digits, more only before the point.

    >>> _number(0.08312), _number(83.12), _number(3267.0)
    ('0.0831', '83.1', '3267')
    """
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"


def _place(cell: str, width: int, head: str) -> str:
    return cell.rjust(width) if head in _RIGHT else cell.ljust(width)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
