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
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from consistency.bundle import open_bundle, verify_files
from consistency.bundle.manifest import MANIFEST_FILE
from consistency.errors import BackendError, SamescoreError
from consistency.features import FeatureBatch
from consistency.gate import GateReport, run_gate
from consistency.protocols import ScorerInfo
from consistency.records import Column
from consistency.scored import GateState, Outputs
from serving.core.loader import Loader
from serving.core.state import ServableId
from serving.loaders.named_inputs import Input, input_arrays
from serving.model_server.api import ServedModel
from serving.model_server.inference import DEFAULT_SIGNATURE
from serving.model_server.models.bundle_model import RAW_SIGNATURE, as_tensor, feeds_of
from serving.model_server.models.bundle_platform import OPERATORS_FILES
from serving.model_server.models.golden_gate_mode import GoldenGate
from serving.model_server.status import Code, FinalError, StatusError
from serving.model_server.wire.dtypes import FIELDS, DataType

if TYPE_CHECKING:
    from tensorflow.core.protobuf.meta_graph_pb2 import TensorInfo

_LOG: Final = logging.getLogger(__name__)
_SAVED_MODEL: Final = "saved_model"


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
        problem = self._problem(model) if asked else ""
        if problem and self.mode is GoldenGate.ENFORCE:
            self.inner.unload(model)
            raise FinalError(
                Code.FAILED_PRECONDITION,
                f"{problem}\n  it does not go live; mend the cause, or serve it all the same with "
                "--golden_gate=report",
            )
        if problem:
            _LOG.warning("%s is served UNVERIFIED: %s", self.id, problem)
        checked = GateState.UNVERIFIED if problem else GateState.VERIFIED
        self.on_passed(checked if asked else GateState.NONE)
        return model

    def unload(self, servable: ServedModel) -> None:
        """See `Loader.unload`."""
        self.inner.unload(servable)

    def _problem(self, model: ServedModel) -> str:
        try:
            report = gate(self.folder, model, self.max_batch)
        except SamescoreError as error:
            return str(error)
        return "" if report.passed else str(report)


def gate(folder: Path, model: ServedModel, max_batch: int) -> GateReport:
    """Have a loaded bundle score its golden feature rows.

    Raises:
        SamescoreError: the bundle is damaged, or its model cannot score.
    """
    bundle = open_bundle(folder)
    verify_files(bundle, beside=OPERATORS_FILES)
    manifest = bundle.manifest
    return run_gate(
        bundle.golden(),
        None,
        _scorer(model, manifest.model_format),
        manifest.postprocess,
        decimals=manifest.gate_decimals,
        max_batch=max_batch,
    )


def _scorer(model: ServedModel, model_format: str) -> SignatureScorer:
    if model_format != _SAVED_MODEL:
        return SignatureScorer(model, RAW_SIGNATURE, feeds_of)
    key = DEFAULT_SIGNATURE
    if key not in model.signatures:
        raise BackendError(
            f"the golden gate needs the signature {key!r}; the model has "
            f"{', '.join(sorted(model.signatures)) or 'none'}"
        )
    inputs = [_input(alias, info) for alias, info in model.signatures[key].inputs.items()]

    def feeds(features: FeatureBatch) -> dict[str, Column]:
        arrays = input_arrays(inputs, features)
        return {spec.name: as_tensor(a) for spec, a in zip(inputs, arrays, strict=True)}

    return SignatureScorer(model, key, feeds)


class SignatureScorer:
    """Scores feature rows through a signature of a loaded model. A `Scorer`.

    Args:
        model: what runs.
        key: of the signature.
        feeds: lays features out as the signature's inputs, by alias.
    """

    def __init__(
        self, model: ServedModel, key: str, feeds: Callable[[FeatureBatch], Mapping[str, Column]]
    ) -> None:
        self._model, self._signature, self._feeds = model, model.signatures[key], feeds
        self._outputs = tuple(self._signature.outputs)

    @property
    def info(self) -> ScorerInfo:
        """How it computes: as whatever the model server loaded."""
        return ScorerInfo("model_server", "")

    def score(self, features: FeatureBatch) -> Outputs:
        """Return the signature's outputs by alias, dtypes kept.

        Raises:
            BackendError: the features do not fit the signature, or the model failed.
        """
        feeds = self._feeds(features)
        try:
            found = self._model.run(self._signature, feeds, self._outputs)
        except StatusError as error:
            raise BackendError(f"{error.code.name}: {error.message}") from error
        return dict(zip(self._outputs, found, strict=True))


def _input(alias: str, info: TensorInfo) -> Input:
    dtype = np.dtype(object) if info.dtype == DataType.STRING else FIELDS[info.dtype].array
    if info.tensor_shape.unknown_rank:
        return Input(alias, dtype, None)
    shape = [dim.size for dim in info.tensor_shape.dim]
    width = shape[1] if len(shape) == 2 and shape[1] >= 0 else None
    rows = shape[0] if shape and shape[0] >= 0 else None
    return Input(alias, dtype, len(shape), width, rows)
