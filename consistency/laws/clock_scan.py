"""Finds uses of the clock in a function's code, without running it.

What it sees: a call of a function of `time` that reads a clock, `now`, `utcnow` and `today` of a
module or class (`datetime.now`, `date.today`, `pandas.Timestamp.now`, `arrow.utcnow`), and
`np.datetime64("now")`; in the function, in functions nested in it, and in functions of the same
top-level package that it names.

What it does not see: clocks behind methods of objects, `getattr`, C code, other packages, and
functions of `time` that take an instant but read the clock when given none (`time.gmtime()`).
"""

from __future__ import annotations

import dis
import functools
import inspect
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, ModuleType
from typing import Any, Final

_READS_THE_CLOCK: Final = frozenset({"now", "utcnow", "today"})
_TIME_FUNCTIONS: Final = frozenset(
    f"{clock}{unit}"
    for clock in ("time", "monotonic", "perf_counter", "process_time", "thread_time")
    for unit in ("", "_ns")
) | {"clock_gettime", "clock_gettime_ns"}
_CLOCKS: Final = frozenset(getattr(time, n) for n in _TIME_FUNCTIONS if hasattr(time, n))
_CLOCK_MODULES: Final = frozenset({"time", "datetime", "pandas", "numpy", "arrow", "pendulum"})
_PARSES_NOW: Final = frozenset({"datetime64", "Timestamp", "to_datetime"})
_LOADS: Final = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF"})
_ATTRIBUTES: Final = frozenset({"LOAD_ATTR", "LOAD_METHOD", "IMPORT_FROM"})


def clock_uses(function: Callable[..., Any]) -> list[str] | None:  # Any: its columns
    """Return where a function reads a clock, as texts such as ``"now (features.py:12)"``.

    Returns:
        None when it is no Python code, and so cannot be read.
    """
    plain = _python_function(function)
    if plain is None:
        return None
    seen: set[CodeType] = set()
    return sorted(set(_scan(plain, plain.__module__.partition(".")[0], seen)))


def _python_function(function: object) -> FunctionType | None:
    while isinstance(function, functools.partial):
        function = function.func
    if not isinstance(function, FunctionType) and hasattr(function, "__func__"):
        function = function.__func__  # a bound method
    if not isinstance(function, FunctionType | BuiltinFunctionType | type):
        function = getattr(type(function), "__call__", None)  # noqa: B004 - its function is wanted
    unwrapped = inspect.unwrap(function) if callable(function) else None
    return unwrapped if isinstance(unwrapped, FunctionType) else None


def _scan(function: FunctionType, package: str, seen: set[CodeType]) -> Iterator[str]:
    names = {**function.__globals__, **_closure(function)}
    codes = [function.__code__]
    while codes:
        code = codes.pop()
        if code in seen:
            continue
        seen.add(code)
        codes += [c for c in code.co_consts if isinstance(c, CodeType)]
        yield from _uses(code, names)
        for called in _named_functions(code, names):
            if called.__module__.partition(".")[0] == package:
                yield from _scan(called, package, seen)


def _closure(function: FunctionType) -> dict[str, object]:
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    return {name: cell.cell_contents for name, cell in cells if cell != CellType()}


def _uses(code: CodeType, names: Mapping[str, object]) -> Iterator[str]:
    imported = {
        str(i.argval).partition(".")[0]
        for i in dis.get_instructions(code)
        if i.opname == "IMPORT_NAME"
    }
    for line, base, name, value in _loads(code, names):
        named = name in _READS_THE_CLOCK
        if (
            _is_clock(value)
            or (named and isinstance(base, ModuleType | type))
            # what a function imports for itself has no value before it runs: go by the names
            or (named and imported & _CLOCK_MODULES)
            or (name in _TIME_FUNCTIONS and "time" in imported)
        ):
            yield f"{name} ({Path(code.co_filename).name}:{line})"
    if {"now", "today"} & set(map(str, code.co_consts)) and _PARSES_NOW & set(code.co_names):
        yield f"the text 'now' or 'today' ({Path(code.co_filename).name}:{code.co_firstlineno})"


def _is_clock(value: object) -> bool:
    if not isinstance(value, BuiltinFunctionType):
        return False
    return value in _CLOCKS or (
        value.__name__ in _READS_THE_CLOCK and isinstance(value.__self__, type)
    )


def _named_functions(code: CodeType, names: Mapping[str, object]) -> Iterator[FunctionType]:
    for _, _, _, value in _loads(code, names):
        function = inspect.unwrap(value) if isinstance(value, FunctionType) else None
        if isinstance(function, FunctionType):
            yield function


def _loads(
    code: CodeType, names: Mapping[str, object]
) -> Iterator[tuple[int, object, str, object]]:
    """Yield line, base, name and value of what the code names, None where that is not known."""
    line, base = code.co_firstlineno, None
    for instruction in dis.get_instructions(code):
        line = instruction.positions.lineno or line if instruction.positions else line
        name, value = str(instruction.argval), None
        if instruction.opname in _LOADS:
            value = names.get(name)
            yield line, None, name, value
        elif instruction.opname in _ATTRIBUTES:
            value = vars(base).get(name) if isinstance(base, ModuleType) else None
            yield line, base, name, value
        base = value
