"""The law items: which pipeline, which records, which law."""

from __future__ import annotations

from consistency.bundle import Bundle
from consistency.errors import ConfigError
from consistency.laws import Law
from consistency.records import Record
from samescore.pytest_plugin.checks.laws import check_generated_law, check_hostile, check_law
from samescore.pytest_plugin.checks.subjects import Installed, of_bundle, of_pipeline, opened
from samescore.pytest_plugin.configuring.record_files import read_own_records
from samescore.pytest_plugin.configuring.settings import BundleSettings, PipelineSettings, Settings
from samescore.pytest_plugin.telling.findings import Finding


def check_own(settings: Settings, of: BundleSettings | PipelineSettings, law: Law) -> Finding:
    """Check one law on the team's own records.

    Raises:
        SamescoreError: the pipeline cannot be bound, or no record can be read.
    """
    installed, bundle = _subject(settings, of)
    return check_law(law, installed, _records(settings, of, bundle), of.laws)


def check_generated(
    settings: Settings, of: BundleSettings | PipelineSettings, name: str
) -> Finding:
    """Check one law, by its item's name, on generated records.

    Raises:
        SamescoreError: the pipeline cannot be bound.
    """
    installed, bundle = _subject(settings, of)
    examples = _records(settings, of, bundle)
    if name == "hostile_refused":
        return check_hostile(installed, examples, of.laws)
    return check_generated_law(Law(name.replace("_", " ")), installed, examples, of.laws)


def _records(
    settings: Settings, of: BundleSettings | PipelineSettings, bundle: Bundle | None
) -> list[Record]:
    if not of.laws.records:
        raise ConfigError(f'[{of.name}] names no records; write records = ["typical.jsonl"]')
    folder = settings.source.parent
    return read_own_records(of.laws.records, folder, bundle, of.laws.records_limit)


def _subject(
    settings: Settings, of: BundleSettings | PipelineSettings
) -> tuple[Installed, Bundle | None]:
    if isinstance(of, PipelineSettings):
        return of_pipeline(of, settings.trusted), None
    bundle = opened(of)
    installed = of_bundle(of, bundle, settings.trusted)
    if installed is None:
        raise ConfigError(f"bundle {of.path} has no feature pipeline; skip its laws")
    return installed, bundle
