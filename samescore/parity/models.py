"""Which model an execution scores with: the bundle's own, or one promoted to float64 on the fly."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from consistency.bundle import Bundle
from consistency.execution import Execution, ExecutionMode
from samescore.parity.process import clean_environment, last_words
from samescore.promotion.promote import PROMOTABLE
from serving.loaders.trust.grants import ModelTrust

_NOT_PROMOTED: Final = {
    "xgboost": "XGBoost computes in float32 by design",
    "lightgbm": "LightGBM computes in float64 already: as_is is float64",
    "sklearn": "scikit-learn computes in float64 already: as_is is float64",
    "pmml": "a PMML model computes in float64 already: as_is is float64",
}


@dataclass(frozen=True, slots=True)
class Model:
    """A model's files.

    Attributes:
        model_format: of `serving.loaders`.
        folder: what its loader gets.
    """

    model_format: str
    folder: Path


@dataclass(frozen=True, slots=True)
class Models:
    """Finds the model of each execution.

    Attributes:
        bundle: the bundle.
        scratch: a folder for promoted models.
        timeout_seconds: for a promotion.
        trust: the operator's opt-ins.
    """

    bundle: Bundle
    scratch: Path
    timeout_seconds: float
    trust: ModelTrust

    def find(self, execution: Execution) -> Model | str:
        """Return the model that an execution scores with, or why there is none."""
        manifest = self.bundle.manifest
        promoted = manifest.execution.mode is ExecutionMode.FLOAT64
        if promoted == (execution.mode is ExecutionMode.FLOAT64):
            return Model(manifest.model_format, self.bundle.path)
        if promoted:
            return "the bundle holds the promoted model only; name the bundle of the original"
        if manifest.model_format not in PROMOTABLE:
            fallback = f"a model of format {manifest.model_format} cannot be promoted"
            return _NOT_PROMOTED.get(manifest.model_format, fallback)
        return self._promote()

    def _promote(self) -> Model | str:
        """Promote in a process of its own: this one never loads a model library."""
        target = self.scratch / "promoted"
        error = _run_promotion(self.bundle.path, target, self.timeout_seconds, self.trust)
        return error or Model(self.bundle.manifest.model_format, target)


def _run_promotion(bundle: Path, target: Path, timeout_seconds: float, trust: ModelTrust) -> str:
    opt_ins = [part for name in sorted(trust.types) for part in ("--trust-type", name)]
    opt_ins += ["--allow-pickle"] * trust.allow_pickle
    try:
        done = subprocess.run(  # noqa: S603 - our own command, by this interpreter
            [sys.executable, "-m", "samescore", "promote", bundle, target, *opt_ins],
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_seconds,
            env=clean_environment(1, "cpu"),
        )
    except subprocess.TimeoutExpired:
        return f"its promotion took longer than {timeout_seconds:g} s"
    if done.returncode == 0:
        return ""
    # what fails verification is told on standard output, what cannot be promoted on the other
    said = done.stdout if done.returncode == 1 else done.stderr
    return last_words(said.decode(errors="replace").removesuffix("nothing was written\n"))
