"""Round trips: store real feature rows, read them back, score them, and say what was lost where."""

from __future__ import annotations

import copy
import math
import warnings
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from consistency.compare import Comparison, Tolerance, compare, ulp_distance
from consistency.errors import ConfigError, SamescoreError
from consistency.features import FeatureBatch, feature_batch
from consistency.schema import FeatureSchema
from consistency.scored import Scores
from consistency.storage.form import StorageForm
from consistency.storage.report import (
    FeatureTrip,
    FirstDifference,
    FormResult,
    StorageReport,
    StorageVerdict,
    Turned,
)
from consistency.storage.table import (
    Cells,
    StorageTable,
    batch_from_table,
    kind_of,
    table_from_batch,
)

Score = Callable[[FeatureBatch], Scores]
"""Feature rows to post-processed scores."""


def check_storage(
    features: FeatureBatch,
    forms: Sequence[StorageForm],
    *,
    score: Score | None = None,
    decimals: int = 10,
    on_form: Callable[[], object] = lambda: None,
) -> StorageReport:
    """Send feature rows through forms of storage, and score what comes back.

    Args:
        features: N >= 1 real rows, as the pipeline made them.
        forms: the forms to try; one whose library is missing is reported as not tried.
        score: the model with its post-processing. Without it features alone are compared.
        decimals: that must agree, for features and scores alike.
        on_form: called after each form, for a progress bar.

    Raises:
        ConfigError: no rows, no forms, or the model does not give the same scores twice: then no
            score could be blamed on storage.
        BackendError: the model failed.
    """
    if not features.rows or not forms:
        raise ConfigError("round trips need at least one feature row and one storage form")
    tolerance = Tolerance(decimals)
    expected = None if score is None else score(features)
    control = None
    if score is not None and expected is not None:
        control = compare(score(copy.deepcopy(features)), expected, tolerance).summary
        if control.rows_identical != control.rows:
            raise ConfigError(
                f"the model gives other scores for the same rows "
                f"({control.rows - control.rows_identical} of {control.rows} rows, largest |Δ| "
                f"{control.max_abs_diff:.3g}); score with one thread before judging storage"
            )
    results = []
    for form in forms:
        results.append(_Trip(form, features, score, expected, tolerance).result())
        on_form()
    return StorageReport(features.rows, decimals, control, tuple(results))


