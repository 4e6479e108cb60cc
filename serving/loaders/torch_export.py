"""torch exported programs (`model.pt2`, from `torch.export.save`) in process.

The program is a graph of operators with its weights: no Python class of the model is needed, and
none is imported. `pt2_archive` looks through the file first, because torch itself would run what a
forged one holds.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from consistency.errors import BackendError, BundleError, ConfigError
from consistency.features import FeatureBatch
from consistency.protocols import ScorerInfo
from consistency.records import Column
from consistency.scored import Outputs
from serving.loaders.named_inputs import Input, check_rows, input_arrays
from serving.loaders.runtimes.devices import CPU, Device
from serving.loaders.runtimes.threads import cores
from serving.loaders.runtimes.torch_runtime import TORCH_THREADS, Torch, start_torch
from serving.loaders.trust.grants import NO_TRUST, ModelTrust
from serving.loaders.trust.pt2_archive import find_surprise

FILE: Final = "model.pt2"
_DYNAMIC: Final = (
    "export it with a dynamic batch (torch.export.export(..., dynamic_shapes={'x': {0:"
    " torch.export.Dim('batch')}}))"
)


def load(
    folder: Path, threads: int | None, device: str = CPU, *, trust: ModelTrust = NO_TRUST
) -> TorchScorer:
    """Load `model.pt2` from a folder.

    Args:
        folder: holds the file that `torch.export.save` wrote.
        threads: of torch, within an operator; None takes torch as it runs.
        device: where the program runs; it is moved there.
        trust: whether a file that holds more than tensors and operators may be loaded.

    Raises:
        BundleError: the file is missing, or is no exported program.
        ConfigError: it holds pickles or code and the operator does not trust it; inputs other than
            tensors by position; the device is not there.
    """
    place = Device.parse(device)
    torch = start_torch(place)
    path = folder / FILE
    if not path.is_file():
        raise BundleError(folder, f"{FILE} is missing; save the program with torch.export.save")
    data = path.read_bytes()
    if not trust.allow_pickle:
        _refuse_surprises(folder, data)
    try:
        program = torch.export.load(io.BytesIO(data))
    except Exception as error:  # torch raises what its parsers meet
        raise BundleError(
            folder,
            f"torch {torch.__version__} cannot read {FILE}: {type(error).__name__}: {error}",
        ) from error
    samples = _samples(path, program, torch)
    if place.gpu is not None:
        from torch.export.passes import move_to_device_pass

        program = move_to_device_pass(program, str(place))
    return TorchScorer(torch, program, samples, threads, place)


class TorchScorer:
    """Scores with an exported program.

    A program with a single input of two axes gets all features as one matrix in schema order; any
    other gets one feature for each input, by name. Outputs are named as the program's dict names
    them; a single tensor is `output`, several are `output_0`, `output_1`, ...
    """

    def __init__(
        self,
        torch: Torch,
        program: Torch,
        samples: Sequence[Torch],
        threads: int | None,
        device: Device,
    ) -> None:
        self._torch, self._threads, self._device = torch, threads, str(device)
        self._inputs = _inputs(program, samples)
        self._call = program.module()
        answer = self._compute([sample.numpy() for sample in samples])
        dtypes = dict.fromkeys(value.dtype.name for value in answer.values())
        self._info = ScorerInfo(
            f"in_process/torch {torch.__version__}",
            "+".join(dtypes),
            device=str(device),
            threads=threads or cores(),
        )

    @property
    def info(self) -> ScorerInfo:
        """Version of torch, the outputs' dtype, device, threads."""
        return self._info

    @property
    def inputs(self) -> tuple[Input, ...]:
        """What the model takes."""
        return self._inputs

    def score(self, features: FeatureBatch) -> Outputs:
        """Return the program's outputs by name, dtypes kept, first axis N.

        Raises:
            BackendError: features that the program does not take, or torch failed.
        """
        outputs = self._compute(input_arrays(self._inputs, features, _DYNAMIC))
        check_rows(outputs, features.rows)
        return outputs

    def _compute(self, arrays: Sequence[Column]) -> dict[str, Column]:
        torch = self._torch
        try:
            with torch.inference_mode(), TORCH_THREADS.of(self._threads):
                tensors = [torch.tensor(array, device=self._device) for array in arrays]
                answer = self._call(*tensors)
                return {name: value.cpu().numpy() for name, value in _named(answer).items()}
        except Exception as error:  # torch raises RuntimeError, AssertionError, ValueError, ...
            raise BackendError(f"torch failed: {type(error).__name__}: {error}") from error


def _refuse_surprises(folder: Path, data: bytes) -> None:
    try:
        found = find_surprise(data)
    except (zipfile.BadZipFile, ValueError, KeyError, IndexError, TypeError) as error:
        raise BundleError(
            folder, f"{FILE} is not a whole exported program: {type(error).__name__}: {error}"
        ) from error
    if found:
        raise ConfigError(
            f"{folder / FILE} holds {found}, which a plain exported model does not; torch could run"
            " code from it. Export the model from tensors and ATen operators, or, if you trust the"
            " file's whole way here, load it with --allow-pickle"
        )


def _samples(path: Path, program: Torch, torch: Torch) -> list[Torch]:
    """Return the tensors that the program was exported with."""
    arguments, keywords = program.example_inputs or ((), {})
    if keywords or not arguments or not all(isinstance(a, torch.Tensor) for a in arguments):
        raise ConfigError(
            f"{path}: the program takes other inputs than tensors by position; export a forward"
            " method that takes one matrix, or one tensor a feature"
        )
    return list(arguments)


def _inputs(program: Torch, samples: Sequence[Torch]) -> tuple[Input, ...]:
    """Describe the inputs; an axis of the graph that is no integer is free."""
    meta = {node.name: node.meta["val"] for node in program.graph.nodes if node.op == "placeholder"}
    names = program.graph_signature.user_inputs
    return tuple(
        _input(name, meta[name].shape, sample) for name, sample in zip(names, samples, strict=True)
    )


def _input(name: str, shape: Sequence[object], sample: Torch) -> Input:
    sizes = [size if type(size) is int else None for size in shape]
    rows, *rest = sizes or [0]
    width = rest[0] if len(rest) == 1 else None
    return Input(name, np.dtype(str(sample.dtype).partition(".")[2]), len(sizes), width, rows)


def _named(answer: Torch) -> dict[str, Torch]:
    if isinstance(answer, dict):
        return answer
    if isinstance(answer, (tuple, list)):
        return {f"output_{i}": value for i, value in enumerate(answer)}
    return {"output": answer}
