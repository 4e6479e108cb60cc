"""The boards as the JSON text that Grafana reads; the same boards always give the same text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from dashboards.model import model
from dashboards.overview import overview

_BOARDS: Final = (overview, model)


@dataclass(frozen=True, slots=True)
class Board:
    """A finished board.

    Attributes:
        uid: its stable name in Grafana.
        content: as JSON values. Any: whatever Grafana's schema allows.
    """

    uid: str
    title: str
    content: Mapping[str, Any]

    @property
    def file_name(self) -> str:
        """Return the name of its file."""
        return f"{self.uid}.json"

    @property
    def text(self) -> str:
        """Return the file's text."""
        return to_text(self.content)


def boards() -> Iterator[Board]:
    """Build every board of the house."""
    for build in _BOARDS:
        content = json.loads(JSONEncoder().encode(build()))
        yield Board(content["uid"], content["title"], content)


def to_text(content: Mapping[str, Any]) -> str:
    """Return JSON with sorted keys, so that two texts differ only where the boards do."""
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
