"""Explains a window: which features' drift moved its score, and in which segments it moved.

What the counts tell is always there, as a ranking without a proof. Where the model can be asked, it
is: the reference's distribution of a feature is put back into the window's rows, they are scored
anew, and the score's shift is watched (`monitors.drift.attribution`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from consistency.bundle import open_bundle
from consistency.errors import SamescoreError
from consistency.execution import apply_execution
from consistency.protocols import Scorer
from monitors.drift.attribution import Attribution, attribute
from monitors.drift.putting_back import put_back
from monitors.drift.record import WindowRecord
from monitors.errors import MonitorError
from monitors.psi import population_stability_index
from monitors.reference import Counts, NumericReference
from monitors.thresholds.ranking import Contribution, mean_score, rank
from monitors.thresholds.sampling import noise_psi
from monitors.thresholds.segments import segment_shifts
from samescore.drifts.asked_model import LARGEST_DIFFERENCE, AskedModel
from samescore.drifts.causes import Ranked, RootCause, SegmentCause
from samescore.drifts.run import DriftRun
from samescore.drifts.segment_tally import Segment, SegmentTally
from samescore.drifts.window_rows import MISSING, Part, Reading, RowSample, columns_of
from serving.loaders import load_scorer
from serving.loaders.runtimes.devices import CPU
from serving.loaders.trust.grants import NO_TRUST, ModelTrust

MOST_FEATURES: Final = 24
"""That are put back: of those that differ from training by more than sampling, the likeliest."""

MOST_FEATURES_OF_SEGMENT: Final = 6
MOST_SEGMENTS_EXPLAINED: Final = 3
_FEWEST_ROWS: Final = 50
_FEWEST_WINDOWS: Final = 5
_CHANCE: Final = 0.001

_NOT_ASKED: Final = "the model was not asked; --root-cause has it score the window's rows anew"


@dataclass(frozen=True, slots=True)
class CauseSettings:
    """How a window is explained.

    Attributes:
        ask_model: whether the model may be loaded and asked.
        segments: raw record fields, or features, whose values are segments.
        threads: of the model; trust: what its files may bring along.
    """

    ask_model: bool = False
    segments: tuple[str, ...] = ()
    threads: int = 1
    trust: ModelTrust = NO_TRUST


def explain(
    run: DriftRun,
    settings: CauseSettings,
    on_request: Callable[[], object] = lambda: None,
    on_scored: Callable[[], object] = lambda: None,
) -> RootCause | None:
    """Explain the latest window of a run that has a verdict; None when there is none.

    Args:
        run: what was found.
        settings: how.
        on_request: called for each line of the log that is read again.
        on_scored: called each time the rows were scored anew.

    Raises:
        MonitorError: nothing is called like a segment.
        LogError: the log cannot be read.
    """
    record = run.latest
    if record is None or not record.judgement.scores:
        return None
    names = [m.name for m in record.judgement.scores]
    output = int(np.argmax([m.psi for m in record.judgement.scores]))
    found = RootCause(
        record,
        names[output],
        mean_score(run.reference, output),
        _ranked(run, record, names[output], output),
        None,
        _NOT_ASKED,
        {},
    )
    if not settings.ask_model and not settings.segments:
        return found
    return _Explanation(run, settings, found, output, on_scored).complete(on_request)


def _ranked(run: DriftRun, record: WindowRecord, score: str, output: int) -> tuple[Ranked, ...]:
    psi = {m.name: m.psi for m in record.judgement.features}
    return tuple(
        Ranked(c.name, c.change, psi[c.name], _correlation(run.history, c.name, score))
        for c in rank(run.reference, record.counts.features, output)
        if c.name in psi
    )


def _correlation(history: Sequence[WindowRecord], name: str, score: str) -> float | None:
    """Return C. Spearman's rank correlation of two indices over the windows."""
    pairs = []
    for record in history:
        psi = {m.name: m.psi for m in record.judgement.measures}
        if name in psi and score in psi:
            pairs.append((psi[name], psi[score]))
    if len(pairs) < _FEWEST_WINDOWS:
        return None
    from scipy.stats import rankdata

    first, second = rankdata(pairs, axis=0).T
    if first.std() == 0 or second.std() == 0:
        return None
    return float(np.corrcoef(first, second)[0, 1])


