"""The golden gate, as the server runs it before a version goes live."""

from __future__ import annotations

from consistency.gate import run_gate
from samescore.pytest_plugin.checks.subjects import load_model, of_bundle, opened, other_features
from samescore.pytest_plugin.configuring.settings import BundleSettings, Settings
from samescore.pytest_plugin.telling.findings import Finding, Verdict
from samescore.pytest_plugin.telling.golden_failure import GoldenFailure, gate_facts


def check_golden(settings: Settings, of: BundleSettings) -> Finding:
    """Reproduce a bundle's golden rows with the installed pipeline, at three batch sizes.

    Raises:
        SamescoreError: the bundle cannot be opened, or its model not loaded.
    """
    bundle = opened(of)
    installed = of_bundle(of, bundle, settings.trusted)
    golden = bundle.golden()
    if not golden.rows:
        return Finding(Verdict.FAILED, f"golden gate: bundle {of.path} holds no golden row")
    if installed is not None:
        other = other_features(bundle, installed)
        if other:
            return Finding(Verdict.FAILED, f"golden gate: {other}")
    scorer = load_model(bundle, of.threads[0], of.devices[0], settings.trust)
    report = run_gate(
        golden,
        None if installed is None else installed.bound,
        scorer,
        bundle.manifest.postprocess,
        decimals=bundle.manifest.gate_decimals,
        max_batch=of.max_batch,
    )
    if report.passed:
        text = f"golden gate: {golden.rows} rows to {report.decimals} decimals"
        return Finding(Verdict.PASSED, text, properties=gate_facts(report))
    return GoldenFailure(bundle, golden, installed, scorer, report).finding()
