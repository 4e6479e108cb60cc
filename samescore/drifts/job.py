"""Judges the windows of a request log against the frozen reference of the bundle that served."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import orjson

from consistency.bundle import Bundle, open_bundle, verify_files
from consistency.digest import digest_bytes
from consistency.errors import BundleError
from consistency.log import LoggedRequest, RequestLogReader
from consistency.protocols import LogItems
from monitors.drift.baseline import WindowJudge
from monitors.drift.counting import WindowCounter, WindowCounts
from monitors.drift.record import Subject, WindowRecord
from monitors.drift.store import WindowStore, write_if_changed
from monitors.drift.windows import TimeBasis, Window
from monitors.reference import ReferenceSet
from samescore.drifts.run import DriftJob, DriftRun, Skipped

__all__ = ["DriftJob", "DriftRun", "run_drift", "write_summary"]


def run_drift(
    job: DriftJob, now_s: float, on_request: Callable[[], object] = lambda: None
) -> DriftRun:
    """Count a log by window, judge what is over, and keep it.

    Running it again over the same log and settings changes no file. Late requests are counted to
    their window by the next run.

    Args:
        job: what to judge.
        now_s: seconds since the epoch; a window that ends later is not over.
        on_request: called once for each line of the log, for a progress bar.

    Raises:
        LogError: no such log.
        BundleError: no such bundle, it is damaged, or has no reference.
        MonitorError: the log does not fit the reference, or a file cannot be read or written.
        ConfigError: a setting is unusable.
    """
    bundle = open_bundle(job.bundle)
    verify_files(bundle)
    subject, reference = _subject(bundle, job.by)
    # Made before the work: it tells unusable settings.
    judge = WindowJudge(reference, job.length, job.thresholds, job.baseline)
    counter, skipped = WindowCounter(reference, job.length, job.by), Skipped()
    _count(RequestLogReader(job.log), subject, counter, skipped, on_request)
    counted = counter.windows()
    limit_s = now_s + job.length.seconds if job.include_open else now_s
    over = {w: c for w, c in counted.items() if w.end_s <= limit_s}
    out = job.log.resolve().parent / "drift" if job.out is None else job.out
    name = f"{job.length}-{job.by.value}"
    store = WindowStore(out / subject.model / str(subject.version) / name)
    former = {r.window: r for r in store.load() if r.subject == subject}
    changes, kept = {}, []
    for window, counts in over.items():
        record, is_kept = _judged(job, subject, judge, window, counts, now_s, former)
        changes[window] = store.save(record)
        former[window] = record
        kept += [window] * is_kept
    return DriftRun(
        job=job,
        subject=subject,
        reference=reference,
        folder=store.folder,
        history=tuple(former[window] for window in sorted(former)),
        changes=changes,
        kept=tuple(kept),
        waiting=tuple(w for w in counted if w not in over),
        skipped=skipped,
        uncalibrated=judge.note,
    )


def _subject(bundle: Bundle, by: TimeBasis) -> tuple[Subject, ReferenceSet]:
    data = bundle.reference()
    if not data:
        raise BundleError(
            bundle.path,
            "it has no frozen reference to compare with; bundle the model anew with a sample of "
            "its training records (BundleRequest.reference, or samescore bundle build --reference)",
        )
    manifest = bundle.manifest
    reference = ReferenceSet.from_bytes(data)
    digests = manifest.digest, digest_bytes(data)
    return Subject(manifest.name, manifest.version, *digests, by), reference


def _count(
    items: LogItems,
    subject: Subject,
    counter: WindowCounter,
    skipped: Skipped,
    on_request: Callable[[], object],
) -> None:
    for item in items:
        on_request()
        if not isinstance(item, LoggedRequest):
            skipped.take(item)
        elif item.model != (subject.model, subject.version):
            skipped.other_models += 1
        elif (digest := item.servable["bundle_digest"]) != subject.bundle_digest:
            skipped.other_bundles[digest] = skipped.other_bundles.get(digest, 0) + 1
        else:
            counter.take(item)


def _judged(
    job: DriftJob,
    subject: Subject,
    judge: WindowJudge,
    window: Window,
    counts: WindowCounts,
    now_s: float,
    former: Mapping[Window, WindowRecord],
) -> tuple[WindowRecord, bool]:
    """Return a window's record, and whether its former counts were kept.

    A log that has lost requests (retention, damage) says less of a window than was known of it.
    """
    before = former.get(window)
    kept = before is not None and before.counts.requests > counts.requests
    if before is not None and kept:
        counts = before.counts
    earlier = [former[w] for w in sorted(former) if w < window]
    judgement = judge.judge(window, counts, earlier)
    record = WindowRecord(subject, window, window.end_s <= now_s, counts, job.thresholds, judgement)
    return record, kept


def write_summary(run: DriftRun) -> Path:
    """Write `summary.json` beside the windows, if it has changed.

    Raises:
        MonitorError: it cannot be written.
    """
    path = run.folder / "summary.json"
    options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    write_if_changed(path, orjson.dumps(run.to_json(), option=options))
    return path
