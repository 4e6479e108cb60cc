"""The hook by which a `conftest.py` configures samescore's checks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # a sleeping plugin imports nothing of the house
    from consistency.jsontype import Json


@pytest.hookspec
def pytest_samescore_config(config: pytest.Config) -> Mapping[str, Json]:  # type: ignore[empty-body]  # a specification has none
    """Return what a `samescore.toml` beside this `conftest.py` would hold.

        def pytest_samescore_config(config):
            return {"trusted": ["ride_features"], "bundles": {"rides": {"path": "models/rides/1"}}}

    Relative paths start from the folder of the `conftest.py`.
    """
