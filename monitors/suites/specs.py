"""A suite and its expectations as plain facts, before Great Expectations makes them."""

from __future__ import annotations

from dataclasses import dataclass, field

from consistency.jsontype import Json
from monitors.suites.levels import Level
from monitors.suites.policy import SuitePolicy


@dataclass(frozen=True, slots=True)
class BuildSettings:
    """How strict a suite is.

    Attributes:
        margin: added on both sides of a numeric range, as a share of its width.
        max_categories: a text field with at most so many distinct values, each seen twice on
            average, gets a set.
        batch_level: also expect what only a batch of records can be held to; of profiles that
            hold their values.
        cross_columns: also expect relations between fields that held without an exception;
            likewise.
        null_share_margin: by which the share of nulls in a batch may differ from training.
        quantile_margin: by which the share of values below a training quantile may differ.
        mean_margin: by which a mean may differ, in standard deviations.
        spread_margin: by which a standard deviation may be larger or smaller, as a share.
        unique_margin: share of repeated values that a field without any may come to.
        sums: fields whose sum is always the same; the total is learnt.
        unique_together: fields that no two records share all values of.
    """

    margin: float = 0.1
    max_categories: int = 50
    batch_level: bool = True
    cross_columns: bool = True
    null_share_margin: float = 0.1
    quantile_margin: float = 0.05
    mean_margin: float = 0.25
    spread_margin: float = 0.25
    unique_margin: float = 0.05
    sums: tuple[tuple[str, ...], ...] = ()
    unique_together: tuple[tuple[str, ...], ...] = ()

    @property
    def needs_values(self) -> bool:
        """Whether the records' values are needed, not just figures of each field."""
        return bool(self.batch_level or self.cross_columns or self.sums or self.unique_together)


@dataclass(frozen=True, slots=True)
class ExpectationSpec:
    """One expectation, before Great Expectations makes it.

    Attributes:
        kind: its type, `expect_column_values_to_be_between`.
        kwargs: its arguments.
        level: what it judges, written into its meta.
        policy: what becomes of a row that breaks it; None leaves that to the server.
        rows: of a batch from which on its bounds are wider than chance; None of a row's rule.
    """

    kind: str
    kwargs: dict[str, Json]
    level: Level = Level.ROW
    policy: SuitePolicy | None = None
    rows: int | None = None

    @property
    def meta(self) -> dict[str, Json]:
        """What the suite's file says beside the expectation."""
        facts: dict[str, Json] = {"level": self.level.value}
        if self.policy is not None:
            facts["policy"] = self.policy.value
        if self.rows is not None:
            facts["batch_rows"] = self.rows
        return {"samescore": facts}


@dataclass(frozen=True, slots=True)
class SuiteSpec:
    """A suite, before Great Expectations makes it.

    Attributes:
        name: of the suite.
        expectations: in the order of the schema's fields, those across fields last.
        meta: where it comes from: records read, settings.
    """

    name: str
    expectations: tuple[ExpectationSpec, ...]
    meta: dict[str, Json] = field(default_factory=dict)
