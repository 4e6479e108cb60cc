"""Versions on disk that are one number: y = x / 2 + addend. A stand-in for a SavedModel, small."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from serving.core.state import ServableId
from serving.model_server.status import not_found

if TYPE_CHECKING:
    from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

    from serving.model_server.api import ServedModel

ADDEND = "addend.txt"


def make_version(base: Path, version: int | str, addend: float = 2.0) -> Path:
    """Put a version on disk at once, as a careful writer does."""
    base.mkdir(parents=True, exist_ok=True)
    draft = base / f".{version}"
    draft.mkdir()
    (draft / ADDEND).write_text(repr(addend))
    return draft.rename(base / str(version))


@dataclass
class HalfPlus:
    addend: float
    signatures: Mapping[str, SignatureDef]
    thread_hint_seconds: float = 0.0
    is_loaded: bool = True

    def run(
        self, signature: SignatureDef, feeds: Mapping[str, Any], fetches: tuple[str, ...]
    ) -> list[Any]:
        from tensorflow import make_ndarray

        assert self.is_loaded
        fed = feeds["x"]
        x = fed if isinstance(fed, np.ndarray) else make_ndarray(fed)
        answer = np.asarray(x, np.float32) * np.float32(0.5) + np.float32(self.addend)
        assert self.is_loaded
        return [answer for _ in fetches]


def half_plus_signatures() -> dict[str, SignatureDef]:
    from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

    signature = SignatureDef(method_name="tensorflow/serving/predict")
    signature.inputs["x"].name, signature.inputs["x"].dtype = "x:0", 1
    signature.outputs["y"].name, signature.outputs["y"].dtype = "y:0", 1
    return {"serving_default": signature}


@dataclass
class HalfPlusShelf:
    """Makes loaders; `before_load` may wait or raise."""

    before_load: Callable[[ServableId], None] = lambda _: None
    attempts: list[ServableId] = field(default_factory=list)

    def __call__(self, servable_id: ServableId, path: Path) -> HalfPlusLoader:
        return HalfPlusLoader(self, servable_id, path)


@dataclass
class HalfPlusLoader:
    shelf: HalfPlusShelf
    id: ServableId
    path: Path

    def load(self) -> ServedModel:
        self.shelf.attempts.append(self.id)
        self.shelf.before_load(self.id)
        try:
            text = (self.path / ADDEND).read_text()
        except OSError as error:
            raise not_found(f"no model at {self.path.name}") from error
        return HalfPlus(float(text), half_plus_signatures())

    def unload(self, servable: ServedModel) -> None:
        assert isinstance(servable, HalfPlus)
        servable.is_loaded = False
