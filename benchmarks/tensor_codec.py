"""The model server's tensor codec on 1 MB of float32, beside a copy of the same megabyte.

Decoding is measured for the form that `tf.make_tensor_proto` writes (`tensor_content`), and for
the one that the server answers with (`float_val`), which protobuf hands out through a serialised
copy; encoding for `float_val`, which is what an answer is made of.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from time import perf_counter_ns
from typing import Final

from benchmarks.budgets import measured
from benchmarks.results import Result
from benchmarks.workload import Workload, say

VALUES: Final = (1 << 20) // 4
_REPEATS: Final = 20


def measure(workload: Workload) -> Iterator[Result]:
    """Time decoding, encoding and copying, taking turns; each round's best counts."""
    say("tensor codec: 1 MB of float32")
    contestants = _contestants()
    rounds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(workload.effort.rounds):
        for name, call in contestants.items():
            rounds[name].append(_best_us(call))
    copies = rounds.pop("copy")
    for name, taken in rounds.items():
        ratios = [a / b for a, b in zip(taken, copies, strict=True)]
        peer = f"a memory copy, {min(copies):.0f} µs; this {min(taken):.0f} µs"
        yield measured(f"model_server.tensor_{name}_vs_copy", ratios, peer=peer)


def _contestants() -> dict[str, Callable[[], object]]:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import numpy as np
    from tensorflow.core.framework import tensor_pb2

    from serving.model_server.wire import tensors

    array = np.random.default_rng(0).random(VALUES, np.float32)
    content, typed = tensor_pb2.TensorProto(), tensor_pb2.TensorProto()
    tensors.encode(array, content, as_content=True)
    tensors.encode(array, typed)
    return {
        "copy": array.copy,
        "decode": lambda: tensors.decode(content),
        "encode": lambda: tensors.encode(array, tensor_pb2.TensorProto()),
        "decode_typed": lambda: tensors.decode(typed),
    }


def _best_us(call: Callable[[], object]) -> float:
    taken = []
    for _ in range(_REPEATS):
        start = perf_counter_ns()
        call()
        taken.append(perf_counter_ns() - start)
    return min(taken) / 1e3
