from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from serving.model_server.status import StatusError
from serving.model_server.wire import text_protos
from serving.model_server.wire.text_protos import message_class, read_text_proto

MESSAGES: dict[str, text_protos.Fields] = {
    "Outer": {
        "sizes": (1, "repeated int64"),
        "inner": (2, "Inner"),
        "more": (3, "repeated Inner"),
    },
    "Inner": {"path": (1, "string"), "on": (2, "bool")},
}


def test_messages_hold_messages_and_lists(tmp_path: Path) -> None:
    path = tmp_path / "outer"
    path.write_text("sizes: [4, 8] sizes: 16 inner { path: '/m' on: true } more {} more {}")
    found: Any = read_text_proto(path, message_class("Outer", MESSAGES))
    assert (list(found.sizes), found.inner.path, found.inner.on) == ([4, 8, 16], "/m", True)
    assert len(found.more) == 2


def test_a_class_can_be_made_twice() -> None:
    assert message_class("Inner", MESSAGES)() is not message_class("Inner", MESSAGES)()


def test_a_file_that_is_too_large_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_protos, "_LARGEST_FILE_BYTES", 10)
    path = tmp_path / "large"
    path.write_text("#" * 11)
    with pytest.raises(StatusError, match="larger than 10 bytes"):
        read_text_proto(path, message_class("Inner", MESSAGES))
