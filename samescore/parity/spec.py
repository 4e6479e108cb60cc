"""What a cell's process is told, and what it answers: two small files."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np
import orjson

from consistency.errors import BackendError, BundleError
from consistency.scored import Scores
from serving.loaders.trust.grants import ModelTrust

ANSWER_FILE = "answer.json"
SCORES_FILE = "scores.npy"


@dataclass(frozen=True, slots=True)
class CellSpec:
    """One cell, or a probe: a cell of few rows that is asked what code its library runs.

    Attributes:
        bundle: the bundle, for the schema and the post-processing; its files were verified before.
        model_format: of the model; model: the folder that holds it.
        rows: a Parquet file as `GoldenSet` writes it.
        copies: how often these rows are repeated, each time in another order.
        onednn: whether the cell may use oneDNN, where that is set within the process.
        timing_seconds: spent on timed passes; 0 for none.
        memory_bytes: the most that the process may take for data; 0 for no bound.
        folder: an empty folder for the answer.
    """

    bundle: Path
    model_format: str
    model: Path
    rows: Path
    copies: int
    execution: str
    batch: int
    threads: int
    device: str
    onednn: bool
    timing_seconds: float
    memory_bytes: int
    folder: Path
    trust_types: tuple[str, ...] = ()
    allow_pickle: bool = False

    @property
    def trust(self) -> ModelTrust:
        """The operator's opt-ins."""
        return ModelTrust(frozenset(self.trust_types), self.allow_pickle)

    def to_bytes(self) -> bytes:
        """Return the file's content."""
        return orjson.dumps(asdict(self), default=str)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` returned."""
        value = orjson.loads(data)
        paths = {name: Path(value[name]) for name in ("bundle", "model", "rows", "folder")}
        return cls(**(value | paths | {"trust_types": tuple(value["trust_types"])}))


@dataclass(frozen=True, slots=True)
class CellAnswer:
    """What a cell's process found.

    Attributes:
        error: why it could not be done, empty when it was; refused: it is the setting that cannot
            be had here, not the model that failed.
        seconds_per_row: 0 unless timed.
        dtype: in which the model computes.
        facts: what the libraries said within the process.
    """

    error: str = ""
    refused: bool = False
    seconds_per_row: float = 0.0
    dtype: str = ""
    facts: dict[str, str] | None = None

    def write(self, folder: Path, scores: Scores | None = None) -> None:
        """Leave the answer, scores first."""
        if scores is not None:
            np.save(folder / SCORES_FILE, scores, allow_pickle=False)
        (folder / ANSWER_FILE).write_bytes(orjson.dumps(asdict(self)))

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Return the answer, or None when the process left none."""
        path = folder / ANSWER_FILE
        return cls(**orjson.loads(path.read_bytes())) if path.is_file() else None


def read_scores(folder: Path) -> Scores:
    """Return the scores that a cell left.

    Raises:
        BackendError: they cannot be read.
    """
    try:
        scores: Scores = np.load(folder / SCORES_FILE, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise BackendError(f"the cell's scores cannot be read: {error}") from error
    return scores


def is_refusal(error: Exception) -> bool:
    """Whether an error says that this machine or this model has no such setting."""
    return not isinstance(error, BackendError | BundleError)
