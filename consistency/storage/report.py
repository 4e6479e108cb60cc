"""What round trips through storage showed, typed, as JSON and as a table for people."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from consistency.compare import Comparison
from consistency.jsontype import Json


class StorageVerdict(StrEnum):
    """What a form of storage does to feature values and to scores; from the best to the worst."""

    EVERY_BIT = "keeps every bit"
    DECIMALS = "keeps the decimals"
    """Values moved, but within the tolerance, and so do the scores."""
    PRESENCE_LOST = "confuses missing values"
    """Values are kept; null, absent, NaN, an infinity, -0.0 or the empty text became another."""
    LATENT_SKEW = "moves features, the score hides it"
    """Values moved beyond the tolerance and no score of these rows shows it: others will."""
    FEATURES_MOVED = "moves features"
    """Values moved beyond the tolerance; there was no model to score them with."""
    SCORES_MOVED = "moves scores"
    FAILED = "cannot hold these values"
    SKIPPED = "not tried"

    @property
    def safe(self) -> bool:
        """Whether rows read back give the same features, gaps included, and the same scores."""
        return self in (StorageVerdict.EVERY_BIT, StorageVerdict.DECIMALS)

    @property
    def keeps_values(self) -> bool:
        """Whether values and scores agree; why a value is missing may be forgotten.

        No score depends on that, a count of missing values does.
        """
        return self.safe or self is StorageVerdict.PRESENCE_LOST


@dataclass(frozen=True, slots=True)
class Turned:
    """Cells of one kind that came back as another: ``NaN`` as ``null``."""

    before: str
    after: str
    rows: int
    first_row: int

    def __str__(self) -> str:
        return f"{self.before} → {self.after} ({self.rows} rows, first {self.first_row})"


@dataclass(frozen=True, slots=True)
class FirstDifference:
    """The first value of a feature that came back as another.

    Attributes:
        ulps: of float64, -1 when one of the two is no finite number.
    """

    row: int
    before: Any  # Any: a Python value
    after: Any
    ulps: int

    def __str__(self) -> str:
        ulps = f" ({self.ulps} ULP)" if self.ulps >= 0 else ""
        return f"row {self.row}: {self.before!r} → {self.after!r}{ulps}"


@dataclass(frozen=True, slots=True)
class FeatureTrip:
    """One feature after the trip.

    Attributes:
        held: whether the form can hold a feature of this type at all.
        comparison: its values before and after; of no rows when not held.
        turned: kinds of cells that changed.
        first: the first value that changed.
    """

    name: str
    held: bool
    comparison: Comparison
    turned: tuple[Turned, ...] = ()
    first: FirstDifference | None = None

    @property
    def same_bits(self) -> bool:
        """Whether every value came back bit for bit; gaps of any kind count as NaN."""
        return self.held and self.comparison.rows_identical == self.comparison.rows

    @property
    def every_bit(self) -> bool:
        """Whether every value came back bit for bit and every gap as the gap it was."""
        return self.same_bits and not self.turned

    def to_json(self) -> dict[str, Json]:
        """Return JSON types; values as text with all their digits."""
        first = self.first
        shown = first and {
            "row": first.row,
            "before": repr(first.before),
            "after": repr(first.after),
            "ulps": first.ulps,
        }
        return {
            "name": self.name,
            "held": self.held,
            "every_bit": self.every_bit,
            "same_bits": self.same_bits,
            "comparison": self.comparison.to_json(),
            "turned": [
                {"before": t.before, "after": t.after, "rows": t.rows, "first_row": t.first_row}
                for t in self.turned
            ],
            "first": shown,
        }


@dataclass(frozen=True, slots=True)
class FormResult:
    """One form of storage.

    Attributes:
        title: how it is written and read; loses: where its loss comes from.
        reason: why it was not tried, or how it failed; empty otherwise.
        scores: scores of the rows that came back against scores of the rows that were stored.
        stored_scores: the scores themselves, stored and read back.
        size_bytes: of all rows.
    """

    form_id: str
    title: str
    loses: str
    verdict: StorageVerdict
    reason: str = ""
    features: tuple[FeatureTrip, ...] = ()
    scores: Comparison | None = None
    stored_scores: Comparison | None = None
    size_bytes: int = 0

    @property
    def moved(self) -> tuple[FeatureTrip, ...]:
        """The features that did not come back bit for bit."""
        return tuple(f for f in self.features if not f.every_bit)

    def to_json(self) -> dict[str, Json]:
        """Return JSON types."""
        return {
            "form": self.form_id,
            "title": self.title,
            "loses": self.loses,
            "verdict": self.verdict.name.lower(),
            "safe": self.verdict.safe,
            "keeps_values": self.verdict.keeps_values,
            "reason": self.reason,
            "size_bytes": self.size_bytes,
            "scores": None if self.scores is None else self.scores.to_json(),
            "stored_scores": None if self.stored_scores is None else self.stored_scores.to_json(),
            "features": [f.to_json() for f in self.features],
        }

    def worst(self) -> str:
        """Return in one line what happened to the worst feature; empty when nothing did."""
        if self.reason:
            return self.reason
        not_held = [f.name for f in self.features if not f.held]
        if not_held:
            return f"cannot hold {', '.join(not_held[:3])}"
        for feature in sorted(self.moved, key=lambda f: -f.comparison.max_abs_diff):
            return f"{feature.name}: {_worst_of(feature)}"
        return ""


def _worst_of(feature: FeatureTrip) -> str:
    agreeing = feature.comparison.rows_agreeing == feature.comparison.rows
    if feature.turned and (agreeing or feature.first is None):
        return str(feature.turned[0])
    return str(feature.first)


@dataclass(frozen=True, slots=True)
class StorageReport:
    """What every form of storage did to the same feature rows.

    Attributes:
        rows: rows stored.
        decimals: that must agree.
        control: the rows as they are, scored twice: without this every score below would be blamed
            on storage; None without a model.
        forms: one result each, none left out.
    """

    rows: int
    decimals: int
    control: Comparison | None
    forms: tuple[FormResult, ...]

    def result(self, form_id: str) -> FormResult:
        """Return the result of a form.

        Raises:
            KeyError: it is not in the report.
        """
        for form in self.forms:
            if form.form_id == form_id:
                return form
        raise KeyError(form_id)

    def with_verdict(self, *verdicts: StorageVerdict) -> tuple[FormResult, ...]:
        """Return the forms with one of these verdicts."""
        return tuple(f for f in self.forms if f.verdict in verdicts)

    def to_json(self) -> dict[str, Json]:
        """Return JSON types."""
        return {
            "rows": self.rows,
            "decimals": self.decimals,
            "control": None if self.control is None else self.control.to_json(),
            "forms": [f.to_json() for f in self.forms],
        }

    def table(self) -> str:
        """Return a table of plain text: a line a form, and what happened to its worst feature.

        Counted are features whose values kept all their bits, features whose gaps stayed what they
        were, features that agree within the tolerance, and rows whose score agrees.
        """
        heads = ("form", "bits", "gaps", "agree", "scores", "verdict", "")
        return "\n".join([_COLUMNS.format(*heads).rstrip(), *map(_line, self.forms)])


_COLUMNS: Final = "{:<22} {:>7} {:>7} {:>7} {:>11}  {:<34}  {}"


def _line(form: FormResult) -> str:
    counts = [
        _share(form, lambda f: f.same_bits),
        _share(form, lambda f: f.held and not f.turned),
        _share(form, lambda f: f.held and f.comparison.agrees),
    ]
    scores = form.scores
    held = "-" if scores is None else f"{scores.rows_agreeing}/{scores.rows}"
    verdict = form.verdict.value
    return _COLUMNS.format(form.form_id, *counts, held, verdict, form.worst()).rstrip()


def _share(form: FormResult, keeps: Callable[[FeatureTrip], bool]) -> str:
    return f"{sum(map(keeps, form.features))}/{len(form.features)}" if form.features else "-"
