"""What the model server loads its versions with, and what they go through before they serve."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from serving.core.loader import LoaderFactory
from serving.model_server.api import ServedModel
from serving.model_server.batching.parameters import BatchingParameters

if TYPE_CHECKING:
    from samescore.model_server.extensions import Extensions
    from serving.model_server.models.prepared import Preparer
    from serving.model_server.models.saved_model_files import SessionOptions
    from serving.model_server.observing.serving_metrics import ServingMetrics


@dataclass(frozen=True, slots=True)
class LoadingSettings:
    """How versions are loaded and run; the defaults are upstream's.

    Attributes:
        prefer_tflite: take a version's TensorFlow Lite model where it has one.
        only_tflite: and refuse a version without.
        tflite_interpreters: of each such model; 0: one a processor.
        batching: of all models; None: requests run alone.
        per_model_batching: models have parameters of their own.
        warmup_iterations: how often each recorded request is run before a version serves; 0: never.
    """

    prefer_tflite: bool = False
    only_tflite: bool = False
    tflite_interpreters: int = 0
    batching: BatchingParameters | None = None
    per_model_batching: bool = False
    warmup_iterations: int = 1


def make_preparer(
    settings: LoadingSettings, metrics: ServingMetrics, *, timed: bool = False
) -> Preparer:
    """Return what versions go through.

    Args:
        settings: everything there is to choose.
        metrics: is added to.
        timed: runs are timed, for the monitoring page.
    """
    from serving.model_server.models.prepared import Preparation, Preparer

    return Preparer(
        Preparation(
            batching=settings.batching,
            per_model_batching=settings.per_model_batching,
            warmup_iterations=settings.warmup_iterations,
            timed=timed,
        ),
        metrics,
    )


def platforms(
    session: SessionOptions,
    settings: LoadingSettings,
    preparer: Preparer,
    extensions: Extensions,
) -> Mapping[str, LoaderFactory[ServedModel]]:
    """Return what loads a version, by `model_platform`.

    Each is loaded, then batched and warmed up, and then passes the golden gate as it will serve.
    """
    from serving.model_server.models.tensorflow_platform import (
        TensorFlowOptions,
        tensorflow_platform,
    )

    options = TensorFlowOptions(
        session=session,
        prefer_tflite=settings.prefer_tflite,
        only_tflite=settings.only_tflite,
        tflite_interpreters=settings.tflite_interpreters,
    )
    return {
        name: extensions.gated(preparer.platform(loads))
        for name, loads in extensions.platforms(tensorflow_platform(options)).items()
    }


def is_tflite(settings: LoadingSettings, folder: Path) -> bool:
    """Tell whether a version's folder is served by its TensorFlow Lite model."""
    from serving.model_server.models.tflite import FILE

    preferred = settings.prefer_tflite and (folder / FILE).exists()
    return settings.only_tflite or preferred
