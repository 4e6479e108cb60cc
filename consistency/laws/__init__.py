"""The laws of a feature pipeline, as checks for any pipeline and a list of valid raw records.

    from consistency.laws import check_all_laws, check_batch_invariant

    check_batch_invariant(pipeline, records)            # raises LawViolation
    results = check_all_laws(pipeline, records)         # one LawResult a law, none left out

A violation names the law, the row, the feature and both values with all digits. A law that could
not run raises `LawNotRunError`, or is reported as skipped with the reason: never as passed.
"""

from consistency.laws.all_laws import check_all_laws
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

__all__ = [
    "Law",
    "LawNotRunError",
    "LawResult",
    "LawViolation",
    "Verdict",
    "check_all_laws",
    "check_batch_invariant",
    "check_environment_independent",
    "check_locale_independent",
    "check_missing_field_refused",
    "check_missing_values_distinct",
    "check_no_clock",
    "check_no_mutation",
    "check_pure",
    "check_rows_independent",
    "check_schema",
    "check_wrong_type_refused",
]
