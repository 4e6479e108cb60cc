"""samescore's façade: bundle a model, serve it, replay its log.

What a user's project imports. Names are loaded when they are first used, so that `import samescore`
costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from samescore.bundling import BundleRequest, build_bundle
    from samescore.replaying import replay_log
    from samescore.server import ServerSettings, serve
    from samescore.suites import build_suite
    from serving.loaders.keras_promotion import promote_to_float64

__all__ = [
    "BundleRequest",
    "ServerSettings",
    "build_bundle",
    "build_suite",
    "promote_to_float64",
    "replay_log",
    "serve",
]

__version__ = "0.1.0"

_HOMES: Final = {
    "BundleRequest": "samescore.bundling",
    "build_bundle": "samescore.bundling",
    "build_suite": "samescore.suites",
    "promote_to_float64": "serving.loaders.keras_promotion",
    "replay_log": "samescore.replaying",
    "ServerSettings": "samescore.server",
    "serve": "samescore.server",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'samescore' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
