"""torch in a process: its threads, and what makes a GPU repeat itself."""

from __future__ import annotations

import os
from typing import Any, TypeAlias

from consistency.errors import ConfigError
from serving.loaders.runtimes.devices import Device
from serving.loaders.runtimes.threads import ThreadCount

Torch: TypeAlias = Any  # Any: tensors and exported programs, which torch itself types loosely


def start_torch(device: Device) -> Torch:
    """Import torch, and make it repeat itself on a GPU if one is asked for.

    Full float32 (no TensorFloat-32), no search for the fastest kernel, deterministic kernels, a
    fixed cuBLAS workspace: one GPU then gives the same bits again. It still gives other bits than
    the CPU; for ten decimals score in float64.

    Raises:
        ConfigError: the device is not there.
    """
    if device.gpu is not None:
        # cuBLAS reads it when CUDA starts.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    import torch

    if device.gpu is None:
        return torch
    if device.gpu >= torch.cuda.device_count():
        raise ConfigError(
            f"device {device!s}: torch {torch.__version__} finds {torch.cuda.device_count()} GPUs;"
            " install a torch built for CUDA and see nvidia-smi, or use device 'cpu'"
        )
    backends: Torch = torch.backends
    backends.cuda.matmul.fp32_precision = "ieee"
    backends.cudnn.conv.fp32_precision = "ieee"
    backends.cudnn.benchmark = False
    backends.cudnn.deterministic = True
    torch.use_deterministic_algorithms(mode=True)
    return torch


def _set_threads(count: int) -> None:
    import torch

    torch.set_num_threads(count)


TORCH_THREADS = ThreadCount(_set_threads)
"""torch has one number of threads a process; every torch model of it counts here."""
