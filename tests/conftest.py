from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.fixtures.tiny import PACKAGE, SOURCE, Tiny, build_tiny

# Other processes share the cores: a slow example is no failure. The same examples every time: a red
# test stays red until it is mended.
settings.register_profile("house", deadline=None, derandomize=True)
settings.load_profile("house")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tiny]:
    """A tiny real bundle, made once; tests that change it copy it first."""
    root = tmp_path_factory.mktemp("tiny")
    site = root / "site"
    site.mkdir()
    shutil.copyfile(SOURCE, site / SOURCE.name)
    sys.path.insert(0, str(site))
    try:
        yield build_tiny(site, root / "models")
    finally:
        sys.path.remove(str(site))
        sys.modules.pop(PACKAGE, None)
