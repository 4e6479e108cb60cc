"""The laws of a feature pipeline and of a backend, as checks for any of them.

    from consistency.laws import check_all_laws, check_batch_invariant

    check_batch_invariant(pipeline, records)            # raises LawViolation
    results = check_all_laws(pipeline, records)         # one LawResult a law, none left out
    check_hostile_records(pipeline, anything, good=records)
    check_batch_size_invariance(scorer, pipeline(records))

A pipeline's laws take valid raw records, a backend's take feature rows. A violation names the law,
the row, the feature and both values with all digits. A law that could not run raises
`LawNotRunError`, or is reported as skipped with the reason: never as passed.
"""

from consistency.laws.all_laws import check_all_laws
from consistency.laws.clock import check_no_clock
from consistency.laws.controls import expect_sight, plant_fault, plant_fault_in_factory
from consistency.laws.inputs import (
    check_missing_field_refused,
    check_missing_values_distinct,
    check_wrong_type_refused,
)
from consistency.laws.invariance import Invariance, ScorerLaw, ScorerViolation, Situation
from consistency.laws.records import HostileTally, RecordLaw, check_hostile_records
from consistency.laws.rows import (
    check_batch_invariant,
    check_no_mutation,
    check_pure,
    check_rows_independent,
    check_schema,
)
from consistency.laws.scorer import (
    check_batch_size_invariance,
    check_device_invariance,
    check_order_invariance,
    check_repeatability,
    check_thread_invariance,
)
from consistency.laws.surroundings import check_environment_independent, check_locale_independent
from consistency.laws.verdict import Law, LawNotRunError, LawResult, LawViolation, Verdict

__all__ = [
    "HostileTally",
    "Invariance",
    "Law",
    "LawNotRunError",
    "LawResult",
    "LawViolation",
    "RecordLaw",
    "ScorerLaw",
    "ScorerViolation",
    "Situation",
    "Verdict",
    "check_all_laws",
    "check_batch_invariant",
    "check_batch_size_invariance",
    "check_device_invariance",
    "check_environment_independent",
    "check_hostile_records",
    "check_locale_independent",
    "check_missing_field_refused",
    "check_missing_values_distinct",
    "check_no_clock",
    "check_no_mutation",
    "check_order_invariance",
    "check_pure",
    "check_repeatability",
    "check_rows_independent",
    "check_schema",
    "check_thread_invariance",
    "check_wrong_type_refused",
    "expect_sight",
    "plant_fault",
    "plant_fault_in_factory",
]
