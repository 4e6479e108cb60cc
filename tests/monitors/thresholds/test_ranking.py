"""Which features' drift moved the score."""

from __future__ import annotations

import numpy as np
import pytest

from monitors.reference import ReferenceSet
from monitors.thresholds.ranking import mean_score, rank

ROWS = 20_000


@pytest.fixture
def world() -> tuple[dict[str, np.ndarray], ReferenceSet]:
    rng = np.random.default_rng(6)
    columns = {
        "heavy": rng.normal(size=ROWS),
        "light": rng.normal(size=ROWS),
        "idle": rng.normal(size=ROWS),
        "city": np.array(["a", "b"], object)[rng.integers(0, 2, ROWS)],
    }
    return columns, ReferenceSet.build(columns, columns["heavy"] + 0.1 * columns["light"])


def test_the_feature_that_moved_the_score_is_first(
    world: tuple[dict[str, np.ndarray], ReferenceSet],
) -> None:
    columns, reference = world
    moved = {**columns, "light": columns["light"] + 1.0, "heavy": columns["heavy"] - 0.5,
             "idle": columns["idle"] + 2.0}  # fmt: skip
    found = rank(reference, reference.counts(moved))
    assert [c.name for c in found[:2]] == ["heavy", "light"]
    assert found[0].change == pytest.approx(-0.5, abs=0.05)
    assert found[1].change == pytest.approx(0.1, abs=0.03)
    assert all(abs(c.change) < 0.02 for c in found[2:])


def test_what_to_compare_with_can_be_said(
    world: tuple[dict[str, np.ndarray], ReferenceSet],
) -> None:
    """A segment is compared with its own past, not with the others."""
    columns, reference = world
    own = {n: values[columns["heavy"] > 0] for n, values in columns.items()}
    before = reference.counts(own)
    assert rank(reference, before)[0].change > 0.5
    assert all(c.change == 0.0 for c in rank(reference, before, before=before))


def test_the_mean_score_of_training_is_known(
    world: tuple[dict[str, np.ndarray], ReferenceSet],
) -> None:
    columns, reference = world
    mean = float(np.mean(columns["heavy"] + 0.1 * columns["light"]))
    assert mean_score(reference) == pytest.approx(mean, abs=1e-12)
    assert mean_score(reference.distributions()) is None


def test_without_mean_scores_nothing_is_ranked(
    world: tuple[dict[str, np.ndarray], ReferenceSet],
) -> None:
    columns, reference = world
    assert rank(reference.distributions(), reference.counts(columns)) == ()


def test_mean_scores_survive_the_bytes(
    world: tuple[dict[str, np.ndarray], ReferenceSet],
) -> None:
    _, reference = world
    again = ReferenceSet.from_bytes(reference.to_bytes())
    assert again.score_means.keys() == reference.score_means.keys()
    assert all((again.score_means[n] == m).all() for n, m in reference.score_means.items())
