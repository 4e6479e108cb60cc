"""Finds out which surroundings a model's library can be put into at all.

A switch that changes nothing would give a column of perfect agreement that proves nothing. So each
switched factor is tried once on a few rows, and the library's own account of the code that it runs
is compared with the account it gives without the switch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from consistency.parity import CellState, Factor, Surroundings, SwitchEffect
from samescore.parity.spec import CellAnswer
from samescore.parity.switches import Switches, cannot_have, effects_of, why_not, without

_SWITCHED: Final = (Factor.ONEDNN, Factor.ISA)
CPU: Final = "cpu"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether cells in some surroundings are worth measuring.

    Attributes:
        state: `measured` when they are.
        reason: why they are not; effects: what the switches did.
    """

    state: CellState = CellState.MEASURED
    reason: str = ""
    effects: tuple[SwitchEffect, ...] = ()


@dataclass(slots=True)
class Probes:
    """Asks about one model, each question once.

    Attributes:
        switches: the library's.
        baseline: the surroundings without a change.
        ask: runs a probe.
    """

    switches: Switches
    baseline: Surroundings
    ask: Callable[[Surroundings], CellAnswer]
    _answers: dict[Surroundings, CellAnswer] = field(default_factory=dict)

    def verdict(self, around: Surroundings) -> Verdict:
        """Return whether these surroundings differ from the baseline for this library."""
        missing = cannot_have(around.isa)
        if missing:
            return Verdict(CellState.NOT_AVAILABLE, missing)
        changed = [f for f in around.changes(self.baseline) if f in _SWITCHED]
        if changed and around.device != CPU:
            return Verdict(CellState.NOT_APPLICABLE, "kernels of a GPU heed no switch of the CPU")
        effects: tuple[SwitchEffect, ...] = ()
        for factor in changed:
            found = self._factor(factor, around)
            effects += found.effects
            if found.state is not CellState.MEASURED:
                return Verdict(found.state, found.reason, effects)
        return Verdict(effects=effects)

    def _factor(self, factor: Factor, around: Surroundings) -> Verdict:
        library, switches = self.switches.library, self.switches.all
        if not effects_of(switches, factor, around, {}, {}):
            return Verdict(CellState.NOT_APPLICABLE, why_not(library, ()))
        before = self._answer(without(around, factor, self.baseline))
        after = self._answer(around)
        for answer in (before, after):
            if answer.error:
                return Verdict(CellState.FAILED, f"a probe failed: {answer.error}")
        effects = effects_of(switches, factor, around, _facts(before), _facts(after))
        reason = why_not(library, effects)
        state = CellState.NOT_APPLICABLE if reason else CellState.MEASURED
        return Verdict(state, reason, effects)

    def _answer(self, around: Surroundings) -> CellAnswer:
        if around not in self._answers:
            self._answers[around] = self.ask(around)
        return self._answers[around]


def _facts(answer: CellAnswer) -> Mapping[str, str]:
    return answer.facts or {}
