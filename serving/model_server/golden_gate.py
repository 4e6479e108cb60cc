"""The golden gate of the model server: a bundle goes AVAILABLE when it has reproduced its scores.

What is asked is the very model that will answer, through the signature that clients use. The golden
feature rows go in: the model server has no feature stage, its clients send features. A folder that
is no bundle passes unasked, as upstream's do.

TF Serving's own way to keep a bad version away is a label that somebody moves by hand after looking
at the canary. Better here: a version that computes otherwise than it did offline never becomes the
default one, and its status says which row, by how much.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

import numpy as np

from consistency.bundle import open_bundle, verify_files
from consistency.bundle.manifest import MANIFEST_FILE
from consistency.errors import SamescoreError
from consistency.features import FeatureBatch
from consistency.gate import GateReport, run_gate
from consistency.protocols import Scorer, ScorerInfo
from consistency.scored import GateState, Outputs
from serving.core.loader import Loader
from serving.core.state import ServableId
from serving.loaders.named_inputs import Input, input_arrays
from serving.model_server.api import ServedModel
from serving.model_server.dtypes import FIELDS, DataType
from serving.model_server.status import Code, FinalError, StatusError

_LOG: Final = logging.getLogger(__name__)
_SIGNATURE: Final = "serving_default"
_SAVED_MODEL: Final = "saved_model"


class GoldenGate(StrEnum):
    """What a failing golden gate does.

    enforce: the version does not become AVAILABLE. report: it does, and the report is logged.
    off: nobody asks, as upstream.
    """

    ENFORCE = "enforce"
    REPORT = "report"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class GatedLoader:
    """Lets a version through, or not. A `Loader` of the serving core.

    Attributes:
        inner: does the loading.
        id: of the version; folder: its files.
        mode: what a failure does.
        max_batch: the largest batch that is tried.
        on_passed: told what the gate said of a version that is let through.
    """

    inner: Loader[ServedModel]
    id: ServableId
    folder: Path
    mode: GoldenGate
    max_batch: int = 64
    on_passed: Callable[[GateState], None] = lambda _: None

    def load(self) -> ServedModel:
        """Load the version, and have it reproduce its golden rows if it is a bundle.

        Raises:
            StatusError: as the inner loader's.
            FinalError: FAILED_PRECONDITION: it failed the gate, and the mode is enforce.
        """
        asked = self.mode is not GoldenGate.OFF and (self.folder / MANIFEST_FILE).is_file()
        model = self.inner.load()
        if not asked:
            self.on_passed(GateState.NONE)
            return model
        try:
            report = gate(self.folder, model, self.max_batch)
        except SamescoreError as error:
            self._refuse(str(error))
            self.on_passed(GateState.UNVERIFIED)
            return model
        if not report.passed:
            self._refuse(str(report))
        self.on_passed(GateState.VERIFIED if report.passed else GateState.UNVERIFIED)
        return model

    def unload(self, servable: ServedModel) -> None:
        """See `Loader.unload`."""
        self.inner.unload(servable)

    def _refuse(self, problem: str) -> None:
        if self.mode is GoldenGate.ENFORCE:
            raise FinalError(
                Code.FAILED_PRECONDITION,
                f"{problem}\n  it does not go live; mend the cause, or serve it all the same with "
                "--golden_gate=report",
            )
        _LOG.warning("%s is served UNVERIFIED: %s", self.id, problem)


def gate(folder: Path, model: ServedModel, max_batch: int) -> GateReport:
    """Have a loaded bundle score its golden feature rows.

    Raises:
        SamescoreError: the bundle is damaged, or its model cannot score.
    """
    bundle = open_bundle(folder)
    verify_files(bundle)
    manifest = bundle.manifest
    scorer = model.scorer if isinstance(model, _HasScorer) else SignatureScorer(model)
    return run_gate(
        bundle.golden(),
        None,
        scorer,
        manifest.postprocess,
        decimals=manifest.gate_decimals,
        max_batch=max_batch,
    )
