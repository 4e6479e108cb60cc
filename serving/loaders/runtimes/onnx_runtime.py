"""ONNX Runtime in a process, with its telemetry off.

Since 1.29 the official builds for Linux upload what a process loads (a model's file and graph name,
hashes of graph and weights, failures) unless they are told not to, and keep an id of the machine in
the user's cache folder. Whose models those are is nobody's business but the operator's.
"""

from __future__ import annotations

import os
from typing import Any, Final, TypeAlias

OnnxRuntime: TypeAlias = Any  # Any: onnxruntime's module has no types

_SWITCH: Final = "ORT_DISABLE_TELEMETRY"


def import_onnxruntime() -> OnnxRuntime:
    """Import onnxruntime, and keep it from reporting to its maker.

    It reads its switch once, when it is first imported; where somebody else has imported it before,
    it is told to be quiet from now on. An operator who wants its telemetry sets
    ORT_DISABLE_TELEMETRY=0.

    Returns:
        The module `onnxruntime`.
    """
    wanted = os.environ.setdefault(_SWITCH, "1") == "0"
    import onnxruntime

    if not wanted:
        onnxruntime.disable_telemetry_events()
    return onnxruntime
