"""The process of one cell: loads the model, scores all rows at one batch size, takes the time.

Started as `python -m samescore.parity.cell SPEC`; see `spec.py` for what it is told and answers.
"""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path
from typing import Final

import numpy as np

from consistency.bundle import Bundle, GoldenSet, open_bundle
from consistency.errors import SamescoreError
from consistency.execution import Execution, apply_execution
from consistency.features import FeatureBatch, take_rows
from consistency.postprocess import PostProcess
from consistency.protocols import Scorer
from consistency.scored import Scores
from samescore.parity.facts import facts_here
from samescore.parity.rows import repeated
from samescore.parity.spec import CellAnswer, CellSpec, is_refusal
from serving.loaders import format_named, load_scorer

MOST_PASSES: Final = 50


def main(path: str) -> None:
    """Answer the spec in a file."""
    spec = CellSpec.from_bytes(Path(path).read_bytes())
    if spec.memory_bytes:
        resource.setrlimit(resource.RLIMIT_DATA, (spec.memory_bytes, spec.memory_bytes))
    try:
        answer(spec)
    except SamescoreError as error:
        CellAnswer(error=str(error), refused=is_refusal(error)).write(spec.folder)
    except MemoryError:
        CellAnswer(error=f"more than {spec.memory_bytes:,} bytes of memory").write(spec.folder)


def answer(spec: CellSpec) -> None:
    """Score, take the time, and leave the answer."""
    bundle = open_bundle(spec.bundle)
    features, postprocess = _features(spec, bundle), bundle.manifest.postprocess
    scorer = _load(spec)
    scores = score_all(scorer, postprocess, features, spec.batch)
    seconds = _time_passes(spec, scorer, postprocess, features) if spec.timing_seconds else 0.0
    found = CellAnswer(
        seconds_per_row=seconds / features.rows, dtype=scorer.info.dtype, facts=facts_here()
    )
    found.write(spec.folder, scores)


def _features(spec: CellSpec, bundle: Bundle) -> FeatureBatch:
    held = GoldenSet.from_parquet(spec.rows.read_bytes(), bundle.manifest.features, spec.rows)
    return repeated(held.features, spec.copies)


def _load(spec: CellSpec) -> Scorer:
    if not spec.onednn and format_named(spec.model_format).library == "torch":
        import torch

        torch.backends.mkldnn.set_flags(False)  # type: ignore[no-untyped-call]
    model = load_scorer(
        spec.model_format, spec.model, threads=spec.threads, device=spec.device, trust=spec.trust
    )
    return apply_execution(Execution.parse(spec.execution), model)


def score_all(
    scorer: Scorer, postprocess: PostProcess, features: FeatureBatch, batch: int
) -> Scores:
    """Return the scores of all rows, scored `batch` rows at a time."""
    starts = range(0, features.rows, batch)
    parts = [take_rows(features, slice(i, min(i + batch, features.rows))) for i in starts]
    return np.concatenate([postprocess(scorer.score(part)) for part in parts])


def _time_passes(
    spec: CellSpec, scorer: Scorer, postprocess: PostProcess, features: FeatureBatch
) -> float:
    """Return the seconds of the shortest pass: what else the machine does only makes one longer."""
    shortest, until = float("inf"), time.perf_counter() + spec.timing_seconds
    for _ in range(MOST_PASSES):
        started = time.perf_counter()
        score_all(scorer, postprocess, features, spec.batch)
        shortest = min(shortest, time.perf_counter() - started)
        if time.perf_counter() > until:
            break
    return shortest


if __name__ == "__main__":
    main(sys.argv[1])
