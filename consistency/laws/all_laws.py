"""Every law at once, each with its verdict."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Sequence

from consistency.laws.clock import check_no_clock
from consistency.laws.inputs import (
    check_missing_field_refused,
    check_missing_values_distinct,
    check_wrong_type_refused,
)
from consistency.laws.rows import (
    check_batch_invariant,
    check_no_mutation,
    check_pure,
    check_rows_independent,
    check_schema,
)
from consistency.laws.surroundings import check_environment_independent, check_locale_independent
from consistency.laws.verdict import Law, LawNotRunError, LawResult, LawViolation, Verdict
from consistency.pipeline import BoundPipeline
from consistency.records import Record

_NEEDS_THE_SCHEMA = frozenset(
    {
        Law.PURE,
        Law.ROWS_INDEPENDENT,
        Law.BATCH_INVARIANT,
        Law.ENVIRONMENT_INDEPENDENT,
        Law.LOCALE_INDEPENDENT,
        Law.MISSING_VALUES_DISTINCT,
    }
)
"""These compare feature rows, which only rows of the declared form allow."""


def check_all_laws(
    pipeline: BoundPipeline,
    records: Sequence[Record],
    *,
    bitwise: bool = True,
    distinct: Collection[str] = (),
) -> list[LawResult]:
    """Check every law and return one result each, in the order of `Law`.

    Args:
        pipeline: the pipeline, with its state and snapshots.
        records: valid raw records, better a hundred different ones than one.
        bitwise: False for foreign transformers; see `check_batch_invariant`.
        distinct: the raw fields whose null, absent, NaN and 0 the pipeline tells apart.

    Returns:
        PASSED, VIOLATED or SKIPPED for each law. A skipped one has not been checked: its `detail`
        says why.
    """
    checks: dict[Law, Callable[[Sequence[Record]], None]] = {
        Law.SCHEMA: lambda given: check_schema(pipeline, given),
        Law.PURE: lambda given: check_pure(pipeline, given),
        Law.NO_MUTATION: lambda given: check_no_mutation(pipeline, given),
        Law.ROWS_INDEPENDENT: lambda given: check_rows_independent(
            pipeline, given, bitwise=bitwise
        ),
        Law.BATCH_INVARIANT: lambda given: check_batch_invariant(pipeline, given, bitwise=bitwise),
        Law.ENVIRONMENT_INDEPENDENT: lambda given: check_environment_independent(pipeline, given),
        Law.LOCALE_INDEPENDENT: lambda given: check_locale_independent(pipeline, given),
        Law.NO_CLOCK: lambda _: check_no_clock(pipeline),
        Law.MISSING_FIELD_REFUSED: lambda given: check_missing_field_refused(pipeline, given),
        Law.WRONG_TYPE_REFUSED: lambda given: check_wrong_type_refused(pipeline, given),
        Law.MISSING_VALUES_DISTINCT: lambda given: check_missing_values_distinct(
            pipeline, given, distinct
        ),
    }
    results: dict[Law, LawResult] = {}
    for law, check in checks.items():
        schema = results.get(Law.SCHEMA)
        if law in _NEEDS_THE_SCHEMA and schema and schema.verdict is not Verdict.PASSED:
            reason = f"it compares feature rows, and the law {Law.SCHEMA!s} did not pass"
            results[law] = LawResult(law, Verdict.SKIPPED, reason)
        else:
            # a copy each: a pipeline that changes its input breaks one law, not all
            results[law] = _result(law, check, copy.deepcopy(records))
    return list(results.values())


def _result(
    law: Law, check: Callable[[Sequence[Record]], None], records: Sequence[Record]
) -> LawResult:
    try:
        check(records)
    except LawViolation as e:
        return LawResult(law, Verdict.VIOLATED, str(e), e)
    except LawNotRunError as e:
        return LawResult(law, Verdict.SKIPPED, str(e))
    return LawResult(law, Verdict.PASSED)
