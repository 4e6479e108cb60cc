"""Controls: a backend with a planted fault. A check that stays green on it has seen nothing.

    with pytest.raises(ScorerViolation):
        check_batch_size_invariance(plant_fault(scorer, ScorerLaw.BATCH_SIZE_INVARIANT), features)

`expect_sight` does that for a check about to be trusted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from consistency.errors import ConfigError
from consistency.features import FeatureBatch
from consistency.laws.invariance import ScorerLaw, ScorerViolation
from consistency.laws.verdict import LawNotRunError
from consistency.protocols import Scorer, ScorerInfo
from consistency.records import Column
from consistency.scored import Outputs


@dataclass(slots=True)
class FaultyScorer:
    """A real backend whose outputs are moved a little, by what they must not depend on.

    Attributes:
        within: the backend.
        law: the law that the fault breaks.
        size: how far an output is moved, in its own unit.
    """

    within: Scorer
    law: ScorerLaw
    size: float
    _calls: int = 0

    @property
    def info(self) -> ScorerInfo:
        """How the backend computes."""
        return self.within.info

    def score(self, features: FeatureBatch) -> Outputs:
        """Return the backend's outputs, moved."""
        self._calls += 1
        times = self._times(features.rows)
        return {n: _moved(v, times, self.size) for n, v in self.within.score(features).items()}

    def _times(self, rows: int) -> Column:
        """Return how many times the size each row is moved, shape (N,)."""
        if self.law is ScorerLaw.BATCH_SIZE_INVARIANT:
            return np.full(rows, float(rows > 1))
        if self.law is ScorerLaw.ORDER_INVARIANT:
            return np.where(np.arange(rows) == 0, 1.0, 0.0)
        return np.full(rows, float(self._calls))


def _moved(values: Column, times: Column, size: float) -> Column:
    if values.dtype.kind != "f":
        raise ConfigError(f"a fault can be planted in float outputs, not in {values.dtype}")
    wide = times.reshape(-1, *[1] * (values.ndim - 1))
    # a float32 output would swallow a step far below its last place
    step = np.maximum(size, np.spacing(np.abs(values)))
    moved: Column = (values + wide * step).astype(values.dtype)
    return moved


def plant_fault(scorer: Scorer, law: ScorerLaw, size: float = 1e-9) -> FaultyScorer:
    """Return a backend that breaks a law by `size`, as a positive control of its check.

    For the laws of threads and devices, wrap what the factory loads, all but the first: see
    `plant_fault_in_factory`.
    """
    return FaultyScorer(scorer, law, size)


def plant_fault_in_factory(
    load: Callable[..., Scorer], reference: int | str, law: ScorerLaw, size: float = 1e-9
) -> Callable[..., Scorer]:
    """Return a factory whose backends are moved by `size`, except for the reference setting."""

    def loaded(setting: int | str) -> Scorer:
        scorer = load(setting)
        return scorer if setting == reference else plant_fault(scorer, law, size)

    return loaded


def expect_sight(check: Callable[[], object], law: ScorerLaw) -> ScorerViolation:
    """Run a check on a backend with a planted fault, and return the violation it must find.

    Raises:
        LawNotRunError: it stayed green; its green on the real backend would mean nothing.
    """
    try:
        check()
    except ScorerViolation as e:
        if e.difference is not None:
            return e
        raise  # the backend failed altogether, which shows nothing about the check
    raise LawNotRunError(
        f"law {law!s}: the check stayed green on a planted fault, so it cannot be trusted here; "
        f"give it more and more different rows"
    )
