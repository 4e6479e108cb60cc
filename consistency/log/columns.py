"""Logged requests side by side, as columns: what a replay compares against.

A request is taken apart while it is fresh in the cache, and let go: holding thousands of parsed
lines costs a replay several times what reading them does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate, chain
from typing import Any, Final

import numpy as np

from consistency.errors import ReplayError
from consistency.features import FeatureBatch
from consistency.log.entry import LoggedRequest, column_of
from consistency.records import Column
from consistency.schema import FeatureSchema, FeatureType
from consistency.scored import Scores

_INF: Final = float("inf")


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
class _Values:
    """The rows of one output, or the scores, of many requests.

    Attributes:
        rows: one number, text or list a row.
        infinities: first row of the request, flat index within the request, sign.
    """

    rows: list[Any] = field(default_factory=list)
    infinities: list[tuple[int, int, int]] = field(default_factory=list)

    def add(self, values: list[Any], marks: list[list[int]] | None) -> None:
        if marks:
            start = len(self.rows)
            self.infinities.extend((start, index, sign) for index, sign in marks)
        self.rows.extend(values)

    def array(self, dtype: str) -> Column:
        return self._marked(np.array(self.rows, np.dtype(dtype)))

    def feature(self, kind: FeatureType) -> Column:
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
        self._names = [*schema.numeric_names, *self._others]
        self.rows = 0
        self._request_ids: list[str] = []
        self._sizes: list[int] = []
        self._featured = 0
        self._numeric: list[float | None] = []  # row after row
        self._other_values = {n: _Values() for n in self._others}
        self._infinities: list[tuple[int, int, int]] = []  # row, column, sign
        self._outputs: dict[str, _Values] = {}
        self._output_types: dict[str, str] = {}
        self._scores = _Values()

    def add(self, request: LoggedRequest) -> None:
        """Take a scored request apart.

        Raises:
            ReplayError: it holds other features or outputs than the servable has.
        """
        fields = request.fields
        if fields["features"] is not None:
            self._add_features(request, fields["features"])
        self._add_outputs(request, fields["outputs"] or {})
        if fields["scores"] is not None:
            self._scores.add(fields["scores"], fields.get("scores_inf"))
        self._request_ids.append(fields["request_id"])
        self._sizes.append(fields["rows"])
        self.rows += fields["rows"]

    def part(self) -> LoggedPart:
        """Return what was collected."""
        types = self._output_types
        outputs = {n: v.array(types.get(n, "float64")) for n, v in self._outputs.items()}
        scores = self._scores.array("float64") if self._scores.rows else None
        origin = Origin(self._request_ids, self._sizes)
        return LoggedPart(origin, self._features(), outputs, scores)

    def _add_outputs(self, request: LoggedRequest, held: dict[str, list[Any]]) -> None:
        types = request.fields.get("output_types", {})
        if not self._sizes:
            self._outputs = {name: _Values() for name in held}
            self._output_types = types
        if held.keys() != self._outputs.keys() or types != self._output_types:
            raise ReplayError(
                f"request {request.request_id} has outputs {sorted(held)} ({types}), the ones "
                f"before it {sorted(self._outputs)} ({self._output_types}); one model version "
                f"cannot answer in two forms"
            )
        marks = request.fields.get("output_inf", {})
        for name, values in held.items():
            self._outputs[name].add(values, marks.get(name))

    def _add_features(self, request: LoggedRequest, held: dict[str, list[Any]]) -> None:
        if list(held) != self._names:
            held = self._in_order(request, held)
        self._featured += 1
        columns = list(held.values())
        if self._others:
            del columns[self._width :]
        if request.fields["rows"] == 1:  # the most frequent form, at half the price
            self._numeric += [column[0] for column in columns]
        else:
            self._numeric.extend(chain.from_iterable(zip(*columns, strict=True)))
        infinities = request.fields.get("feature_inf", {})
        for name, values in self._other_values.items():
            values.add(held[name], infinities.get(name))
        for name, marks in infinities.items():
            column = self._names.index(name)
            if column < self._width:
                self._infinities.extend((self.rows + row, column, sign) for row, sign in marks)

    def _in_order(self, request: LoggedRequest, held: dict[str, list[Any]]) -> dict[str, list[Any]]:
        odd = held.keys() ^ set(self._names)
        if odd:
            raise ReplayError(
                f"request {request.request_id} and the bundle disagree about feature {min(odd)!r}; "
                f"replay with the bundle that served it"
            )
        return {name: held[name] for name in self._names}

    def _features(self) -> FeatureBatch | None:
        if self._featured != len(self._sizes):
            return None
        numeric = np.array(self._numeric, np.float64).reshape(self.rows, self._width)
        for row, column, sign in self._infinities:
            numeric[row, column] = sign * _INF
        others = {n: v.feature(self._others[n]) for n, v in self._other_values.items()}
        return FeatureBatch(self._schema, self.rows, np.asfortranarray(numeric), others)
