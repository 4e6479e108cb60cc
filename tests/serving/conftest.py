from __future__ import annotations

from dataclasses import replace

import pytest

from serving.core.state import ServableId
from serving.servable import BundleLoader, LoadSettings, Servable
from tests.fixtures.tiny import PACKAGE, Tiny


@pytest.fixture(scope="session")
def settings(tiny: Tiny) -> LoadSettings:
    """How the tiny bundle is loaded."""
    return LoadSettings(frozenset({PACKAGE}), tiny.store)


@pytest.fixture(scope="session")
def loaded(tiny: Tiny, settings: LoadSettings) -> Servable:
    """The tiny bundle, loaded and gated."""
    return BundleLoader(ServableId("tiny", 1), tiny.bundle, settings).load()


@pytest.fixture
def servable(loaded: Servable) -> Servable:
    """The same, to be changed."""
    return replace(loaded)
