"""Storage round trips of a bundle's real feature rows: which forms may a team rely on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from consistency.errors import ConfigError
from consistency.features import FeatureBatch
from consistency.scored import Scores
from consistency.storage import (
    FormResult,
    StorageReport,
    StorageVerdict,
    check_storage,
    forms_named,
)
from samescore.pytest_plugin.checks.subjects import load_model, of_bundle, opened
from samescore.pytest_plugin.configuring.settings import BundleSettings, Settings
from samescore.pytest_plugin.telling.findings import Evidence, Finding, Verdict, digits, distance
from samescore.storage.forms import all_forms

_SIDES: Final = ("stored", "read back")


def check_forms(settings: Settings, of: BundleSettings) -> Finding:
    """Send the golden feature rows through every form; those the team relies on must be safe.

    Raises:
        SamescoreError: the bundle cannot be opened, its model not loaded, or a form is unknown.
    """
    bundle = opened(of)
    relied = _relied_on(of.storage)
    golden = bundle.golden()
    installed = of_bundle(of, bundle, settings.trusted)
    features = golden.features
    if installed is not None and golden.records is not None:
        features = installed.bound(golden.records)
    if not features.rows:
        raise ConfigError(f"bundle {of.path} holds no golden row; bundle it with some")
    scorer = load_model(bundle, of.threads[0], of.devices[0], settings.trust)

    def score(batch: FeatureBatch) -> Scores:
        return bundle.manifest.postprocess(scorer.score(batch))

    report = check_storage(features, all_forms(), score=score, decimals=settings.decimals)
    kept = (StorageVerdict.EVERY_BIT, StorageVerdict.DECIMALS, StorageVerdict.PRESENCE_LOST)
    broken = [f for f in report.forms if f.form_id in relied and f.verdict not in kept]
    return _broken(report, broken) if broken else _kept(report, relied)


def _relied_on(ids: Sequence[str]) -> set[str]:
    """Return the ids of the forms that are named; a group's name that is no form's means all."""
    known = {f.id for f in all_forms()}
    exact = {name for name in ids if name in known}
    groups = tuple(name for name in ids if name not in known)
    return exact | ({f.id for f in forms_named(all_forms(), groups)} if groups else set())


def _kept(report: StorageReport, relied: set[str]) -> Finding:
    safe = sum(f.verdict.safe for f in report.forms)
    text = f"storage: {safe} of {len(report.forms)} forms are safe for {report.rows} rows"
    relies = f"; relied on: {', '.join(sorted(relied))}" if relied else ""
    # values and scores are kept; whether a reader takes a gap for another one is his to know
    turned = [
        f"{form.form_id} keeps values and scores, but confuses gaps: {form.worst()}"
        for form in report.forms
        if form.form_id in relied and form.verdict is StorageVerdict.PRESENCE_LOST
    ]
    return Finding(
        Verdict.PASSED,
        text + relies,
        notes=[report.table()],
        warnings=turned,
        properties=_facts(report),
    )


def _broken(report: StorageReport, broken: list[FormResult]) -> Finding:
    form = broken[0]
    names = ", ".join(f"{f.form_id} ({f.verdict})" for f in broken)
    return Finding(
        Verdict.FAILED,
        f"storage: {report.rows} feature rows are not safe in {names}",
        _evidence(form),
        cause=f"proven: {form.title}: {form.loses or form.reason or form.worst()}",
        notes=["", *report.table().splitlines()],
        properties={**_facts(report), "form": form.form_id},
    )


def _evidence(form: FormResult) -> Evidence | None:
    for feature in form.moved:
        if feature.first is not None:
            before, after = feature.first.before, feature.first.after
            sizes = distance(before, after)
            return Evidence(
                feature.first.row, "features", feature.name, digits(before), digits(after),
                _SIDES, *sizes,
            )  # fmt: skip
        for turned in feature.turned[:1]:
            return Evidence(
                turned.first_row, "features", feature.name, turned.before, turned.after, _SIDES
            )
    return None


def _facts(report: StorageReport) -> dict[str, float | int | str]:
    facts: dict[str, float | int | str] = {"rows": report.rows, "decimals": report.decimals}
    return facts | {f"form.{f.form_id}": f.verdict.value for f in report.forms}
