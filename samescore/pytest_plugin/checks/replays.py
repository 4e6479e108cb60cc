"""Replay of a request log against the bundles that served, as one item a log."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from consistency.bundle import open_bundle
from consistency.bundle.manifest import MANIFEST_FILE
from consistency.compare import Tolerance
from consistency.log import RequestLogReader
from consistency.log.lines.entry import LoggedRequest
from consistency.replay import ReplayMode, ReplayReport, ReplaySettings, StageDifference
from consistency.replay.report import ModelReport
from consistency.snapshots import SNAPSHOT_FOLDER, SnapshotStore
from samescore.pytest_plugin.checks.subjects import Installed, InstalledTargets, bind_installed
from samescore.pytest_plugin.configuring.record_files import logged_record
from samescore.pytest_plugin.configuring.settings import LogSettings, Settings
from samescore.pytest_plugin.telling.findings import (
    Evidence,
    Finding,
    Verdict,
    digits,
    shown_path,
    shown_record,
)
from samescore.pytest_plugin.telling.suspects import code_of, maker_of, shown, source_of
from samescore.replays.targets import replay_log

_SIDES: Final = ("online", "offline")


def check_replay(settings: Settings, of: LogSettings) -> Finding:
    """Replay a log with the installed pipeline.

    Raises:
        SamescoreError: the log or a bundle cannot be read, or no bundle fits.
    """
    targets = InstalledTargets(
        of.bundles,
        store_of(of),
        settings.trusted,
        threads=of.threads,
        with_pipeline=False,
        trust=settings.trust,
    )
    how = ReplaySettings(of.mode, of.batch, Tolerance(of.decimals), selection=of.selection)
    report = replay_log(of.path, targets, how)
    if report.agrees:
        rows = sum(m.rows for m in report.models.values())
        text = f"replay: {rows} rows agree to {report.decimals} decimals"
        return Finding(Verdict.PASSED, text, properties=_facts(report))
    if not report.models:
        return Finding(
            Verdict.FAILED, f"replay of {shown_path(of.path)}: the log holds no such request"
        )
    for name, model in report.models.items():
        if not model.agrees:
            return _differs(settings, of, name, model, report)
    lost = "; ".join(f"{d.segment} line {d.line}: {d.problem}" for d in report.damage)
    return Finding(
        Verdict.FAILED,
        f"replay of {shown_path(of.path)}: {report.lost_lines} lines are lost: {lost}",
    )


def store_of(of: LogSettings) -> SnapshotStore:
    """Return the lookup snapshots that a log names."""
    return SnapshotStore(of.snapshots or of.bundles / SNAPSHOT_FOLDER)


def _facts(report: ReplayReport) -> dict[str, float | int | str]:
    models = report.models.values()
    facts: dict[str, float | int | str] = {
        "requests": sum(m.requests for m in models),
        "rows": sum(m.rows for m in models),
        "decimals": report.decimals,
        "damaged_lines": len(report.damage),
    }
    stages = [(s, c) for m in models for s, c in m.stages.items()]
    if stages:
        facts["agree_ratio"] = min(c.agree_ratio for _, c in stages)
        facts["bit_identical_ratio"] = min(c.identical_ratio for _, c in stages)
        facts["max_abs_diff"] = max(c.max_abs_diff for _, c in stages)
        facts["max_ulps"] = max(c.max_ulps for _, c in stages)
    return facts


def _differs(
    settings: Settings, of: LogSettings, name: str, model: ModelReport, report: ReplayReport
) -> Finding:
    first = model.first_divergence
    stages = "\n".join(
        f"{stage}: {c.rows_agreeing} of {c.rows} rows agree" for stage, c in model.stages.items()
    )
    notes = [f"stages     {stages}".replace("\n", "\n           ")]
    if model.rejected != model.rejected_reproduced:
        notes.append(
            f"refusals   {model.rejected_reproduced} of {model.rejected} are refused again"
        )
    if model.features:
        listed = ", ".join(f"{n} ({m.rows} rows)" for n, m in model.features.items())
        notes.append(f"differ     {listed}")
    where = "" if first is None else f", {first.stage} differ first: {first.name}"
    installed = _installed(settings, of, name)
    return Finding(
        Verdict.FAILED,
        f"replay of {shown_path(of.path)} on {name}{where} ({model.rows} rows, to "
        f"{report.decimals} decimals)",
        None if first is None else _evidence(of, installed, first),
        cause=_cause(of, installed, model, first),
        notes=notes,
        properties=_facts(report),
        source=""
        if installed is None or not model.features
        else source_of(installed, [*model.features]),
    )


def _installed(settings: Settings, of: LogSettings, name: str) -> Installed | None:
    """Return the pipeline that the replay used, on its golden snapshots; None where it had none."""
    path = of.bundles / name
    if not (path / MANIFEST_FILE).is_file():
        return None
    bundle = open_bundle(path)
    return bind_installed(bundle, store_of(of), bundle.manifest.snapshots, settings.trusted)


def _evidence(of: LogSettings, installed: Installed | None, first: StageDifference) -> Evidence:
    maker = None
    if first.stage == "features" and installed is not None:
        maker = maker_of(installed.unbound, first.name)
    return Evidence(
        first.row,
        first.stage,
        first.name,
        digits(first.online),
        digits(first.offline),
        _SIDES,
        first.abs_diff,
        first.ulps,
        heading="largest difference of the first stage that differs",
        request_id=first.request_id,
        made_by="" if maker is None else shown(maker),
        record=_record(of.path, first),
    )


def _record(log: Path, first: StageDifference) -> str:
    for item in RequestLogReader(log):
        if isinstance(item, LoggedRequest) and item.request_id == first.request_id:
            record = logged_record(item, first.row)
            return "" if record is None else shown_record(record)
    return ""


def _cause(
    of: LogSettings,
    installed: Installed | None,
    model: ModelReport,
    first: StageDifference | None,
) -> str:
    if first is None:
        return ""
    found = model.features.get(first.name)
    if found is not None and found.finding.proven:
        return f"proven: {found.finding.cause}: {found.finding.evidence}"
    if installed is not None and installed.changed and model.features:
        code = code_of(installed, [*model.features])
        return f"likely {code}: the sources of {installed.package} are not the bundle's"
    if first.stage in ("outputs", "scores") and of.mode is not ReplayMode.PIPELINE:
        return (
            "unproven; the features agree, so likely the model's batch, threads, device or package "
            "version: see the items of scorer and environment"
        )
    return "unproven; no change of the stored value explains it"
