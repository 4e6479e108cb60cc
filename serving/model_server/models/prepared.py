"""What a version goes through between its loader and its first request: batching and warm-up.

The order is upstream's: warm-up requests run through the batches as later ones do.

Only the model server loads this module: warm-up brings TensorFlow with it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from serving.core.loader import Loader, LoaderFactory
from serving.core.state import ServableId
from serving.model_server.batching.batched import BatchedModel
from serving.model_server.batching.parameters import (
    PER_MODEL_FILE,
    BatchingParameters,
    read_batching_parameters,
)
from serving.model_server.batching.queue import BatchScheduler
from serving.model_server.models.warmup import warm_up
from serving.model_server.observing.counted_api import TimedModel, microseconds

if TYPE_CHECKING:
    from serving.model_server.api import ServedModel
    from serving.model_server.observing.serving_metrics import ServingMetrics


@dataclass(frozen=True, slots=True)
class Preparation:
    """What is done with each version.

    Attributes:
        batching: of every model; None: requests run alone.
        per_model_batching: each model has parameters in its own folder instead, or runs requests
            alone; only the threads are those of `batching`.
        warmup_iterations: how often each recorded request is run; 0: not at all.
        timed: runs are timed, for the monitoring page.
    """

    batching: BatchingParameters | None = None
    per_model_batching: bool = False
    warmup_iterations: int = 1
    timed: bool = False


class Preparer:
    """Puts a preparation behind the loaders of every platform.

    Args:
        preparation: what is done.
        metrics: is added to.
    """

    def __init__(self, preparation: Preparation, metrics: ServingMetrics) -> None:
        self.preparation, self.metrics = preparation, metrics
        self._scheduler = BatchScheduler(
            1 if preparation.batching is None else preparation.batching.threads
        )

    def platform(self, inner: LoaderFactory[ServedModel]) -> LoaderFactory[ServedModel]:
        """Return a platform whose versions are prepared."""

        def loader(id: ServableId, folder: Path) -> Loader[ServedModel]:
            return PreparedLoader(inner(id, folder), folder, self)

        return loader

    def batched(self, model: ServedModel, folder: Path) -> BatchedModel | None:
        """Return a model in batches; None where its requests run alone.

        Raises:
            StatusError: the model's own parameters are unusable.
        """
        parameters = self.preparation.batching
        if parameters is None:
            return None
        if self.preparation.per_model_batching:
            file = folder / PER_MODEL_FILE
            if not file.exists():
                return None
            parameters = read_batching_parameters(file)
        return BatchedModel(model, parameters, self._scheduler, self.metrics)

    def stop(self) -> None:
        """End the threads of the batches."""
        self._scheduler.stop()


class PreparedLoader:
    """Loads one version and prepares it.

    Args:
        inner: loads it.
        folder: of the version.
        preparer: what is done with it.
    """

    def __init__(self, inner: Loader[ServedModel], folder: Path, preparer: Preparer) -> None:
        self._inner, self._folder, self._preparer = inner, folder, preparer
        self._model: ServedModel | None = None
        self._batched: BatchedModel | None = None

    def load(self) -> ServedModel:
        """Return the model, warm.

        Raises:
            StatusError: loading, the batching parameters or a warm-up request failed.
        """
        model = self._model = self._loaded()
        self._batched = self._preparer.batched(model, self._folder)
        served = self._batched or model
        preparation = self._preparer.preparation
        try:
            if preparation.warmup_iterations:
                warm_up(served, self._folder, self._preparer.metrics, preparation.warmup_iterations)
        except BaseException:
            self._give_back()
            raise
        return TimedModel(served) if preparation.timed else served

    def unload(self, servable: ServedModel) -> None:
        """Run what waits in batches, and unload the model."""
        self._give_back()

    def _loaded(self) -> ServedModel:
        metrics, path = self._preparer.metrics, str(self._folder)
        started = time.perf_counter()
        try:
            model = self._inner.load()
        except BaseException:
            metrics.load_attempt_count.add(path, "fail")
            raise
        metrics.load_attempt_count.add(path, "success")
        metrics.load_latency.add(path, by=microseconds(started))
        return model

    def _give_back(self) -> None:
        if self._batched is not None:
            self._batched.close()
        if self._model is not None:
            self._inner.unload(self._model)
        self._model = self._batched = None
