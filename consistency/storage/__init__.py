"""Round trips of real feature values through forms of storage.

    from consistency.storage import LIGHT_FORMS, check_storage

    report = check_storage(features, LIGHT_FORMS, score=lambda f: postprocess(scorer.score(f)))
    print(report.table())

Which forms keep every bit, which keep ten decimals of the score, and which move features while the
score hides it. Forms that need pandas or TensorFlow stand in `samescore.storage.forms`.
"""

from typing import Final

from consistency.storage.columnar_forms import COLUMNAR_FORMS
from consistency.storage.form import StorageForm, forms_named
from consistency.storage.report import (
    FeatureTrip,
    FormResult,
    StorageReport,
    StorageVerdict,
    Turned,
)
from consistency.storage.sqlite_forms import SQLITE_FORMS
from consistency.storage.table import StorageTable
from consistency.storage.text_forms import TEXT_FORMS
from consistency.storage.trips import check_storage, gaps_in

LIGHT_FORMS: Final[tuple[StorageForm, ...]] = (*TEXT_FORMS, *COLUMNAR_FORMS, *SQLITE_FORMS)
"""The forms that the base install can try."""

__all__ = [
    "LIGHT_FORMS",
    "FeatureTrip",
    "FormResult",
    "StorageForm",
    "StorageReport",
    "StorageTable",
    "StorageVerdict",
    "Turned",
    "check_storage",
    "forms_named",
    "gaps_in",
]
