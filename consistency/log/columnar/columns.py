"""Logged requests side by side, as columns: what a replay compares against.

A request is taken apart while it is fresh in the cache, and let go: holding thousands of parsed
lines costs a replay several times what reading them does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from consistency.errors import ReplayError
from consistency.features import FeatureBatch
from consistency.jsontype import Json
from consistency.log.lines.entry import LineContext, LoggedRequest, column_of
from consistency.records import Column
from consistency.schema import FeatureSchema, FeatureType
from consistency.scored import Scores

_INF: Final = float("inf")
_BLOCK_VALUES: Final = 4096
"""Numbers that become an array while they are fresh in the cache."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Which request, and which row of it, a row of a part is.

    Attributes:
        request_ids: of the R requests, in order.
        sizes: rows in each.
    """

    request_ids: Sequence[str]
    sizes: Sequence[int]

    def of(self, position: int) -> tuple[str, int]:
        """Return the request id and the row within the request."""
        ends = list(accumulate(self.sizes))
        index = int(np.searchsorted(ends, position, side="right"))
        return self.request_ids[index], position - (ends[index] - self.sizes[index])

    def slices(self, rows: int | None) -> list[slice]:
        """Return how the rows are batched: `rows` at a time, or None: request by request."""
        ends = list(accumulate(self.sizes))
        if rows is None:
            return [slice(end - size, end) for end, size in zip(ends, self.sizes, strict=True)]
        return [slice(i, min(i + rows, ends[-1])) for i in range(0, ends[-1], rows)]


@dataclass(frozen=True, slots=True)
class LoggedPart:
    """The logged side of R requests of one servable with N rows in all.

    Attributes:
        features: N rows; None when the requests had no feature stage.
        outputs: by name, first axis N, dtypes restored.
        scores: float64, first axis N; None for answers without numbers.
    """

    origin: Origin
    features: FeatureBatch | None
    outputs: dict[str, Column]
    scores: Scores | None

    def only(self, kept: Sequence[int]) -> LoggedPart:
        """Return the part that some of the requests, by index, make."""
        origin = self.origin
        held = np.isin(np.repeat(np.arange(len(origin.sizes)), origin.sizes), kept)
        features = self.features
        if features is not None:
            others = {name: values[held] for name, values in features.others.items()}
            numeric = np.asfortranarray(features.numeric[held])
            features = FeatureBatch(features.schema, int(held.sum()), numeric, others)
        return LoggedPart(
            Origin([origin.request_ids[i] for i in kept], [origin.sizes[i] for i in kept]),
            features,
            {name: values[held] for name, values in self.outputs.items()},
            None if self.scores is None else self.scores[held],
        )


@dataclass(slots=True)
class LoggedValues:
    """The rows of one feature, of one output, or the scores, of many requests.

    Attributes:
        rows: one number, text or list a row; null where a float is no number.
        infinities: first row of the request, flat index within the request, sign.
    """

    rows: list[Any] = field(default_factory=list)
    infinities: list[tuple[int, int, int]] = field(default_factory=list)

    def add(self, values: list[Any], marks: list[list[int]] | None) -> None:
        """Take the rows of one more request."""
        if marks:
            self.mark(marks)
        self.rows.extend(values)

    def mark(self, marks: Sequence[Sequence[int]]) -> None:
        """Take where the next request's infinities are, before its rows."""
        start = len(self.rows)
        self.infinities.extend((start, index, sign) for index, sign in marks)

    def array(self, dtype: str) -> Column:
        """Return the values, null as NaN."""
        return self._marked(np.array(self.rows, np.dtype(dtype)))

    def feature(self, kind: FeatureType) -> Column:
        """Return the values of a feature of that type."""
        return self._marked(column_of(self.rows, kind))

    def _marked(self, out: Column) -> Column:
        width = out.size // max(1, len(out))
        for start, index, sign in self.infinities:
            out.flat[start * width + index] = sign * _INF
        return out


