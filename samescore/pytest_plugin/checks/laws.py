"""The laws of the feature pipeline, on a team's own records and on generated ones."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from consistency.errors import DataError
from consistency.jsontype import Json
from consistency.laws import (
    Law,
    LawNotRunError,
    LawViolation,
    check_batch_invariant,
    check_environment_independent,
    check_locale_independent,
    check_missing_field_refused,
    check_missing_values_distinct,
    check_no_clock,
    check_no_mutation,
    check_pure,
    check_rows_independent,
    check_schema,
    check_wrong_type_refused,
)
from consistency.laws.records import HostileTally, check_hostile_records
from consistency.records import Record
from samescore.pytest_plugin.checks.subjects import Installed
from samescore.pytest_plugin.configuring.settings import LawSettings
from samescore.pytest_plugin.telling.findings import (
    Evidence,
    Finding,
    Verdict,
    digits,
    distance,
    shown_record,
)
from samescore.pytest_plugin.telling.suspects import maker_of, place_of, shown
from samescore.record_strategies import hostile_records, valid_records

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

_Check: TypeAlias = Callable[[Installed, Sequence[Record], LawSettings], None]

_CHECKS: Final[dict[Law, _Check]] = {
    Law.SCHEMA: lambda p, r, _: check_schema(p.bound, r),
    Law.PURE: lambda p, r, _: check_pure(p.bound, r),
    Law.NO_MUTATION: lambda p, r, _: check_no_mutation(p.bound, r),
    Law.ROWS_INDEPENDENT: lambda p, r, s: check_rows_independent(p.bound, r, bitwise=s.bitwise),
    Law.BATCH_INVARIANT: lambda p, r, s: check_batch_invariant(p.bound, r, bitwise=s.bitwise),
    Law.ENVIRONMENT_INDEPENDENT: lambda p, r, _: check_environment_independent(p.bound, r),
    Law.LOCALE_INDEPENDENT: lambda p, r, _: check_locale_independent(p.bound, r),
    Law.NO_CLOCK: lambda p, _r, _s: check_no_clock(p.bound),
    Law.MISSING_FIELD_REFUSED: lambda p, r, _: check_missing_field_refused(p.bound, r),
    Law.WRONG_TYPE_REFUSED: lambda p, r, _: check_wrong_type_refused(p.bound, r),
    Law.MISSING_VALUES_DISTINCT: lambda p, r, s: check_missing_values_distinct(
        p.bound, r, s.distinct or ()
    ),
}

_EXAMPLE_ROWS: Final = 4


def check_law(
    law: Law, installed: Installed, records: Sequence[Record], settings: LawSettings
) -> Finding:
    """Check one law on given records."""
    facts = {"rows": len(records)}
    try:
        _CHECKS[law](installed, copy.deepcopy(records), settings)
    except LawViolation as e:
        return violated(e, installed, records, facts)
    except LawNotRunError as e:
        return Finding(Verdict.NOT_RUN, f"law {law}: {e}{_remedy(law)}", properties=facts)
    return Finding(Verdict.PASSED, f"law {law}: holds on {len(records)} records", properties=facts)


def check_generated_law(
    law: Law, installed: Installed, examples: Sequence[Record], settings: LawSettings
) -> Finding:
    """Check one law on records that Hypothesis makes, and shrink what breaks it.

    Records that the pipeline refuses with a `DataError` are left out: it may.

    Args:
        law: the law.
        installed: the pipeline.
        examples: real records, whose values are mixed in.
        settings: how many examples.
    """
    broken = Broken()

    def check(records: list[Record]) -> None:
        kept = [r for r in records if _accepted(installed, r)]
        if len(kept) < 2 or all(r == kept[0] for r in kept):
            return
        broken.checked += 1
        try:
            _CHECKS[law](installed, copy.deepcopy(kept), settings)
        except LawViolation as e:
            broken.violation, broken.records = e, kept
            raise

    broken.search(valid_records(installed.bound.inputs, examples), check, settings.generated)
    if broken.violation is not None:
        return violated(broken.violation, installed, broken.records, broken.facts)
    if not broken.checked:
        reason = f"law {law}: the pipeline refused each of {broken.tried} generated examples"
        return Finding(Verdict.NOT_RUN, reason, properties=broken.facts)
    text = f"law {law}: holds on {broken.checked} generated examples"
    return Finding(Verdict.PASSED, text, properties=broken.facts)


def check_hostile(
    installed: Installed, examples: Sequence[Record], settings: LawSettings
) -> Finding:
    """Check that whatever a client sends becomes features or is refused by name.

    Args:
        installed: the pipeline.
        examples: valid records, at least one.
        settings: how many examples.
    """
    broken, tallies = Broken(), [HostileTally()]

    def check(records: list[Record]) -> None:
        broken.checked += 1
        try:
            tallies[0] += check_hostile_records(installed.bound, records, good=examples)
        except LawViolation as e:
            broken.violation, broken.records = e, records
            raise

    try:
        broken.search(hostile_records(installed.bound.inputs, examples), check, settings.generated)
    except LawNotRunError as e:
        return Finding(Verdict.NOT_RUN, str(e))
    tally = tallies[0]
    facts = broken.facts | {"accepted": tally.accepted, "refused": tally.refused}
    if broken.violation is not None:
        return violated(broken.violation, installed, broken.records, facts)
    if not tally.refused:
        reason = f"hostile records: none of {tally.accepted} was refused; raise generated"
        return Finding(Verdict.NOT_RUN, reason, properties=facts)
    text = f"hostile records: {tally.accepted} became features, {tally.refused} refused by name"
    return Finding(Verdict.PASSED, text, properties=facts)


@dataclass(slots=True)
class Broken:
    """A search for records that break a law; Hypothesis makes the last failing ones small."""

    violation: LawViolation | None = None
    records: Sequence[Record] = ()
    tried: int = 0
    checked: int = 0

    @property
    def facts(self) -> dict[str, float | int | str]:
        """For machines."""
        return {"examples": self.checked}

    def search(
        self, records: SearchStrategy[Any], check: Callable[[list[Any]], None], examples: int
    ) -> None:
        """Try so many lists of records; a violation ends up in `violation`, as small as can be."""
        from hypothesis import HealthCheck, Phase, given, settings
        from hypothesis import strategies as st

        @settings(
            max_examples=examples,
            derandomize=True,  # red today is red tomorrow, until it is mended
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate, Phase.shrink),
            report_multiple_bugs=False,
        )
        @given(st.lists(records, min_size=2, max_size=_EXAMPLE_ROWS))
        def every_example(made: list[Any]) -> None:  # Any: JSON, whatever a client sends
            self.tried += 1
            check(made)

        with contextlib.suppress(LawViolation):
            every_example()


def _accepted(installed: Installed, record: Record) -> bool:
    try:
        installed.bound([copy.deepcopy(record)])
    except DataError:
        return False
    except Exception:  # noqa: BLE001 - what else it raises breaks the law, and is told by its check
        return True
    return True


def violated(
    violation: LawViolation,
    installed: Installed,
    records: Sequence[Json],
    facts: Mapping[str, float | int | str],
) -> Finding:
    """Return a violation as a finding: the row, the feature and the function that makes it."""
    row, name = violation.row, violation.feature or ""
    maker = maker_of(installed.unbound, name)
    source = "" if maker is None else place_of(maker)
    abs_diff, ulps = distance(violation.expected, violation.got)
    valued = not (violation.expected is violation.got is None)
    evidence = Evidence(
        row=-1 if row is None else row,
        stage="features" if maker or name in installed.bound.outputs.names else "payload",
        name=name,
        expected=digits(violation.expected) if valued else "",
        got=digits(violation.got) if valued else "",
        sides=("expected", "got"),
        abs_diff=abs_diff,
        ulps=ulps,
        made_by="" if maker is None else shown(maker),
        record="" if row is None or row >= len(records) else shown_record(records[row]),
    )
    return Finding(
        Verdict.FAILED,
        f"law {violation.law} is broken: {violation.problem}",
        evidence,
        cause=_LIKELY.get(violation.law.value, ""),
        properties={**facts, "law": violation.law.value},
        source=source,
    )


_LIKELY: Final = {
    Law.PURE.value: "likely random numbers, a clock, or state that one call leaves for the next",
    Law.NO_MUTATION.value: "likely a function that writes into a column or record it was given",
    Law.ROWS_INDEPENDENT.value: "likely a mean, rank, fill or normalisation over the batch; "
    "compute it at training time and keep it in the fitted state",
    Law.BATCH_INVARIANT.value: "likely a value of the whole batch (mean, max, length), or a "
    "library whose result depends on the batch's shape; for the latter set bitwise = false",
    Law.ENVIRONMENT_INDEPENDENT.value: "likely local time, or a read of os.environ or of a "
    "relative path",
    Law.LOCALE_INDEPENDENT.value: "likely number or case conversion by the locale",
    Law.NO_CLOCK.value: "take the time from a field of the record",
}


def _remedy(law: Law) -> str:
    if law is Law.MISSING_VALUES_DISTINCT:
        return '; write distinct = ["FIELD"], or distinct = [] where the pipeline tells none apart'
    if law is Law.LOCALE_INDEPENDENT:
        return "; install one (Debian: locales-all), or leave the check out with a skip reason"
    return ""
