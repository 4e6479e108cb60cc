"""Which function of a feature pipeline is at fault, by who reads whom."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from consistency.graph import GraphPipeline
from consistency.pipeline import FeaturePipeline
from samescore.pytest_plugin.checks.subjects import Installed

ColumnFunction: TypeAlias = Callable[..., Any]  # a column, a tuple of them, Marked, a matrix


def maker_of(pipeline: FeaturePipeline, feature: str) -> ColumnFunction | None:
    """Return the function that makes a feature, or None where the pipeline does not show it."""
    if not isinstance(pipeline, GraphPipeline):
        return None
    return next((n.function for n in pipeline.nodes if feature in n.outputs), None)


def code_of(installed: Installed | None, differing: Sequence[str]) -> str:
    """Return in words what code a change of which moves these features."""
    found = [] if installed is None else suspects(installed.unbound, differing)
    if found:
        return "the code of " + " or ".join(map(shown, found))
    return "the code that makes " + ", ".join(differing)


def source_of(installed: Installed, differing: Sequence[str]) -> str:
    """Return ``path:line`` of the first function at fault, empty where it is not known."""
    found = suspects(installed.unbound, differing)
    return place_of(found[0]) if found else ""


def suspects(pipeline: FeaturePipeline, differing: Collection[str]) -> list[ColumnFunction]:
    """Return the functions that a change of would move the features that differ, and only those.

    That is: every feature that differs comes from it, and none that agrees does. Where no function
    is like that (two were changed, or a change that shows in some features alone), the functions
    that every differing feature comes from, and else those that make the differing features.

    Args:
        pipeline: a pipeline that shows its functions; any other has no suspects.
        differing: names of features, at least one.
    """
    if not isinstance(pipeline, GraphPipeline):
        return []
    sources = _sources(pipeline)
    shared = set.intersection(*(set(sources[name]) for name in differing))
    agreeing = [n for n in pipeline.outputs.names if n not in differing]
    alone = shared - {f for name in agreeing for f in sources[name]}
    made = {sources[name][-1] for name in differing}
    wanted = alone or shared or made
    return [node.function for node in pipeline.nodes if node.function in wanted]


def _sources(pipeline: GraphPipeline) -> Mapping[str, tuple[ColumnFunction, ...]]:
    """Return for each column the functions that it comes from, its own last."""
    found: dict[str, tuple[ColumnFunction, ...]] = {}
    for node in pipeline.nodes:  # in the order in which they run
        before = (f for name in node.reads for f in found.get(name, ()))
        found.update(dict.fromkeys(node.outputs, (*dict.fromkeys(before), node.function)))
    return found


def place_of(function: ColumnFunction) -> str:
    """Return ``path:line`` of a function, below the working directory where it lies there."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None:
        return ""
    path = Path(code.co_filename)
    if path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    return f"{path}:{code.co_firstlineno}"


def shown(function: ColumnFunction) -> str:
    """Return a function's name with its file and line.

    >>> shown(len)
    'len()'
    """
    name = getattr(function, "__name__", repr(function))
    place = place_of(function)
    return f"{name}() at {place}" if place else f"{name}()"
