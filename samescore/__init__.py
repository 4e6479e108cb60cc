"""samescore's façade: bundle a model, serve it, replay its log.

What a user's project imports. Names are loaded when they are first used, so that `import samescore`
costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from samescore.assertions.scores import ScoresDifferError, assert_same_scores
    from samescore.bundling import BundleRequest, build_bundle
    from samescore.record_strategies import hostile_records, valid_records
    from samescore.replays.targets import replay_log
    from samescore.server import ServerSettings, serve
    from samescore.sklearn_pipeline import SklearnPipeline
    from samescore.storage.forms import all_forms
    from samescore.suites import build_suite
    from serving.loaders.promotion.keras_model import promote_to_float64
    from serving.loaders.trust.grants import ModelTrust

__all__ = [
    "BundleRequest",
    "ModelTrust",
    "ScoresDifferError",
    "ServerSettings",
    "SklearnPipeline",
    "all_forms",
    "assert_same_scores",
    "build_bundle",
    "build_suite",
    "hostile_records",
    "promote_to_float64",
    "replay_log",
    "serve",
    "valid_records",
]

__version__ = "0.1.0"

_HOMES: Final = {
    "all_forms": "samescore.storage.forms",
    "assert_same_scores": "samescore.assertions.scores",
    "BundleRequest": "samescore.bundling",
    "ModelTrust": "serving.loaders.trust.grants",
    "build_bundle": "samescore.bundling",
    "build_suite": "samescore.suites",
    "hostile_records": "samescore.record_strategies",
    "promote_to_float64": "serving.loaders.promotion.keras_model",
    "replay_log": "samescore.replays.targets",
    "ScoresDifferError": "samescore.assertions.scores",
    "SklearnPipeline": "samescore.sklearn_pipeline",
    "ServerSettings": "samescore.server",
    "serve": "samescore.server",
    "valid_records": "samescore.record_strategies",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'samescore' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
