"""Attributes the shift of a score to the features whose drift made it, by intervention.

The distributions of single features are put back into the window's rows, one after the other and
together, the model scores the rows anew, and the score's shift is watched. Each feature gets its
Shapley value: what putting it back changes, averaged over the orders in which one can put features
back. K. Budhathoki, D. Janzing, P. Bloebaum, H. Ng, *Why did the distribution change?* (AISTATS
2021), attribute a shift of an outcome to its mechanisms that way, and H. Zhang, H. Singh,
M. Ghassemi, S. Joshi, *"Why did the model fail?"* (ICML 2023) a model's loss of performance. Here
the outcome is the model's own score and the causes are its inputs, so nothing has to be assumed of
a causal graph: that the model computes scores from features is known, and it is asked.

Orders are drawn in pairs, one the reverse of the other (antithetic; R. Mitchell, J. Cooper,
E. Frank, G. Holmes, *Sampling permutations for Shapley value estimation*, JMLR 2022), from a fixed
seed: the same window is always explained alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from monitors.psi import population_stability_index
from monitors.reference import Counts, NumericReference

PAIRS: Final = 8
"""Pairs of orders: 16 for each window."""

CHANCE: Final = 0.005
"""A feature's proof holds unless sampling shows as large a fall of the index this seldom."""

LEAST_FALL: Final = 0.05
"""Of the score's index: what falls by less is no cause that helps anybody."""

_SEED: Final = 20_211
_RESAMPLES: Final = 400
_NORMAL_95: Final = 1.96

Scores: TypeAlias = NDArray[np.float64]

Intervene: TypeAlias = Callable[[frozenset[str]], Scores]
"""Returns the rows' scores with the distributions of some features put back, shape (N,)."""


@dataclass(frozen=True, slots=True)
class Cause:
    """What a feature's drift did to the score.

    Attributes:
        name: of the feature.
        contribution: to the change of the mean score, in the score's unit: its Shapley value.
        error: the standard error of it that is left by the number of orders.
        alone: mean of the score with this feature alone put back.
        psi_alone: the score's index with this feature alone put back.
        fall_at_least: by how much the index fell, less what sampling may have made of it.
        proven: whether putting it back, and nothing else, made the score's shift shrink.
    """

    name: str
    contribution: float
    error: float
    alone: float
    psi_alone: float
    fall_at_least: float
    proven: bool


@dataclass(frozen=True, slots=True)
class Step:
    """One step on the way back: this feature too is put back.

    Attributes:
        name: of the feature; psi: the score's index then; mean: of the score then.
    """

    name: str
    psi: float
    mean: float


@dataclass(frozen=True, slots=True)
class Attribution:
    """Why a score has shifted.

    Attributes:
        rows: that were scored anew.
        psi: the score's index as the rows are; mean: of the score.
        noise_psi: what the index stays below without drift, at so many rows.
        psi_back: index with every feature put back: what single features do not explain (how they
            go together, or what is no feature); mean_back: of the score then.
        causes: the features, the one that moved the score most first.
        steps: features put back one after the other, in that order, until the score's index is
            what sampling makes of it.
    """

    rows: int
    psi: float
    mean: float
    noise_psi: float
    psi_back: float
    mean_back: float
    causes: tuple[Cause, ...]
    steps: tuple[Step, ...]


def attribute(
    names: Sequence[str], intervene: Intervene, reference: NumericReference, noise_psi: float
) -> Attribution:
    """Return which features' drift moved a score.

    Args:
        names: of the features that can be put back.
        intervene: scores the window's rows.
        reference: of the score.
        noise_psi: what the score's index stays below without drift, at so many rows.
    """
    game = _Game(intervene, reference)
    values, errors = _shapley(names, game)
    causes = [
        _cause(name, float(value), float(error), game)
        for name, value, error in zip(names, values, errors, strict=True)
    ]
    causes.sort(key=lambda cause: (-abs(cause.contribution), cause.name))
    before, after = game.scores(frozenset()), game.scores(frozenset(names))
    return Attribution(
        rows=len(before),
        psi=game.psi(before),
        mean=_mean(before),
        noise_psi=noise_psi,
        psi_back=game.psi(after),
        mean_back=_mean(after),
        causes=tuple(causes),
        steps=tuple(_steps(causes, game, noise_psi)),
    )


