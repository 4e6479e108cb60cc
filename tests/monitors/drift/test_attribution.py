"""Attribution by intervention: it finds the cause that was planted, and adds up."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from monitors.drift.attribution import Attribution, attribute, evaluations
from monitors.drift.putting_back import put_back
from monitors.reference import ReferenceSet

ROWS = 1_500
Columns = dict[str, np.ndarray]


def model(columns: Columns) -> np.ndarray:
    """A score in which two features act together."""
    together = columns["a"] * (columns["b"] > 0)
    return 1 / (1 + np.exp(-(together + 0.5 * columns["c"])))


def world(rows: int, seed: int) -> Columns:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=rows) for name in ("a", "b", "c", "idle")}


def explained(change: Callable[[Columns], Columns]) -> Attribution:
    training = world(20_000, 1)
    reference = ReferenceSet.build(training, model(training))
    window = change(world(ROWS, 2))
    held = {}
    for name, values in window.items():
        each = reference.features[name]
        shares = each.training_counts / each.training_counts.sum()
        held[name] = put_back(values, each, shares, training[name][:200])
    asked: list[frozenset[str]] = []

    def intervene(back: frozenset[str]) -> np.ndarray:
        asked.append(back)
        return model({n: held[n] if n in back else v for n, v in window.items()})

    found = attribute(list(window), intervene, reference.scores[0], noise_psi=0.02)
    assert len(asked) <= evaluations(len(window))
    return found


def test_the_feature_that_moved_the_score_is_proven_and_alone() -> None:
    found = explained(lambda w: {**w, "c": w["c"] + 1.5, "idle": w["idle"] + 3.0})
    first = found.causes[0]
    assert (first.name, first.proven) == ("c", True)
    assert [c.name for c in found.causes if c.proven] == ["c"]
    assert first.psi_alone < 0.02 < found.psi
    assert [s.name for s in found.steps] == ["c"]
    idle = next(c for c in found.causes if c.name == "idle")
    assert idle.contribution == 0.0, "it drifted most, and moved nothing"
    assert idle.psi_alone == found.psi


def test_contributions_add_up_to_what_all_of_them_change() -> None:
    found = explained(lambda w: {**w, "a": w["a"] + 1, "b": w["b"] + 1, "c": w["c"] - 0.4})
    total = sum(c.contribution for c in found.causes)
    assert total == pytest.approx(found.mean - found.mean_back, abs=1e-12)
    by_name = {c.name: c for c in found.causes}
    assert by_name["a"].contribution > 0 > by_name["c"].contribution
    assert by_name["b"].contribution > 0.01, "it acts together with a"
    assert found.steps[-1].psi < found.psi


def test_the_same_window_is_explained_alike() -> None:
    def change(window: Columns) -> Columns:
        return {**window, "a": window["a"] + 1}

    assert explained(change) == explained(change)


def test_how_features_go_together_is_no_feature_s_doing() -> None:
    """The margins are as in training; only their dependence is new."""

    def together(window: Columns) -> Columns:
        order = np.argsort(np.argsort(window["b"]))
        return {**window, "a": np.sort(window["a"])[order]}

    found = explained(together)
    assert found.psi > 0.05
    assert all(c.psi_alone > 0.8 * found.psi for c in found.causes)
    assert found.psi_back > 0.8 * found.psi


def test_nothing_to_put_back_is_told() -> None:
    training = world(2_000, 1)
    reference = ReferenceSet.build(training, model(training))
    found = attribute([], lambda _: model(world(500, 2)), reference.scores[0], 0.05)
    assert (found.causes, found.steps, found.rows) == ((), (), 500)
    assert found.psi == found.psi_back
