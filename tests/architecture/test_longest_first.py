"""A file that was moved must not lose its place among those that are begun first."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fixtures.longest_first import LONGEST

TESTS = Path(__file__).parents[1]


@pytest.mark.parametrize("name", LONGEST)
def test_a_file_that_is_begun_first_is_there(name: str) -> None:
    assert (TESTS / name).is_file()