class LoggedRows:
    """Collects scored requests of one servable.

    Args:
        schema: the features that they must hold.
    """

    def __init__(self, schema: FeatureSchema) -> None:
        self._schema = schema
        pairs = zip(schema.names, schema.types, strict=True)
        self._others = {n: t for n, t in pairs if t is not FeatureType.FLOAT64}
        self._width = len(schema.numeric_names)
        self._names = list(schema.numeric_names)
        self.rows = 0
        self._request_ids: list[str] = []
        self._sizes: list[int] = []
        self._context: LineContext | None = None
        self._order: list[int] | None = None
        self._featured = 0
        self._numeric: list[float | None] = []  # row after row, as they come
        self._blocks: list[NDArray[np.float64]] = []  # those before
        self._other_values = {n: LoggedValues() for n in self._others}
        self._infinities: list[tuple[int, int, int]] = []  # row, column, sign
        self._outputs: dict[str, LoggedValues] = {}
        self._output_types: dict[str, str] = {}
        self._scores = LoggedValues()

    def add(self, request: LoggedRequest) -> None:
        """Take a scored request apart.

        Raises:
            ReplayError: it holds other features or outputs than the servable has.
        """
        own, context = request.parts
        if context is not self._context:
            self._begin(own, context)
        rows, scores = own["rows"], own["scores"]
        if own["feature_rows"] is not None:
            self._add_features(own)
        self._add_outputs(own)
        if scores is not None:
            self._scores.add(scores, own.get("scores_inf"))
        self._request_ids.append(own["request_id"])
        self._sizes.append(rows)
        self.rows += rows

    @property
    def requests(self) -> int:
        """How many were collected."""
        return len(self._sizes)

    def part(self) -> LoggedPart:
        """Return what was collected."""
        types = self._output_types
        outputs = {n: v.array(types.get(n, "float64")) for n, v in self._outputs.items()}
        scores = self._scores.array("float64") if self._scores.rows else None
        origin = Origin(self._request_ids, self._sizes)
        return LoggedPart(origin, self._features(), outputs, scores)

    def _begin(self, own: Mapping[str, Json], context: LineContext) -> None:
        """Look at what a request has in common with those that follow."""
        if context.feature_names is not None:
            self._order = self._order_of(own, context)
        types = context.facts.get("output_types", {})
        if not self._sizes:
            self._outputs = {name: LoggedValues() for name in own["outputs"] or {}}
            self._output_types = types
        if types != self._output_types:
            raise self._other_form(own, types)
        self._context = context

    def _order_of(self, own: Mapping[str, Json], context: LineContext) -> list[int] | None:
        """Return where the schema's features stand in a logged row; None: in the same order."""
        names = context.feature_names or []
        odd = ({*names} ^ {*self._names}) | (context.feature_types.keys() ^ self._others.keys())
        if odd:
            raise ReplayError(
                f"request {own['request_id']} and the bundle disagree about feature {min(odd)!r}; "
                f"replay with the bundle that served it"
            )
        return None if names == self._names else [names.index(name) for name in self._names]

    def _add_outputs(self, own: Mapping[str, Json]) -> None:
        held, marks = own["outputs"] or {}, own.get("output_inf")
        if len(held) != len(self._outputs):
            raise self._other_form(own, self._output_types)
        for name, values in held.items():
            known = self._outputs.get(name)
            if known is None:
                raise self._other_form(own, self._output_types)
            known.add(values, None if marks is None else marks.get(name))

    def _other_form(self, own: Mapping[str, Json], types: Mapping[str, str]) -> ReplayError:
        return ReplayError(
            f"request {own['request_id']} has outputs {sorted(own['outputs'] or {})} ({types}), "
            f"the ones before it {sorted(self._outputs)} ({self._output_types}); one model version "
            f"cannot answer in two forms"
        )

    def _add_features(self, own: Mapping[str, Json]) -> None:
        rows, order = own["feature_rows"], self._order
        if order is not None:
            rows = [[row[j] for j in order] for row in rows]
        self._featured += 1
        for row in rows:
            self._numeric += row
        if len(self._numeric) >= _BLOCK_VALUES:
            self._end_block()
        infinities = own.get("feature_inf")
        if infinities is not None or self._others:
            self._add_others(own, infinities or {})

    def _add_others(self, own: Mapping[str, Json], infinities: Mapping[str, Json]) -> None:
        for name, values in self._other_values.items():
            values.add(own["other_features"][name], infinities.get(name))
        for name, marks in infinities.items():
            if name not in self._others:
                column = self._names.index(name)
                self._infinities.extend((self.rows + row, column, sign) for row, sign in marks)

    def _end_block(self) -> None:
        self._blocks.append(np.array(self._numeric, np.float64))
        self._numeric.clear()

    def _features(self) -> FeatureBatch | None:
        if self._featured != len(self._sizes):
            return None
        self._end_block()
        numeric = np.concatenate(self._blocks).reshape(self.rows, self._width)
        for row, column, sign in self._infinities:
            numeric[row, column] = sign * _INF
        others = {n: v.feature(self._others[n]) for n, v in self._other_values.items()}
        return FeatureBatch(self._schema, self.rows, np.asfortranarray(numeric), others)