class _Trip:
    """One form, with all that its result is made of."""

    def __init__(
        self,
        form: StorageForm,
        features: FeatureBatch,
        score: Score | None,
        expected: Scores | None,
        tolerance: Tolerance,
    ) -> None:
        self._form, self._features = form, features
        self._score, self._expected, self._tolerance = score, expected, tolerance
        self._size_bytes = 0

    def result(self) -> FormResult:
        reason = self._form.missing_library()
        if reason:
            return self._ended(StorageVerdict.SKIPPED, reason)
        if not any(t in self._form.holds for t in self._features.schema.types):
            return self._ended(StorageVerdict.FAILED, "holds no feature of these types")
        try:
            return self._judged()
        except SamescoreError:
            raise
        except Exception as e:  # noqa: BLE001 - whatever a library raises, the form has failed
            return self._ended(StorageVerdict.FAILED, f"{type(e).__name__}: {e}"[:300])

    def _ended(self, verdict: StorageVerdict, reason: str) -> FormResult:
        form = self._form
        return FormResult(form.id, form.title, form.loses, verdict, reason)

    def _judged(self) -> FormResult:
        form, features = self._form, self._features
        before = table_from_batch(features)
        after = self._sent(before)
        back = batch_from_table(after, features)
        trips = tuple(self._feature(n, before.cells[n], after.cells[n], back) for n in before.cells)
        scores = stored = None
        if self._score is not None and self._expected is not None:
            scores = compare(self._score(back), self._expected, self._tolerance).summary
            stored = self._stored(self._expected)
        return FormResult(
            form.id,
            form.title,
            form.loses,
            _verdict(trips, scores),
            features=trips,
            scores=scores,
            stored_scores=stored,
            size_bytes=self._size_bytes,
        )

    def _sent(self, before: StorageTable) -> StorageTable:
        """Return what comes back; a feature that the form cannot hold stays as it is."""
        pairs = zip(before.schema.names, before.schema.types, strict=True)
        held = [(n, t) for n, t in pairs if t in self._form.holds]
        schema = FeatureSchema(tuple(n for n, _ in held), tuple(t for _, t in held))
        cells = self._there_and_back(
            StorageTable(schema, {n: before.cells[n] for n in schema.names})
        ).cells
        for name in schema.names:
            if len(cells.get(name, ())) != before.rows:
                raise ValueError(
                    f"feature {name!r} came back with {len(cells.get(name, ()))} of "
                    f"{before.rows} rows"
                )
        return StorageTable(before.schema, {**before.cells, **cells})

    def _there_and_back(self, table: StorageTable) -> StorageTable:
        with warnings.catch_warnings():
            # a library that announces its future loses no value, whatever a test runner does
            warnings.simplefilter("ignore")
            data = self._form.write(table)
            self._size_bytes = self._size_bytes or len(data)
            return self._form.read(data, table.schema)

    def _feature(self, name: str, before: Cells, after: Cells, back: FeatureBatch) -> FeatureTrip:
        kind = dict(zip(back.schema.names, back.schema.types, strict=True))[name]
        if kind not in self._form.holds:
            return FeatureTrip(name, False, Comparison())
        compared = compare(back.column(name), self._features.column(name), self._tolerance)
        changed = np.flatnonzero(~compared.identical.all(axis=1))
        first = None
        if changed.size:
            row = int(changed[0])
            first = FirstDifference(row, before[row], after[row], _ulps(before[row], after[row]))
        return FeatureTrip(name, True, compared.summary, _turned(before, after), first)

    def _stored(self, scores: Scores) -> Comparison:
        """Send the scores themselves through the form."""
        wide = scores.reshape(len(scores), -1)
        schema = FeatureSchema.float64(tuple(f"score{j}" for j in range(wide.shape[1])))
        table = table_from_batch(
            feature_batch(schema, dict(zip(schema.names, wide.T, strict=True)), {})
        )
        like = FeatureBatch(schema, len(wide), np.asfortranarray(wide))
        back = batch_from_table(self._there_and_back(table), like)
        return compare(back.numeric, wide, self._tolerance).summary


def _turned(before: Cells, after: Cells) -> tuple[Turned, ...]:
    """Count the cells whose kind changed."""
    counts: Counter[tuple[str, str]] = Counter()
    first: dict[tuple[str, str], int] = {}
    for row, (was, now) in enumerate(zip(before, after, strict=True)):
        pair = kind_of(was), kind_of(now)
        if pair[0] != pair[1]:
            counts[pair] += 1
            first.setdefault(pair, row)
    return tuple(Turned(a, b, n, first[a, b]) for (a, b), n in counts.most_common())


def _ulps(before: object, after: object) -> int:
    numbers = [v for v in (before, after) if isinstance(v, float) and math.isfinite(v)]
    if len(numbers) != 2:
        return -1
    return int(ulp_distance(np.array(numbers[:1]), np.array(numbers[1:]))[0])


def _verdict(trips: Sequence[FeatureTrip], scores: Comparison | None) -> StorageVerdict:
    if scores is not None and not scores.agrees:
        return StorageVerdict.SCORES_MOVED
    held = [t for t in trips if t.held]
    if any(not t.comparison.agrees for t in held):
        hidden = scores is not None
        return StorageVerdict.LATENT_SKEW if hidden else StorageVerdict.FEATURES_MOVED
    if any(t.turned for t in held):
        return StorageVerdict.PRESENCE_LOST
    if len(held) < len(trips):
        return StorageVerdict.FAILED
    whole = all(t.every_bit for t in held)
    return StorageVerdict.EVERY_BIT if whole else StorageVerdict.DECIMALS


def gaps_in(features: FeatureBatch) -> Counter[str]:
    """Count the special cells of feature rows: what a round trip of them could confuse at all.

    A form that never met a NaN has not been shown to keep one: say so beside its verdict.
    """
    table = table_from_batch(features)
    kinds = Counter(kind_of(c) for cells in table.cells.values() for c in cells)
    del kinds["value"]
    return kinds
