from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consistency.errors import ConfigError
from consistency.log.sampling import Sampling, keeps
from consistency.scored import Outcome

PINNED = [0, 6, 7, 8, 10, 15, 16, 19, 25, 27]
KEYS = [f"user-{i}" for i in range(20_000)]


@pytest.mark.parametrize("ratio", [0.01, 0.1, 0.5, 0.9])
def test_the_share_that_is_kept_is_the_ratio(ratio: float) -> None:
    kept = sum(keeps(key, ratio) for key in KEYS)
    spread = (len(KEYS) * ratio * (1 - ratio)) ** 0.5
    assert abs(kept - ratio * len(KEYS)) < 4 * spread


@given(st.text(st.characters()), st.floats(0, 1), st.floats(0, 1))
def test_a_key_that_a_smaller_sample_holds_is_in_every_larger_one(
    key: str, one: float, other: float
) -> None:
    small, large = sorted((one, other))
    assert keeps(key, large) or not keeps(key, small)
    assert keeps(key, 1.0)
    assert not keeps(key, 0.0)


def test_the_hash_is_pinned_for_other_machines_and_later_versions() -> None:
    kept = [i for i in range(40) if keeps(f"user-{i}", 0.25)]
    assert kept == PINNED


def test_errors_are_all_kept_unless_told_otherwise() -> None:
    sampling = Sampling(0.1)
    assert sampling.ratio_of(Outcome.OK) == 0.1
    for outcome in set(Outcome) - {Outcome.OK}:
        assert sampling.ratio_of(outcome) == 1
        assert Sampling(0.1, 0.5).ratio_of(outcome) == 0.5
    assert not sampling.is_whole
    assert Sampling().is_whole


@pytest.mark.parametrize("ratios", [(-0.1, 1), (1.1, 1), (0.5, 2), (float("nan"), 1)])
def test_a_ratio_out_of_range_is_refused(ratios: tuple[float, float]) -> None:
    with pytest.raises(ConfigError, match="give a share from 0 to 1"):
        Sampling(*ratios)
