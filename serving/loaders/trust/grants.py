"""What an operator lets a model file bring along: nothing, unless it is named.

A scikit-learn model is Python objects. skops lists the types in a file before it makes any of
them; a pickle runs whatever it holds. Both opt-ins are the operator's, never the bundle's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class ModelTrust:
    """The operator's opt-ins.

    Attributes:
        types: full names of the types that a skops file may hold beside those that skops trusts
            by itself, for example `yourteam_features.steps.Clip`.
        allow_pickle: pickles and joblib files may be loaded. They can run any code: only for files
            whose whole way here is trusted.
    """

    types: frozenset[str] = frozenset()
    allow_pickle: bool = False


NO_TRUST: Final = ModelTrust()
"""No opt-in at all."""
