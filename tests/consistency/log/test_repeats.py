from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consistency.log.repeats import Suspects, convicted


def repeated(ids: list[str], sorted_at_once: int) -> list[str]:
    with Suspects(sorted_at_once) as suspects:
        for one in ids:
            suspects.add(one)
        return convicted(ids, suspects.hashes(10_000))


@settings(deadline=None)
@given(st.lists(st.sampled_from([f"r-{i}" for i in range(30)])), st.sampled_from([1, 3, 1000]))
def test_ids_met_twice_are_found_however_few_are_sorted_at_once(ids: list[str], few: int) -> None:
    assert set(repeated(ids, few)) == {i for i, times in Counter(ids).items() if times > 1}


def test_no_id_is_convicted_by_its_hash_alone() -> None:
    with Suspects() as suspects:
        suspects.add("a")
        suspects.add("a")
        hashes = suspects.hashes(10)
    assert convicted(["a", "b"], hashes) == []
    assert convicted(["a", "b", "a", "b", "a"], hashes) == ["a"]


@pytest.mark.parametrize("most", [0, 3, 100])
def test_so_many_are_named_at_most(most: int) -> None:
    with Suspects(16) as suspects:
        for i in range(200):
            suspects.add(f"r-{i % 50}")
        assert len(suspects.hashes(most)) == min(most, 50)


def test_an_empty_log_repeats_nothing() -> None:
    assert repeated([], 10) == []


def test_more_ids_than_one_block() -> None:
    ids = [f"r-{i}" for i in range(150_000)]
    assert repeated([*ids, "r-77", "r-149999"], 40_000) == ["r-77", "r-149999"]