def evaluations(features: int) -> int:
    """Return how often rows are scored for so many features, at most; for a progress bar."""
    return 2 * PAIRS * max(features - 1, 0) + 2 * features + 2


class _Game:
    """Scores of the rows by what is put back; none is asked for twice in a row of orders."""

    def __init__(self, intervene: Intervene, reference: NumericReference) -> None:
        self._intervene, self._reference = intervene, reference
        self._means: dict[frozenset[str], float] = {}
        self._held: dict[frozenset[str], Scores] = {}

    def scores(self, back: frozenset[str]) -> Scores:
        if back in self._held:
            return self._held[back]
        scores = self._intervene(back)
        self._means[back] = _mean(scores)
        if len(back) <= 1:  # asked for again; the others would fill the memory
            self._held[back] = scores
        return scores

    def mean(self, back: frozenset[str]) -> float:
        if back not in self._means:
            self.scores(back)
        return self._means[back]

    def counts(self, scores: Scores) -> Counts:
        return self._reference.counts(scores)

    def psi(self, scores: Scores) -> float:
        return population_stability_index(self._reference.training_counts, self.counts(scores))

    def fall_at_least(self, before: Scores, after: Scores) -> float:
        """Return the fall of the index that resampled rows stay above, but for `CHANCE`."""
        size = len(self._reference.training_counts)
        pairs = self._reference.buckets(before) * size + self._reference.buckets(after)
        joint = np.bincount(pairs, minlength=size * size)
        generator = np.random.default_rng(_SEED)
        drawn = generator.multinomial(len(before), joint / len(before), _RESAMPLES)
        tables = drawn.reshape(_RESAMPLES, size, size)
        training = self._reference.training_counts
        falls = [
            population_stability_index(training, table.sum(axis=1))
            - population_stability_index(training, table.sum(axis=0))
            for table in tables
        ]
        return float(np.quantile(falls, CHANCE))


def _shapley(names: Sequence[str], game: _Game) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return each feature's Shapley value and its standard error, over pairs of orders."""
    generator = np.random.default_rng(_SEED)
    pairs = np.zeros((PAIRS, len(names)))
    for row in pairs:
        order = generator.permutation(len(names))
        for each in (order, order[::-1]):
            back: frozenset[str] = frozenset()
            for i in each.tolist():
                more = back | {names[i]}
                row[i] += (game.mean(back) - game.mean(more)) / 2
                back = more
    return pairs.mean(axis=0), pairs.std(axis=0, ddof=1) / np.sqrt(PAIRS)


def _cause(name: str, contribution: float, error: float, game: _Game) -> Cause:
    before, alone = game.scores(frozenset()), game.scores(frozenset({name}))
    psi, psi_alone = game.psi(before), game.psi(alone)
    least = game.fall_at_least(before, alone) if psi_alone < psi else 0.0
    proven = least > 0 and psi - psi_alone >= LEAST_FALL * psi
    return Cause(name, contribution, error, _mean(alone), psi_alone, max(least, 0.0), proven)


def _steps(causes: Sequence[Cause], game: _Game, noise_psi: float) -> list[Step]:
    steps: list[Step] = []
    back: frozenset[str] = frozenset()
    for cause in causes:
        done = bool(steps) and (steps[-1].psi <= noise_psi or _is_nothing(cause))
        if done:
            break
        back |= {cause.name}
        scores = game.scores(back)
        steps.append(Step(cause.name, game.psi(scores), _mean(scores)))
    return steps


def _is_nothing(cause: Cause) -> bool:
    """Return whether a contribution cannot be told from none."""
    return abs(cause.contribution) <= _NORMAL_95 * cause.error


def _mean(scores: Scores) -> float:
    finite = scores[np.isfinite(scores)]
    return float(finite.mean()) if finite.size else 0.0
