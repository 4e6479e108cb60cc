"""The type of JSON that has not been checked yet."""

from __future__ import annotations

from typing import Any, TypeAlias

Json: TypeAlias = (
    Any  # nested dicts, lists, texts, numbers, booleans and None, as a client sent them
)