class _Explanation:
    """Reads the window's rows, asks the model, and compares the segments."""

    def __init__(
        self, run: DriftRun, settings: CauseSettings, found: RootCause, output: int,
        on_scored: Callable[[], object],
    ) -> None:  # fmt: skip
        self._run, self._settings, self._found, self._output = run, settings, found, output
        self._on_scored = on_scored
        self._reference = run.reference
        self._bundle = open_bundle(run.job.bundle)
        self._golden = self._bundle.golden().features.columns()

    def complete(self, on_request: Callable[[], object]) -> RootCause:
        sample, tallies = self._read(on_request)
        asked, why_not = self._asked(sample.parts())
        attribution = None
        if asked is not None:
            attribution = self._attribution(asked)
        segments = {
            name: self._segments(tally, index, asked)
            for index, (name, tally) in enumerate(tallies.items())
        }
        return replace(self._found, attribution=attribution, why_not=why_not, segments=segments)

    def _read(self, on_request: Callable[[], object]) -> tuple[RowSample, dict[str, SegmentTally]]:
        fields = tuple(dict.fromkeys(self._settings.segments))
        window, schema = self._found.record.window, self._bundle.manifest.features
        reading = Reading(self._run.job.log, self._run.subject, window, fields, schema)
        tallies = {
            name: SegmentTally(self._reference, window, i, self._output)
            for i, name in enumerate(fields)
        }
        sample = RowSample()
        for part in reading.parts(on_request):
            if part.window == window:
                sample.take(part)
            for tally in tallies.values():
                tally.take(part)
        for name, tally in tallies.items():
            tally.count()
            self._check_segments(name, tally)
        return sample, tallies

    def _check_segments(self, name: str, tally: SegmentTally) -> None:
        if tally.segments and set(tally.segments) != {MISSING}:
            return
        golden = self._bundle.golden().records or [{}]
        known = sorted({*golden[0], *self._bundle.manifest.features.names})
        raise MonitorError(
            f"segment {name!r}: no raw record holds a field and no feature is called so; there is "
            f"{', '.join(known)}"
        )

    # ---- asking the model --------------------------------------------------------------------

    def _asked(self, parts: Sequence[Part]) -> tuple[AskedModel | None, str]:
        """Return the rows and the model that scores them, or why that cannot be."""
        if not self._settings.ask_model:
            return None, _NOT_ASKED
        schema = self._bundle.manifest.features
        columns = columns_of(parts, schema.names)
        if columns is None:
            return None, "the log does not hold every feature of the window's rows"
        try:
            asked = AskedModel(self._bundle, self._scorer(), columns, self._output, self._on_scored)
            off = asked.largest_difference(np.concatenate([p.scores for p in parts]))
        except SamescoreError as e:
            return None, f"the model cannot be asked: {e}"
        asked.names = [segment for part in parts for segment in zip(*part.segments, strict=True)]
        if off > LARGEST_DIFFERENCE:
            return None, (
                f"the model does not give the logged scores again (it is off by up to {off:.3g}); "
                f"see samescore replay"
            )
        return asked, ""

    def _scorer(self) -> Scorer:
        manifest, settings = self._bundle.manifest, self._settings
        model = load_scorer(
            manifest.model_format,
            self._bundle.path,
            threads=settings.threads,
            device=CPU,
            trust=settings.trust,
        )
        return apply_execution(manifest.execution, model)

    def _attribution(self, asked: AskedModel) -> Attribution:
        shares = {
            name: _shares(each.training_counts)
            for name, each in self._reference.features.items()
            if each.training_counts.any()
        }
        drifted = {m.name for m in self._found.record.judgement.features if m.psi > m.noise_psi}
        likely = [each.name for each in self._found.ranking if each.name in drifted]
        names = [n for n in likely if n in shares and asked.can_put_back(n)][:MOST_FEATURES]
        reference = self._reference.scores[self._output]
        return self._attributed(asked, names, shares, reference, asked.every)

    def _attributed(
        self,
        asked: AskedModel,
        names: Sequence[str],
        shares: Mapping[str, NDArray[np.float64]],
        score: NumericReference,
        rows: NDArray[np.intp],
    ) -> Attribution:
        held = {
            name: put_back(
                asked.columns[name][rows],
                self._reference.features[name],
                shares[name],
                self._golden[name],
            )
            for name in names
        }
        training = score.training_counts
        noise = noise_psi(int((training > 0).sum()), int(training.sum()), len(rows), _CHANCE)
        return attribute(names, lambda back: asked.scores(rows, held, back), score, noise)

    # ---- segments ----------------------------------------------------------------------------

    def _segments(
        self, tally: SegmentTally, index: int, asked: AskedModel | None
    ) -> tuple[SegmentCause, ...]:
        shifts = segment_shifts([s.scores_of(name) for name, s in tally.segments.items()])
        left, causes = MOST_SEGMENTS_EXPLAINED, []
        for shift in shifts:
            held = tally.segments[shift.name]
            ranking = rank(self._reference, held.after, self._output, held.before)
            attribution = None
            if asked is not None and shift.moved and left:
                rows = asked.rows_of(index, shift.name)
                attribution = self._segment_attribution(asked, ranking, held, rows)
                left -= attribution is not None
            causes.append(SegmentCause(shift, ranking, attribution))
        return tuple(causes)

    def _segment_attribution(
        self,
        asked: AskedModel,
        ranking: Sequence[Contribution],
        segment: Segment,
        rows: NDArray[np.intp],
    ) -> Attribution | None:
        if len(rows) < _FEWEST_ROWS or segment.scores_before is None:
            return None
        drifted = {n for n, c in segment.after.items() if _has_drifted(segment.before.get(n), c)}
        shares = {name: _shares(segment.before[name]) for name in drifted}
        names = [c.name for c in ranking if c.name in shares and asked.can_put_back(c.name)]
        edges = self._reference.scores[self._output].edges
        own = NumericReference(edges, segment.scores_before)
        return self._attributed(asked, names[:MOST_FEATURES_OF_SEGMENT], shares, own, rows)


def _has_drifted(before: Counts | None, after: Counts) -> bool:
    """Return whether counts differ by more than sampling makes of them."""
    if before is None or not before.any() or not after.any():
        return False
    held = int(((before + after) > 0).sum())
    noise = noise_psi(held, int(before.sum()), int(after.sum()), _CHANCE)
    return population_stability_index(before, after) > noise


def _shares(counts: Counts) -> NDArray[np.float64]:
    shares: NDArray[np.float64] = counts / counts.sum()
    return shares
