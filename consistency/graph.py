"""The authoring API: a pipeline as small column functions in a dependency graph.

    flow = PipelineBuilder(RecordSchema(...), lookups=[Lookup("weather", ("origin", "hour"))])

    @flow.column                                    # an intermediate column
    def minute_of_day(departure): return departure // 60_000_000 % 1440

    @flow.feature                                   # one float64 feature, called as the function
    def departure_sin(minute_of_day): return np.sin(minute_of_day * (2 * np.pi / 1440))

    pipeline = flow.build()

A function's parameters name what it reads: an input field, `<field>_presence` (its `Presence`
codes), another column or feature, an entry of the fitted state, or a lookup (a `LookupTable`).
Offline it gets a million records, online one; it must treat each row by itself (`laws.py`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from consistency.errors import ConfigError
from consistency.features import FeatureBatch, FeatureStatus, Marked, declared_column
from consistency.pipeline import BoundPipeline, Lookup
from consistency.records import Column, Record, read_records
from consistency.schema import FeatureSchema, FeatureType, RecordSchema
from consistency.snapshots import LookupTable
from consistency.state import FittedState

ColumnFunction: TypeAlias = Callable[..., Any]  # a column, a tuple of them, Marked, a matrix

_PRESENCE_SUFFIX: Final = "_presence"


@dataclass(frozen=True, slots=True)
class _Node:
    """One function of the graph: what it reads, what it writes.

    `outputs` has one name for a plain column; several when the function returns one (N, k) matrix
    or a tuple of k columns.
    """

    function: ColumnFunction
    reads: tuple[str, ...]
    outputs: tuple[str, ...]


class PipelineBuilder:
    """Collects column functions and builds the pipeline.

    Args:
        inputs: schema of the raw record.
        state: names of the fitted-state entries that functions may read.
        lookups: the tables that functions may read.
    """

    def __init__(
        self,
        inputs: RecordSchema,
        *,
        state: Sequence[str] = (),
        lookups: Sequence[Lookup] = (),
    ) -> None:
        self._inputs = inputs
        self._state = tuple(state)
        self._lookups = tuple(lookups)
        self._nodes: dict[str, _Node] = {}
        self._features: dict[str, FeatureType] = {}
        self._given = self._named_inputs()

    def column(self, function: ColumnFunction) -> ColumnFunction:
        """Register an intermediate column, named as the function; it is no feature."""
        self._add(function, (function.__name__,))
        return function

    def feature(self, function: ColumnFunction) -> ColumnFunction:
        """Register a float64 feature, named as the function."""
        return self.features(function.__name__)(function)

    def features(
        self, *names: str, type: FeatureType = FeatureType.FLOAT64
    ) -> Callable[[ColumnFunction], ColumnFunction]:
        """Register features by name; the function returns one column, or k of them.

        Args:
            names: k names. For k > 1 the function returns a tuple of k columns, or a matrix (N, k).
            type: dtype of each.
        """

        def register(function: ColumnFunction) -> ColumnFunction:
            self._add(function, names)
            self._features.update(dict.fromkeys(names, type))
            return function

        return register

    def build(self) -> GraphPipeline:
        """Return the pipeline.

        Raises:
            ConfigError: a parameter that nothing provides, a circle, or no feature at all.
        """
        if not self._features:
            raise ConfigError("the pipeline has no feature; decorate a function with .feature")
        outputs = FeatureSchema(tuple(self._features), tuple(self._features.values()))
        return GraphPipeline(self._inputs, outputs, self._lookups, self._state, self._ordered())

    def _add(self, function: ColumnFunction, names: tuple[str, ...]) -> None:
        for i, name in enumerate(names):
            if name in self._given or name in self._nodes or name in names[:i]:
                raise ConfigError(f"column {name!r} is defined twice; rename one of the two")
        node = _Node(function, tuple(inspect.signature(function).parameters), names)
        self._nodes.update(dict.fromkeys(names, node))

    def _named_inputs(self) -> set[str]:
        """Return every name that functions may read without a column of that name."""
        fields = [f.name for f in self._inputs.fields]
        names = [*fields, *(f + _PRESENCE_SUFFIX for f in fields), *self._state]
        names += [lookup.name for lookup in self._lookups]
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(
                    f"{name!r} names two of: input field, presence of a field, state entry, "
                    f"lookup; rename one of the two"
                )
        return set(names)

    def _ordered(self) -> tuple[_Node, ...]:
        for name, node in self._nodes.items():
            for read in node.reads:
                if read not in self._given and read not in self._nodes:
                    raise ConfigError(
                        f"column {name!r} reads {read!r}, which is no input field, column, state "
                        f"entry or lookup; declare it or correct the parameter's name"
                    )
        graph = {name: set(node.reads) - self._given for name, node in self._nodes.items()}
        try:
            order = list(TopologicalSorter(graph).static_order())
        except CycleError as e:
            raise ConfigError(f"columns depend on each other: {' -> '.join(e.args[1])}") from None
        return tuple(dict.fromkeys(self._nodes[name] for name in order))


@dataclass(frozen=True, slots=True)
class GraphPipeline:
    """A pipeline made of column functions. Made by `PipelineBuilder.build`."""

    inputs: RecordSchema
    outputs: FeatureSchema
    lookups: tuple[Lookup, ...]
    state: tuple[str, ...]
    nodes: tuple[_Node, ...]

    def bind(self, state: FittedState, lookups: Mapping[str, LookupTable]) -> BoundPipeline:
        """Return the pipeline with its state and snapshots; see `FeaturePipeline.bind`."""
        for name in self.state:
            if name not in state:
                raise ConfigError(
                    f"the fitted state has no {name!r}; fit the pipeline first, and "
                    f"give its state (BundleRequest.state, --state)"
                )
        for lookup in self.lookups:
            if lookup.name not in lookups:
                raise ConfigError(f"lookup {lookup.name!r} has no snapshot; put one in the store")
        constants = {n: state[n] for n in self.state}
        constants |= {x.name: lookups[x.name] for x in self.lookups}
        snapshots = {x.name: lookups[x.name].id for x in self.lookups}
        return _BoundGraph(self, constants, snapshots)


class _BoundGraph:
    """Runs the nodes in order over one batch; the hot path of serving."""

    def __init__(
        self, graph: GraphPipeline, constants: Mapping[str, Any], snapshots: Mapping[str, str]
    ) -> None:
        self.inputs, self.outputs, self.snapshots = graph.inputs, graph.outputs, snapshots
        self.functions = tuple(node.function for node in graph.nodes)
        self._constants = dict(constants)
        read = {name for node in graph.nodes for name in node.reads}
        self._presence = [f for f in graph.inputs.names if f + _PRESENCE_SUFFIX in read]
        position = {name: j for j, name in enumerate(graph.outputs.numeric_names)}
        self._width = len(position)
        self._kinds = dict(zip(graph.outputs.names, graph.outputs.types, strict=True))
        self._steps = [
            (
                n.function,
                n.reads,
                n.outputs,
                _slots(n.outputs, position),
                not read.isdisjoint(n.outputs),
            )
            for n in graph.nodes
        ]

    def features_from(self, fields: Iterable[str]) -> tuple[str, ...]:
        """Return the features that are computed from any of the given fields, in order."""
        names = set(fields)
        tainted = names | {name + _PRESENCE_SUFFIX for name in names}
        for _, reads, outputs, _, _ in self._steps:  # each after what it reads
            if not tainted.isdisjoint(reads):
                tainted.update(outputs)
        return tuple(name for name in self.outputs.names if name in tainted)

    def __call__(self, records: Sequence[Record]) -> FeatureBatch:
        batch = read_records(self.inputs, records)
        env: dict[str, Any] = {**self._constants, **batch.columns}
        for name in self._presence:
            env[name + _PRESENCE_SUFFIX] = batch.presence_of(name)
        numeric = np.empty((batch.rows, self._width), order="F")
        others: dict[str, Column] = {}
        status: dict[str, NDArray[np.uint8]] = {}
        for function, reads, names, slots, is_read in self._steps:
            value = function(*[env[r] for r in reads])
            if type(value) is Marked:
                if value.status is not None:
                    status.update((n, value.status) for n in names if n in self._kinds)
                value = value.values
            if slots is None:
                self._keep(names, value, batch.rows, env, others)
                continue
            try:
                if type(value) is tuple:
                    value = np.stack(value, axis=1)
                # numpy would repeat a single value for every row, and a row for every column
                if len(value) != batch.rows or (
                    type(slots) is slice and np.shape(value) != (batch.rows, len(names))
                ):
                    raise _misshapen(names, value, batch.rows)
                numeric[:, slots] = value
            except (TypeError, ValueError) as e:
                raise _no_numbers(names, value, batch.rows, e) from e
            if is_read:
                _expose(names, numeric, slots, env)
        others = {n: others[n] for n in self.outputs.names if n in others}
        return FeatureBatch(self.outputs, batch.rows, numeric, others, status, self.snapshots)

    def _keep(
        self,
        names: tuple[str, ...],
        value: Column | tuple[Column, ...],
        rows: int,
        env: dict[str, Any],
        others: dict[str, Column],
    ) -> None:
        """Store columns that are intermediates, tuples, or not float64."""
        parts = (value,) if len(names) == 1 else value
        if len(names) > 1 and not isinstance(value, tuple):
            parts = tuple(value.T)
        for name, part in zip(names, parts, strict=True):
            kind = self._kinds.get(name)
            if kind is None:
                env[name] = part
            else:
                others[name] = env[name] = declared_column(name, part, kind, rows)


def _slots(names: tuple[str, ...], position: Mapping[str, int]) -> int | slice | None:
    """Where a node's value goes in the numeric matrix: one column, neighbours, or nowhere."""
    if any(n not in position for n in names):
        return None
    first = position[names[0]]
    return first if len(names) == 1 else slice(first, first + len(names))


