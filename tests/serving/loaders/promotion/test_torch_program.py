from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from consistency.errors import BundleError, ConfigError
from serving.loaders.promotion.torch_program import promote_program
from serving.loaders.trust.pt2_archive import find_surprise

pytestmark = pytest.mark.slow  # importing torch, and exporting, take seconds

ROWS, WIDTH = 160, 12


class Sequence(nn.Module):
    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell, self.last = cell, nn.Linear(8, 1)

    def forward(self, row: torch.Tensor) -> torch.Tensor:
        hidden, _ = self.cell(row.reshape(row.shape[0], 6, 2))
        return self.last(hidden[:, -1])


class Tokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.last = nn.Embedding(50, 8), nn.Linear(9, 1)

    def forward(self, tokens: torch.Tensor, price: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"score": self.last(torch.cat([self.embedding(tokens).mean(1), price], 1))}


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block = nn.TransformerEncoderLayer(4, 2, 16, batch_first=True)
        self.last = nn.Linear(12, 1)

    def forward(self, row: torch.Tensor) -> torch.Tensor:
        return self.last(self.block(row.reshape(row.shape[0], 3, 4)).flatten(1))


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 1)

    def forward(self, row: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.last(row + nn.functional.gelu(self.first(row))))


class MadeOnTheWay(nn.Module):
    """Floats of the default dtype that no weight brings in."""

    def forward(self, row: torch.Tensor) -> torch.Tensor:
        thirds = torch.arange(1, WIDTH + 1) / 3
        tenth = torch.full((1,), 0.1)
        return (row * thirds + torch.zeros(1) + tenth).to(torch.float32).sum(1, keepdim=True)


class Calls(nn.Module):
    def __init__(self, call: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.call, self.first = call, nn.Linear(WIDTH, 1)

    def forward(self, row: torch.Tensor) -> torch.Tensor:
        return self.call(self.first(row))


def image(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Unflatten(1, (1, 4, 3)), *layers, nn.Flatten(), nn.LazyLinear(1))


ARCHITECTURES: dict[str, Callable[[], nn.Module]] = {
    "dense": lambda: nn.Sequential(nn.Linear(WIDTH, 64), nn.ReLU(), nn.Dropout(), nn.Linear(64, 1)),
    "layer_norm": lambda: nn.Sequential(nn.Linear(WIDTH, 16), nn.LayerNorm(16), nn.Linear(16, 1)),
    "batch_norm": lambda: nn.Sequential(nn.Linear(WIDTH, 16), nn.BatchNorm1d(16), nn.Linear(16, 1)),
    "conv2d": lambda: image(nn.Conv2d(1, 8, 2, padding=1), nn.BatchNorm2d(8), nn.MaxPool2d(2)),
    "upsample": lambda: image(nn.Upsample(scale_factor=2, mode="bilinear")),
    "lstm": lambda: Sequence(nn.LSTM(2, 8, batch_first=True)),
    "gru": lambda: Sequence(nn.GRU(2, 8, batch_first=True)),
    "embedding": Tokens,
    "attention": Attention,
    "residual": Residual,
    "made_on_the_way": MadeOnTheWay,
}


def samples(name: str) -> tuple[torch.Tensor, ...]:
    made = torch.Generator().manual_seed(4)
    if name == "embedding":
        tokens = torch.randint(0, 50, (ROWS, 6), generator=made)
        return tokens, torch.randn(ROWS, 1, generator=made)
    return (torch.randn(ROWS, WIDTH, generator=made),)


def export(module: nn.Module, path: Path, rows: tuple[torch.Tensor, ...]) -> None:
    module(*rows)  # a lazy layer learns its width
    batch = torch.export.Dim("batch", max=4096)
    shapes = tuple({0: batch} for _ in rows)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(
            module.eval(), tuple(r[:3] for r in rows), dynamic_shapes=shapes
        )
        torch.export.save(program, path)


def only(answer: Any) -> np.ndarray:
    (tensor,) = answer.values() if isinstance(answer, dict) else (answer,)
    return tensor.detach().numpy()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_an_architecture_is_promoted(name: str, tmp_path: Path) -> None:
    torch.manual_seed(3)
    rows = samples(name)
    export(ARCHITECTURES[name](), tmp_path / "old.pt2", rows)
    promote_program(tmp_path / "old.pt2", tmp_path / "new.pt2")
    assert find_surprise((tmp_path / "new.pt2").read_bytes()) == "", "a plain exported program"

    old, new = (torch.export.load(tmp_path / f"{which}.pt2") for which in ("old", "new"))
    assert new.graph_signature.user_inputs == old.graph_signature.user_inputs
    assert (new.call_spec.in_spec, new.call_spec.out_spec) == (
        old.call_spec.in_spec,
        old.call_spec.out_spec,
    )
    assert list(new.range_constraints.values()) == list(old.range_constraints.values())
    before, run = only(old.module()(*rows)), new.module()
    after = only(run(*rows))
    assert (before.dtype, after.dtype) == (np.float32, np.float64)
    np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-5)
    assert (after != before).any()
    alone = np.concatenate([only(run(*(r[i : i + 1] for r in rows))) for i in range(64)])
    np.testing.assert_allclose(alone, after[:64], rtol=0, atol=5e-11)
    for key, value in new.state_dict.items():
        np.testing.assert_array_equal(value.numpy(), old.state_dict[key].detach().numpy())


