"""Act 5: `samescore replay` in processes of their own, from the log's bytes alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from consistency.compare import Comparison
from consistency.diagnose import Finding, explain_batch
from samescore.demo.processes import Finished, failed, run, running, samescore_command
from samescore.demo.stage import FLOAT32_MODEL, PIPELINE_PACKAGE, VERSION, Stage

FULL_BATCH: Final = 4096
LOGGED: Final = "logged"
OTHER_BATCHES: Final = (32, 512)
"""Batch sizes at which the float32 network is replayed besides."""

Report = dict[str, Any]  # Any: the JSON of a replay's report


@dataclass(frozen=True, slots=True)
class Batches:
    """The float32 network's rows that differ, by the batch size of the replay.

    Attributes:
        comparisons: the scores' comparison, by batch size as text, `logged` first.
        finding: what the intervention on the batch size shows.
    """

    comparisons: Mapping[str, Comparison]
    finding: Finding

    def to_json(self) -> dict[str, Any]:  # Any: JSON
        """Return JSON types."""
        full = self.comparisons[str(FULL_BATCH)]
        return {
            "rows": full.rows,
            "rows_differing": full.rows - full.rows_agreeing,
            "rows_differing_by_batch": {
                batch: c.rows - c.rows_agreeing for batch, c in self.comparisons.items()
            },
            **self.finding.to_json(),
        }


def model_key(name: str) -> str:
    """Return how reports name a model."""
    return f"{name}/{VERSION}"


def verify(stage: Stage) -> dict[str, Any]:  # Any: JSON
    """Return what `samescore log verify` found; exit code 1, not intact, is an answer too."""
    said = stage.said("verify")
    return _json("samescore log verify", run(_verify_command(stage), said), said)


def replay_all(stage: Stage) -> Report:
    """Replay the whole log, every model."""
    return _report(stage, replay_command(stage.requests, stage.models, "--batch-size", FULL_BATCH))


def replay_float32(stage: Stage, full: Report) -> Batches:
    """Replay the float32 network at other batch sizes.

    Batch 1 takes as long as all the others together: it runs beside them.

    Args:
        stage: the folders.
        full: the report at batch 4096.
    """
    said = stage.said("replay-batch-1")
    with running(_at_batch(stage, 1), said) as beside:
        others = {str(b): _report(stage, _at_batch(stage, b)) for b in (LOGGED, *OTHER_BATCHES)}
        output, _ = beside.communicate()
        one = _json("samescore replay", Finished(beside.returncode, output), said)
    reports = {
        LOGGED: others.pop(LOGGED),
        "1": one,
        **others,
        str(FULL_BATCH): full,
    }
    return explain({batch: scores_of(r, FLOAT32_MODEL) for batch, r in reports.items()})


def explain(comparisons: Mapping[str, Comparison]) -> Batches:
    """Say whether the batch size alone makes the rows differ.

    Args:
        comparisons: by batch size as text, `logged` and the full replay's among them.
    """
    others = {batch: c for batch, c in comparisons.items() if batch != LOGGED}
    # The full replay's size, unless the network happens to agree there and differs elsewhere.
    chosen = str(FULL_BATCH)
    if others[chosen].agrees:
        chosen = min(others, key=lambda batch: others[batch].rows_agreeing)
    finding = explain_batch(comparisons[LOGGED], others[chosen], int(chosen))
    return Batches(comparisons, finding)


def scores_of(report: Report, model: str) -> Comparison:
    """Return the comparison of a model's scores; empty if there are none."""
    stages = report["models"].get(model_key(model), {}).get("stages", {})
    return Comparison.from_json(stages["scores"]) if "scores" in stages else Comparison()


def replay_command(log: Path, bundles: Path, *more: object) -> list[str]:
    """Return the command line of a replay."""
    return samescore_command(
        "replay", log, "--bundles", bundles, "--pipeline", PIPELINE_PACKAGE, "--json", *more
    )


def replay_finished(finished: Finished, said: Path) -> Report:
    """Return the report of a replay; exit code 1, it differs, is an answer too."""
    return _json("samescore replay", finished, said)


def _at_batch(stage: Stage, batch: object) -> list[str]:
    more = ("--batch-size", batch, "--model", FLOAT32_MODEL)
    return replay_command(stage.requests, stage.models, *more)


def _report(stage: Stage, command: list[str]) -> Report:
    said = stage.said("replay")
    return replay_finished(run(command, said), said)


def _verify_command(stage: Stage) -> list[str]:
    return samescore_command("log", "verify", stage.requests, "--json")


def _json(what: str, finished: Finished, said: Path) -> dict[str, Any]:  # Any: JSON
    if finished.code not in (0, 1):
        raise failed(what, finished.code, said)
    try:
        found: dict[str, Any] = orjson.loads(finished.output)
    except orjson.JSONDecodeError:
        raise failed(what, finished.code, said) from None
    return found
