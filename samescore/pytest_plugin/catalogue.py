"""Every check that a configuration asks for, without opening anything: collecting must be cheap."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from consistency.bundle import open_bundle
from consistency.errors import ConfigError, SamescoreError
from consistency.laws import Law
from samescore.pytest_plugin.configuring.settings import BundleSettings, PipelineSettings, Settings
from samescore.pytest_plugin.telling.findings import Finding

LAWS, GOLDEN, REPLAY = "laws", "golden", "replay"
ENVIRONMENT, STORAGE, SCORER = "environment", "storage", "scorer"

_ENVIRONMENT_NAMES: Final = (
    "files", "pipeline", "python", "packages", "cpu", "threads", "device",
)  # fmt: skip
_SCORER_NAMES: Final = (
    "batch_size_invariant", "order_invariant", "repeatable", "thread_invariant",
)  # fmt: skip
_THREADS_NAME: Final = "thread_invariant"
"""Starts a process for each number of threads by itself."""
_DEVICES_NAME: Final = "device_invariant"


@dataclass(frozen=True, slots=True)
class Check:
    """One check of one subject.

    Attributes:
        group: the kind of check; name: within it; subject: the table's name.
        line: of the table in the configuration, from 1; 0 when it is not known.
        run: carries it out.
        fresh: whether it needs a process of its own: it loads a model, and what another test did
            to threads or libraries must not show in its scores.
        left_out: the reason that the configuration gives for skipping it, else empty.
    """

    group: str
    name: str
    subject: str
    line: int
    run: Callable[[], Finding]
    fresh: bool = False
    left_out: str = ""

    @property
    def item(self) -> str:
        """The item's name within its group: ``pure[rides]``."""
        return f"{self.name}[{self.subject}]"


def every_check(settings: Settings) -> list[Check]:
    """Return the checks in the order in which they tell most: bundle, pipeline, model, log.

    Raises:
        ConfigError: a `skip` names no check.
    """
    checks: list[Check] = []
    for bundle in settings.bundles:
        checks += _with_skips(settings, "bundles", bundle.skip, list(_of_bundle(settings, bundle)))
    for pipeline in settings.pipelines:
        own = list(_laws(settings, pipeline))
        checks += _with_skips(settings, "pipelines", pipeline.skip, own)
    for log in settings.logs:
        run = _later("replays", "check_replay", settings, log)
        own = [Check(REPLAY, "log", log.name, log.line, run, fresh=True)]
        checks += _with_skips(settings, "logs", log.skip, own)
    return checks


def _of_bundle(settings: Settings, of: BundleSettings) -> Iterator[Check]:
    for name in _ENVIRONMENT_NAMES:
        run = _later("environment", f"check_{name}", settings, of)
        yield Check(ENVIRONMENT, name, of.name, of.line, run)
    if _may_have_pipeline(of):
        yield from _laws(settings, of)
    run = _later("golden", "check_golden", settings, of)
    yield Check(GOLDEN, "gate", of.name, of.line, run, fresh=True)
    run = _later("storage", "check_forms", settings, of)
    yield Check(STORAGE, "round_trips", of.name, of.line, run, fresh=True)
    names = _SCORER_NAMES + (_DEVICES_NAME,) * (len(of.devices) > 1)
    for name in names:
        run = _later("scorer", f"check_{name}", settings, of)
        yield Check(SCORER, name, of.name, of.line, run, fresh=name != _THREADS_NAME)


def _laws(settings: Settings, of: BundleSettings | PipelineSettings) -> Iterator[Check]:
    for law in Law:
        if law is Law.MISSING_VALUES_DISTINCT and of.laws.distinct == ():
            continue  # the team said that its pipeline tells no missing values apart
        name = law.value.replace(" ", "_")
        run = _later("pipeline_laws", "check_own", settings, of, law)
        yield Check(LAWS, name, of.name, of.line, run)
    if of.laws.generated:
        for name in _GENERATED:
            run = _later("pipeline_laws", "check_generated", settings, of, name)
            yield Check(LAWS, name, f"{of.name}-generated", of.line, run)


_GENERATED: Final = (
    *(
        law.value.replace(" ", "_")
        for law in (
            Law.SCHEMA,
            Law.PURE,
            Law.NO_MUTATION,
            Law.ROWS_INDEPENDENT,
            Law.BATCH_INVARIANT,
        )
    ),
    "hostile_refused",
)


def _may_have_pipeline(of: BundleSettings) -> bool:
    """Return False only for a bundle that can be read and says that it has none."""
    try:
        return open_bundle(of.path).manifest.pipeline is not None
    except SamescoreError:
        return True  # its items then say what is wrong with it


def _later(module: str, function: str, *given: object) -> Callable[[], Finding]:
    """Return a call whose module is imported when it is made."""
    return partial(_call, module, function, given)


def _call(module: str, function: str, given: tuple[object, ...]) -> Finding:
    found = importlib.import_module(f"samescore.pytest_plugin.checks.{module}")
    finding = getattr(found, function)(*given)
    assert isinstance(finding, Finding)
    return finding


def _with_skips(
    settings: Settings, kind: str, skip: Mapping[str, str], checks: list[Check]
) -> list[Check]:
    """Give checks their reasons for being left out."""
    known = {f"{c.group}::{c.name}" for c in checks} | {c.group for c in checks}
    for name in skip:
        if name not in known:
            raise ConfigError(
                f"{settings.source}: [{kind}.{checks[0].subject}.skip] {name!r}: there is no such "
                f"check here; known: {', '.join(sorted(known))}"
            )
    return [_left_out(c, skip.get(f"{c.group}::{c.name}") or skip.get(c.group, "")) for c in checks]


def _left_out(check: Check, reason: str) -> Check:
    return Check(check.group, check.name, check.subject, check.line, check.run, check.fresh, reason)
