"""Tables of the smooth weighted round robin."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consistency.errors import ConfigError
from serving.backends.balancing import SmoothRoundRobin


def turns(balancer: SmoothRoundRobin, count: int, among: range) -> str:
    return "".join("abcdef"[balancer.choose(among) or 0] for _ in range(count))


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ([1], "aaa"),
        ([1, 1], "ababab"),
        ([1, 1, 1], "abcabc"),
        ([5, 1, 1], "aabacaa"),
        ([4, 2, 1], "abacaba"),
        ([1, 2], "babbab"),
    ],
)
def test_the_table(weights: list[int], expected: str) -> None:
    assert turns(SmoothRoundRobin(weights), len(expected), range(len(weights))) == expected


@given(st.lists(st.integers(1, 20), min_size=1, max_size=6))
def test_in_a_whole_cycle_each_has_exactly_its_weight(weights: list[int]) -> None:
    balancer = SmoothRoundRobin(weights)
    chosen = Counter(balancer.choose(range(len(weights))) for _ in range(sum(weights)))
    assert chosen == dict(enumerate(weights))


def test_who_is_out_is_passed_over_and_the_others_share() -> None:
    balancer = SmoothRoundRobin([2, 1, 1])
    chosen = Counter(balancer.choose([1, 2]) for _ in range(10))
    assert chosen == {1: 5, 2: 5}
    assert balancer.choose([]) is None


def test_a_failure_halves_a_share_and_each_success_gives_half_back() -> None:
    balancer = SmoothRoundRobin([8, 8])
    shares = [share.effective for share in balancer._shares]
    assert shares == [8, 8]
    seen = []
    for _ in range(5):
        balancer.failed(0)
        seen.append(balancer._shares[0].effective)
    assert seen == [4, 2, 1, 1, 1]
    seen = []
    for _ in range(5):
        balancer.succeeded(0)
        seen.append(balancer._shares[0].effective)
    assert seen == [5, 7, 8, 8, 8]


def test_who_comes_back_is_not_flooded() -> None:
    balancer = SmoothRoundRobin([8, 8])
    for _ in range(5):
        balancer.choose([1])
    balancer.begin_small(0)
    chosen = Counter(balancer.choose([0, 1]) for _ in range(18))
    assert chosen == {0: 2, 1: 16}


@pytest.mark.parametrize(
    ("weights", "said"),
    [([], "at least one instance"), ([0], "backend weight 0"), ([1001], "from 1 to 1000")],
)
def test_an_impossible_weight_is_refused(weights: list[int], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        SmoothRoundRobin(weights)
