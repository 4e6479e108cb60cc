"""The environment here against the one that a bundle was made with: what differs fails or warns."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeAlias

from consistency.bundle import Manifest, verify_files
from consistency.bundle.reader import distribution_of
from consistency.digest import digest_sources
from consistency.environment import record_environment
from consistency.errors import BundleError
from samescore.pytest_plugin.checks.subjects import opened
from samescore.pytest_plugin.configuring.settings import BundleSettings, Level, Settings
from samescore.pytest_plugin.telling.findings import Finding, Verdict, labelled
from serving.loaders import format_named

_SHOWN: Final = 12

_Differences: TypeAlias = list[tuple[Level, str]]


def check_files(_: Settings, of: BundleSettings) -> Finding:
    """Check that the bundle's files are those that its manifest names."""
    bundle = opened(of)
    try:
        verify_files(bundle)
    except BundleError as e:
        return Finding(Verdict.FAILED, f"the bundle's files: {e}")
    files = len(bundle.manifest.files)
    return Finding(Verdict.PASSED, f"{files} files are as written", properties={"files": files})


def check_pipeline(_: Settings, of: BundleSettings) -> Finding:
    """Check that the installed pipeline is the very one of the bundle, by digest."""
    ref = opened(of).manifest.pipeline
    if ref is None:
        return Finding(Verdict.PASSED, "the model is sent feature rows: it has no pipeline")
    got = digest_sources(ref.package)
    if got == ref.digest:
        return Finding(Verdict.PASSED, f"pipeline {ref.package} is the bundle's ({got})")
    text = (
        f"sources of {ref.package} in the bundle: {ref.digest} ({ref.distribution})\n"
        f"sources of {ref.package} here: {got} ({distribution_of(ref.package)})"
    )
    remedy = (
        "a server refuses this pair; the items of golden and replay say what the change does. "
        "Bundle the model anew, or install the sources that it was made with"
    )
    return _judged("pipeline", [(of.environment.pipeline, text)], remedy=remedy)


def check_python(_: Settings, of: BundleSettings) -> Finding:
    """Compare the Python versions."""
    there, here = str(opened(of).manifest.environment["python"]), record_environment().python
    levels = of.environment
    differences: _Differences = []
    if there.split(".")[:2] != here.split(".")[:2]:
        differences = [(levels.python, f"bundle {there}, here {here}")]
    elif there != here:
        differences = [(levels.python_patch, f"bundle {there}, here {here}")]
    return _judged("python", differences)


def check_packages(_: Settings, of: BundleSettings) -> Finding:
    """Compare the versions of installed packages, those that compute more strictly."""
    manifest, levels = opened(of).manifest, of.environment
    there: Mapping[str, str] = dict(manifest.environment["packages"])
    here = record_environment().packages
    compute = _computing(manifest, there, here) | {name.lower() for name in levels.names}
    differences: _Differences = []
    for name in sorted(there.keys() | here.keys(), key=lambda n: (n not in compute, n)):
        was, now = there.get(name), here.get(name)
        if was != now:
            level = levels.packages if name in compute else levels.other_packages
            differences.append((level, f"{name}: bundle {was or 'none'}, here {now or 'none'}"))
    counted = {"packages": len(here), "packages_that_compute": len(compute)}
    return _judged("packages", differences, counted)


def check_cpu(_: Settings, of: BundleSettings) -> Finding:
    """Compare the CPUs: other flags run other code paths of numpy and the model's library."""
    there, here = opened(of).manifest.environment, record_environment()
    found = []
    if there["cpu_model"] != here.cpu_model:
        found.append(f"model: bundle {there['cpu_model']}, here {here.cpu_model}")
    lost, new = _sets(there["cpu_flags"], here.cpu_flags)
    found += [f"flags only in the bundle's: {lost}"] if lost else []
    found += [f"flags only here: {new}"] if new else []
    return _judged("cpu", [(of.environment.cpu, text) for text in found])


def check_threads(_: Settings, of: BundleSettings) -> Finding:
    """Compare the environment variables that set thread counts."""
    there = dict(opened(of).manifest.environment["thread_settings"])
    here = record_environment().thread_settings
    found = [
        f"{name}: bundle {there.get(name, 'not set')}, here {here.get(name, 'not set')}"
        for name in sorted(there.keys() | here.keys())
        if there.get(name) != here.get(name)
    ]
    return _judged("threads", [(of.environment.threads, text) for text in found])


def check_device(_: Settings, of: BundleSettings) -> Finding:
    """Compare the device of the bundle with the one that the checks use."""
    there, here = str(opened(of).manifest.environment["device"]), of.devices[0]
    text = f"bundle {there}, here {here}"
    return _judged("device", [] if there == here else [(of.environment.device, text)])


ENVIRONMENT_CHECKS: Final[Mapping[str, Callable[[Settings, BundleSettings], Finding]]] = {
    "files": check_files,
    "pipeline": check_pipeline,
    "python": check_python,
    "packages": check_packages,
    "cpu": check_cpu,
    "threads": check_threads,
    "device": check_device,
}
"""Every check of the environment by the name of its item."""


def _computing(
    manifest: Manifest, there: Mapping[str, str], here: Mapping[str, str]
) -> frozenset[str]:
    """Return the distributions whose version can move a bit of this model's scores."""
    library = format_named(manifest.model_format).library
    provided = importlib.metadata.packages_distributions().get(library, [])
    names = {"numpy", *(name.lower() for name in provided)}
    # the bundle may have been made with another distribution of the same module: xgboost-cpu
    names |= {n for n in there if n == library or n.startswith(f"{library}-")}
    return frozenset(n for n in names if n in there or n in here)


def _judged(
    what: str,
    differences: _Differences,
    properties: Mapping[str, float | int | str] | None = None,
    remedy: str = "",
) -> Finding:
    failing = [text for level, text in differences if level is Level.FAIL]
    warning = [text for level, text in differences if level is Level.WARN]
    facts = {**(properties or {}), "differences": len(differences)}
    warnings = (f"{what}: {_shown(warning)}",) if warning else ()
    if not failing:
        text = f"{what}: {'as in the bundle' if not differences else 'differs, allowed'}"
        return Finding(Verdict.PASSED, text, warnings=warnings, properties=facts)
    more = [f"... and {len(failing) - _SHOWN} more"] if len(failing) > _SHOWN else []
    return Finding(
        Verdict.FAILED,
        f"{what}: the environment differs from the bundle's",
        notes=[labelled("differs", "\n".join([*failing[:_SHOWN], *more]))],
        warnings=warnings,
        remedy=remedy
        or f'install what the bundle was made with, bundle anew, or set {what} = "warn" in '
        "[environment]",
        properties=facts,
    )


def _shown(texts: list[str]) -> str:
    more = f"; and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return "; ".join(texts[:_SHOWN]) + more


def _sets(there: Iterable[str], here: Iterable[str]) -> tuple[str, str]:
    a, b = set(there), set(here)
    return " ".join(sorted(a - b)), " ".join(sorted(b - a))