def _misshapen(names: tuple[str, ...], value: Column, rows: int) -> ConfigError:
    if len(names) == 1:
        return ConfigError(
            f"column {names[0]!r} has {len(value)} rows for {rows} records; return one value a "
            f"record"
        )
    return ConfigError(
        f"columns {', '.join(map(repr, names))} have the shape {np.shape(value)} for {rows} "
        f"records; return a tuple of {len(names)} columns, or a matrix of ({rows}, {len(names)})"
    )


def _no_numbers(names: tuple[str, ...], value: object, rows: int, why: Exception) -> ConfigError:
    what = ", ".join(map(repr, names))
    return ConfigError(
        f"the function of feature {what} returned a {type(value).__name__} that is no {rows} "
        f"numbers for {rows} records ({why}); return one number a record, or declare the "
        f"feature's type"
    )


def _expose(
    names: tuple[str, ...], numeric: NDArray[np.float64], slots: int | slice, env: dict[str, Any]
) -> None:
    """Let later functions read a feature by name, as a contiguous column."""
    if isinstance(slots, int):
        env[names[0]] = numeric[:, slots]
    else:
        env.update(zip(names, numeric[:, slots].T, strict=True))


def category_codes(
    values: Column, vocabulary: Mapping[str, int], presence: NDArray[np.uint8] | None = None
) -> Marked:
    """Return float64 category codes, shape (N,): NaN marked UNSEEN for a value not in training.

    A missing value (None) that the vocabulary does not hold is NaN marked NULL or ABSENT.

    >>> category_codes(np.array(["UA", "ZZ"], object), {"AA": 0, "UA": 1}).values
    array([ 1., nan])

    Args:
        values: strings and None, shape (N,).
        vocabulary: category to its code, 0 or more.
        presence: `Presence` codes of the field, shape (N,); without them None counts as NULL.
    """
    found = [vocabulary.get(v, -1) for v in values.tolist()]
    codes = np.array(found, np.float64)
    if -1 not in found:  # on one row, half the price of asking numpy
        return Marked(codes)
    unknown = codes < 0
    codes[unknown] = np.nan
    status = np.where(unknown, np.uint8(FeatureStatus.UNSEEN), np.uint8(FeatureStatus.OK))
    missing = np.array([v is None for v in values.tolist()]) & unknown
    # Presence and FeatureStatus give NULL and ABSENT the same codes.
    status[missing] = FeatureStatus.NULL if presence is None else presence[missing]
    return Marked(codes, status)