def test_floats_that_the_graph_makes_are_float64_to_the_last_digit(tmp_path: Path) -> None:
    export(MadeOnTheWay(), tmp_path / "old.pt2", samples(""))
    promote_program(tmp_path / "old.pt2", tmp_path / "new.pt2")
    ones = torch.ones(1, WIDTH)
    got = only(torch.export.load(tmp_path / "new.pt2").module()(ones))
    expected = sum(i / 3 + 0.1 for i in range(1, WIDTH + 1))
    np.testing.assert_allclose(got, [[expected]], rtol=1e-15)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda x: x.view(torch.int32), r"operation aten::view\.dtype \(node 'view'\)"),
        (lambda x: x.half().float(), r"operation aten::to\.dtype .*half precision"),
        (lambda x: nn.functional.dropout(x, training=True), r"aten::dropout .*training mode"),
    ],
)
def test_what_cannot_be_promoted_is_refused_by_name(
    call: Callable[[torch.Tensor], torch.Tensor], match: str, tmp_path: Path
) -> None:
    export(Calls(call), tmp_path / "old.pt2", samples(""))
    with pytest.raises(ConfigError, match=match):
        promote_program(tmp_path / "old.pt2", tmp_path / "new.pt2")
    assert not (tmp_path / "new.pt2").exists()


def test_a_model_in_training_mode_is_refused_by_name(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(WIDTH, 4), nn.BatchNorm1d(4)).train()
    program = torch.export.export(module, (torch.randn(4, WIDTH),))
    torch.export.save(program, tmp_path / "old.pt2")
    with pytest.raises(ConfigError, match=r"aten::batch_norm .*model\.eval\(\)"):
        promote_program(tmp_path / "old.pt2", tmp_path / "new.pt2")


def test_half_precision_weights_are_refused_by_name(tmp_path: Path) -> None:
    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("scale", torch.ones(1, dtype=torch.bfloat16))

        def forward(self, row: torch.Tensor) -> torch.Tensor:
            return row * self.scale.float()

    export(Half(), tmp_path / "old.pt2", samples(""))
    with pytest.raises(ConfigError, match=r"'scale' is torch\.bfloat16"):
        promote_program(tmp_path / "old.pt2", tmp_path / "new.pt2")


def test_a_file_that_holds_code_is_refused(tmp_path: Path) -> None:
    class Branch(nn.Module):
        def forward(self, row: torch.Tensor) -> torch.Tensor:
            return torch.cond(row.sum() > 0, torch.sin, torch.cos, (row,))

    export(Branch(), tmp_path / "old.pt2", samples(""))
    with pytest.raises(ConfigError, match="which a plain exported model does not"):
        promote_program(tmp_path / "old.pt2", tmp_path / "new.pt2")


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "old.pt2").write_bytes(b"hello\n")
    with pytest.raises(BundleError, match="cannot read it"):
        promote_program(tmp_path / "old.pt2", tmp_path / "new.pt2")
