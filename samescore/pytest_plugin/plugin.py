"""The entry point: sleeps until a `samescore.toml` or a hook in a `conftest.py` wakes it.

Nothing is imported here but pytest and the standard library.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from samescore.pytest_plugin.nodes import ConfigFile

CONFIG_FILE: Final = "samescore.toml"
CONFTEST: Final = "conftest.py"
HOOK: Final = "pytest_samescore_config"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the plugin's options."""
    group = parser.getgroup("samescore", "checks of feature pipelines, bundles and request logs")
    group.addoption(
        "--samescore-config",
        metavar="FILE",
        help="The configuration to collect checks from (default: each samescore.toml that is "
        "found in the folders that are collected, and the one in the root folder).",
    )
    group.addoption(
        "--samescore-strict",
        action="store_true",
        help="A check that could not run fails instead of being skipped (as strict = true).",
    )


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Make the hook for `conftest.py` known."""
    from samescore.pytest_plugin import hooks

    pluginmanager.add_hookspecs(hooks)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and add the configuration to what is collected."""
    config.addinivalue_line(
        "markers", "samescore: a check that samescore collects from its configuration"
    )
    given = config.getoption("--samescore-config")
    if given is not None:
        path = config.invocation_params.dir / given
        if not path.is_file():
            raise pytest.UsageError(f"--samescore-config {given}: no such file")
        _add_once(config, path)
    elif config.args_source is config.ArgsSource.TESTPATHS:
        # what `testpaths` names need not hold the root folder, where the configuration stands
        for path in (config.rootpath / CONFIG_FILE, config.rootpath / CONFTEST):
            if path.is_file() and (path.name == CONFIG_FILE or _implements(config, path)):
                _add_once(config, path)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> ConfigFile | None:
    """Turn a configuration into a collector."""
    given = parent.config.getoption("--samescore-config")
    if given is not None:
        wanted = parent.config.invocation_params.dir / given
        return _collector(parent, file_path) if file_path.samefile(wanted) else None
    if file_path.name == CONFIG_FILE:
        return _collector(parent, file_path)
    if file_path.name == CONFTEST and _implements(parent.config, file_path):
        return _collector(parent, file_path)
    return None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say aloud what was not checked and what differs, and annotate where CI understands it."""
    kinds = [terminalreporter.stats.get(kind, []) for kind in ("failed", "skipped", "passed")]
    reports = [r for found in kinds for r in found if isinstance(r, pytest.TestReport)]
    ours = [r for r in reports if "samescore" in r.keywords]
    if ours:
        from samescore.pytest_plugin.telling.summary import tell

        tell(terminalreporter, ours)


def _collector(parent: pytest.Collector, path: Path) -> ConfigFile:
    from samescore.pytest_plugin.nodes import ConfigFile

    collector: ConfigFile = ConfigFile.from_parent(parent, path=path)
    if path.name == CONFTEST:
        hook = getattr(parent.config.pluginmanager.get_plugin(str(path)), HOOK)
        collector.table = hook(config=parent.config)
    return collector


def _implements(config: pytest.Config, path: Path) -> bool:
    return hasattr(config.pluginmanager.get_plugin(str(path)), HOOK)


def _add_once(config: pytest.Config, path: Path) -> None:
    """Add a file to what is collected, unless a folder above it is collected anyway."""
    started = config.invocation_params.dir
    held = [(started / arg.partition("::")[0]).resolve() for arg in config.args]
    if not any(path.resolve().is_relative_to(h) for h in held):
        config.args.append(str(path))
