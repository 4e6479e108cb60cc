"""A form of storage: how feature values are written to bytes and read back."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from consistency.errors import ConfigError
from consistency.schema import FeatureSchema, FeatureType
from consistency.storage.table import StorageTable

NUMBERS: Final = frozenset(
    {FeatureType.FLOAT64, FeatureType.FLOAT32, FeatureType.INT64, FeatureType.BOOL}
)
SCALARS: Final = NUMBERS | {FeatureType.STRING}
EVERYTHING: Final = SCALARS | {FeatureType.TOKENS}


@dataclass(frozen=True, slots=True)
class StorageForm:
    """One way to keep feature values outside the process.

    Attributes:
        id: short and stable, for settings and reports: ``"csv.6f"``.
        title: how a user writes and reads it.
        loses: where its loss comes from; empty when it loses nothing.
        write: a table to bytes.
        read: those bytes to a table of the schema, as a reader who knows the declared types does.
        holds: the feature types that it can hold at all; others are reported, not tried.
        library: the module that must be installed; empty for none.
    """

    id: str
    title: str
    loses: str
    write: Callable[[StorageTable], bytes]
    read: Callable[[bytes, FeatureSchema], StorageTable]
    holds: frozenset[FeatureType] = EVERYTHING
    library: str = ""

    def missing_library(self) -> str:
        """Return why the form cannot be tried here; empty when it can."""
        if not self.library or importlib.util.find_spec(self.library.partition(".")[0]):
            return ""
        return f"the package {self.library!r} is not installed"


def forms_named(forms: tuple[StorageForm, ...], ids: tuple[str, ...]) -> tuple[StorageForm, ...]:
    """Return the forms with the given ids, in the order of `forms`; all of them without ids.

    An id also stands for its group: ``csv`` for ``csv.repr``, ``csv.15g`` and ``csv.6f``.

    Raises:
        ConfigError: no form has that id.
    """
    for wanted in ids:
        if not any(_fits(form, wanted) for form in forms):
            known = ", ".join(f.id for f in forms)
            raise ConfigError(f"storage form {wanted!r} is unknown; known: {known}")
    return tuple(f for f in forms if not ids or any(_fits(f, wanted) for wanted in ids))


def _fits(form: StorageForm, wanted: str) -> bool:
    return form.id == wanted or form.id.startswith(wanted + ".")
