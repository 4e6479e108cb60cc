"""Reads one table of the configuration key by key; a mistake names file, key, value and remedy."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, NoReturn, TypeVar

from consistency.errors import ConfigError
from consistency.jsontype import Json
from samescore.points_in_time import microseconds_of

E = TypeVar("E", bound=StrEnum)

_SHOWN_CHARACTERS: Final = 60


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the configuration.

    Attributes:
        source: the file that holds it, for messages.
        name: as its header is written, for example ``bundles.rides``; empty for the file's top.
        values: its keys and values.
        folder: what relative paths start from.
    """

    source: Path
    name: str
    values: Mapping[str, Json]
    folder: Path

    def only(self, known: Collection[str]) -> None:
        """Refuse a key that means nothing.

        Raises:
            ConfigError: naming the key and the nearest known one.
        """
        for key in self.values:
            if key not in known:
                near = difflib.get_close_matches(str(key), known, 1)
                hint = f"did you mean {near[0]!r}?" if near else "remove it"
                self.refuse(key, f"is no key of this table; {hint} (known: {_list(known)})")

    def refuse(self, key: str, problem: str) -> NoReturn:
        """Say what is wrong with a key.

        Raises:
            ConfigError: always.
        """
        place = f"[{self.name}] {key}" if self.name else key
        value = "" if key not in self.values else f" = {self.values[key]!r:.{_SHOWN_CHARACTERS}}"
        raise ConfigError(f"{self.source}: {place}{value}: {problem}")

    def table(self, key: str) -> Table:
        """Return a table within this one, an empty one when it is not there."""
        value = self.values.get(key, {})
        if not isinstance(value, Mapping):
            self.refuse(key, "is no table; write it as a [section]")
        name = f"{self.name}.{key}" if self.name else key
        return Table(self.source, name, value, self.folder)

    def tables(self, key: str) -> dict[str, Table]:
        """Return the tables of a table, by name: ``[bundles.a]``, ``[bundles.b]``."""
        outer = self.table(key)
        for name, value in outer.values.items():
            if not isinstance(value, Mapping):
                outer.refuse(name, f"is no table; write it below a header [{key}.NAME]")
            if not _is_test_name(name):
                outer.refuse(name, "is no name for a test; use letters, digits, '.', '_' and '-'")
        return {name: outer.table(name) for name in outer.values}

    def text(self, key: str, default: str | None = None) -> str | None:
        """Return a text."""
        value = self.values.get(key, default)
        if value is not None and (not isinstance(value, str) or not value):
            self.refuse(key, "is no text; write it in quotes")
        return value

    def texts(self, key: str, default: tuple[str, ...] | None = ()) -> tuple[str, ...] | None:
        """Return a list of texts."""
        value = self.values.get(key)
        if value is None:
            return default
        if not isinstance(value, list) or not all(isinstance(v, str) and v for v in value):
            self.refuse(key, 'is no list of texts; write it as ["a", "b"]')
        return tuple(value)

    def time(self, key: str) -> int | None:
        """Return a point in time, microseconds since the epoch."""
        text = self.text(key)
        try:
            return None if text is None else microseconds_of(text)
        except ValueError as e:
            self.refuse(key, str(e))

    def path(self, key: str) -> Path | None:
        """Return a path, relative ones below the file's folder."""
        text = self.text(key)
        return None if text is None else self.folder / text

    def flag(self, key: str, default: bool) -> bool:
        """Return true or false."""
        value = self.values.get(key, default)
        if not isinstance(value, bool):
            self.refuse(key, "is neither true nor false")
        return value

    def share(self, key: str, default: float) -> float:
        """Return a number above 0 and at most 1."""
        value = self.values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
            self.refuse(key, "is no share above 0 and at most 1")
        return value

    def count(self, key: str, default: int, *, lowest: int, highest: int) -> int:
        """Return a whole number within bounds."""
        value = self.values.get(key, default)
        return self._whole(key, value, lowest, highest)

    def counts(
        self, key: str, default: tuple[int, ...], *, lowest: int, highest: int
    ) -> tuple[int, ...]:
        """Return a list of whole numbers within bounds; none only as the default."""
        value = self.values.get(key, list(default))
        if not isinstance(value, list) or (not value and default):
            self.refuse(key, "is no list of numbers; write it as [1, 64]")
        return tuple(self._whole(key, v, lowest, highest) for v in value)

    def choice(self, key: str, kind: type[E], default: E) -> E:
        """Return one of an enumeration's values."""
        value = self.values.get(key, default.value)
        if not isinstance(value, str) or value not in list(kind):
            self.refuse(key, f"is not one of {', '.join(map(repr, (k.value for k in kind)))}")
        return kind(value)

    def reasons(self, key: str) -> dict[str, str]:
        """Return a table of texts by name."""
        inner = self.table(key)
        for name, reason in inner.values.items():
            if not isinstance(reason, str) or not reason.strip():
                inner.refuse(name, "says no reason; write why this check is left out")
        return dict(inner.values)

    def _whole(self, key: str, value: Json, lowest: int, highest: int) -> int:
        if type(value) is not int or not lowest <= value <= highest:
            self.refuse(key, f"is no whole number from {lowest} to {highest}")
        return value


def _is_test_name(name: object) -> bool:
    if not isinstance(name, str) or not name.isprintable():
        return False
    return bool(name) and not any(c in name for c in "[]:\\")


def _list(names: Collection[str]) -> str:
    return ", ".join(sorted(names))
