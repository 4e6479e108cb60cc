"""Invariance of a bundle's model: batch size, order, repeats, threads and device move no score."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from consistency.bundle import Bundle
from consistency.errors import ConfigError
from consistency.features import FeatureBatch
from consistency.laws import LawNotRunError
from consistency.laws.invariance import Invariance, ScorerLaw, ScorerViolation
from consistency.laws.scorer import (
    check_batch_size_invariance,
    check_device_invariance,
    check_order_invariance,
    check_repeatability,
    check_thread_invariance,
)
from consistency.protocols import Scorer
from samescore.pytest_plugin.apart import ApartScorer
from samescore.pytest_plugin.checks.subjects import load_model, opened
from samescore.pytest_plugin.configuring.settings import BundleSettings, Settings
from samescore.pytest_plugin.telling.findings import Evidence, Finding, Verdict, digits


def check_batch_size_invariant(settings: Settings, of: BundleSettings) -> Finding:
    """Check that the size of the batch moves no score."""
    return _on_model(
        settings,
        of,
        lambda model, rows: check_batch_size_invariance(
            model, rows, of.batch_sizes, decimals=settings.decimals
        ),
    )


def check_order_invariant(settings: Settings, of: BundleSettings) -> Finding:
    """Check that the order of a batch, and who shares it, moves no score."""
    return _on_model(
        settings,
        of,
        lambda model, rows: check_order_invariance(model, rows, decimals=settings.decimals),
    )


def check_repeatable(settings: Settings, of: BundleSettings) -> Finding:
    """Check that scoring again gives the same again."""
    return _on_model(
        settings,
        of,
        lambda model, rows: check_repeatability(model, rows, decimals=settings.decimals),
    )


def check_thread_invariant(settings: Settings, of: BundleSettings) -> Finding:
    """Check that the number of threads moves no score.

    Each number has a process of its own: some libraries take it only once.
    """
    bundle = opened(of)

    def load(threads: int) -> Scorer:
        return ApartScorer(bundle.path, threads, of.devices[0], settings.trust)

    return _judged(
        lambda: check_thread_invariance(
            load, _features(bundle), of.threads, decimals=settings.decimals
        )
    )


def check_device_invariant(settings: Settings, of: BundleSettings) -> Finding:
    """Check that the device moves no score."""
    bundle = opened(of)

    def load(device: str) -> Scorer:
        return load_model(bundle, of.threads[0], device, settings.trust)

    return _judged(
        lambda: check_device_invariance(
            load, _features(bundle), of.devices, decimals=settings.decimals
        )
    )


def _on_model(
    settings: Settings, of: BundleSettings, check: Callable[[Scorer, FeatureBatch], Invariance]
) -> Finding:
    bundle = opened(of)
    model = load_model(bundle, of.threads[0], of.devices[0], settings.trust)
    return _judged(lambda: check(model, _features(bundle)))


def _features(bundle: Bundle) -> FeatureBatch:
    """Return the golden feature rows as the bundle holds them: the model alone is judged."""
    features = bundle.golden().features
    if not features.rows:
        raise ConfigError(f"bundle {bundle.path} holds no golden row; bundle it with some")
    return features


def _judged(check: Callable[[], Invariance]) -> Finding:
    try:
        kept = check()
    except ScorerViolation as e:
        return _violated(e)
    except LawNotRunError as e:
        return Finding(Verdict.NOT_RUN, str(e))
    facts: dict[str, float | int | str] = {
        "rows": sum(s.comparison.rows for s in kept.situations),
        "situations": len(kept.situations),
        "agree_ratio": min(s.comparison.agree_ratio for s in kept.situations),
        "bit_identical_ratio": min(s.comparison.identical_ratio for s in kept.situations),
        "max_abs_diff": kept.max_abs_diff,
    }
    return Finding(Verdict.PASSED, str(kept), properties=facts)


def _violated(violation: ScorerViolation) -> Finding:
    found, first = violation.comparison, violation.difference
    facts: dict[str, float | int | str] = {"law": violation.law.value}
    summary = f"the model is not {violation.law}: {violation.situation}"
    if found.rows:
        facts |= {"rows": found.rows, "agree_ratio": found.agree_ratio}
        facts |= {"max_abs_diff": found.max_abs_diff, "max_ulps": found.max_ulps}
        summary += f", {found.rows - found.rows_agreeing} of {found.rows} rows differ"
    evidence = None
    if violation.row is not None or violation.expected is not violation.got:
        evidence = Evidence(
            -1 if violation.row is None else violation.row,
            "outputs",
            violation.feature or "",
            digits(violation.expected),
            digits(violation.got),
            ("expected", "got"),
            None if first is None else first.abs_diff,
            -1 if first is None else first.ulps,
        )
    cause = _CAUSES.get(violation.law.value, "")
    return Finding(Verdict.FAILED, summary, evidence, cause=cause, properties=facts)


_CAUSES: Final = {
    ScorerLaw.BATCH_SIZE_INVARIANT.value: "proven: batch_variance: only the batch size was "
    'changed. Bundle the model with execution "float64" or "padded:N"',
    ScorerLaw.ORDER_INVARIANT.value: "proven: only the order of the rows, or who shares the batch, "
    'was changed. Bundle the model with execution "float64" or "padded:1"',
    ScorerLaw.REPEATABLE.value: "proven: nothing was changed between two calls. Score with one "
    "thread, or set the library's deterministic mode",
    ScorerLaw.THREAD_INVARIANT.value: "proven: only the number of threads was changed. Fix it to "
    "one in serving and in replay",
    ScorerLaw.DEVICE_INVARIANT.value: "proven: only the device was changed. Replay on the device "
    'that serves, or bundle the model with execution "float64"',
}
