from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.fixtures.figures import show_figures, tell
from tests.fixtures.longest_first import longest_first
from tests.fixtures.one_thread import tensorflow_on_one_thread
from tests.fixtures.shuffled import shuffle
from tests.fixtures.time_limit import time_limit
from tests.fixtures.tiny import PACKAGE, SOURCE, Tiny, build_tiny

# Other processes share the cores: a slow example is no failure. The same examples every time: a red
# test stays red until it is mended.
settings.register_profile("house", deadline=None, derandomize=True)
settings.load_profile("house")
__all__ = ["tell", "tiny"]
# Model libraries read it when they are loaded: OpenMP threads that spin while they wait take the
# cores from the processes that the tests talk to.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Nor does TensorFlow's report of a missing GPU belong between the lines of a run.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
tensorflow_on_one_thread()
# Some tests use ONNX Runtime beside the loader, which switches its telemetry off by itself.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--shuffle",
        type=int,
        metavar="SEED",
        help="Run files, and the tests of each, in an order of chance.",
    )


def pytest_configure() -> None:
    """Make the surroundings what tests expect, however pytest was started.

    The main module has a file, as it has everywhere but in a worker of pytest-xdist: without one
    pyspark, which great_expectations imports, takes us for its own doctests and exits. And Ctrl-C
    ends the processes that tests start: a shell's background job hands down that it is ignored.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    main = sys.modules["__main__"]
    if not hasattr(main, "__file__"):
        main.__file__ = str(Path(pytest.__file__).with_name("__main__.py"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    with time_limit(f"the fixtures of {item.nodeid}"):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    with time_limit(item.nodeid):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    with time_limit(f"the end of {item.nodeid}"):
        return (yield)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    show_figures(terminalreporter)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    seed = config.getoption("shuffle")
    if seed is None:
        longest_first(items)
    else:
        shuffle(items, seed)


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
