"""Which features' drift moved the score."""

from __future__ import annotations

import numpy as np
import pytest

from monitors.errors import MonitorError
from monitors.reference import ReferenceSet
from monitors.thresholds.ranking import rank, rank_segments

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


def test_a_segment_has_a_ranking_of_its_own(
    world: tuple[dict[str, np.ndarray], ReferenceSet],
) -> None:
    columns, reference = world
    moved = {**columns, "heavy": columns["heavy"] + np.where(columns["city"] == "b", 1.0, 0.0)}
    found = {s.segment: s for s in rank_segments(reference, moved, "city")}
    assert found.keys() == {"a", "b"}
    assert found["b"].ranking[0].name == "heavy"
    assert found["b"].ranking[0].change > 0.8
    assert abs(found["a"].ranking[0].change) < 0.05
    with pytest.raises(MonitorError, match=r"segments by 'heavy': no category .* it has city"):
        rank_segments(reference, moved, "heavy")


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
