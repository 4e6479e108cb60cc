"""Finds versions below one base path a model, as a TF Serving configuration names them.

It finds what TF Serving finds (tensorflow/serving `sources/storage_path`): every child whose name
is a whole number, whatever it is. Better than there: the base path of one model that cannot be read
holds up that model alone, and new versions of the others still come.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from serving.core.source import LARGEST_VERSION, Found, FoundVersion

_INTEGER: Final = re.compile(r"\s*(-?[0-9]{1,64})\s*", re.ASCII)

MOST_CHILDREN: Final = 1_000_000
"""Entries of one base path that are looked at."""


class BasePathSource:
    """Versions of named models, each below a path of its own; the paths can be replaced.

    A version's token is always the same: one that failed is not tried again because its files
    changed. Not for use by several threads at once, `replace` excepted.
    """

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self._paths = dict(paths)
        self._known: set[str] = set(paths)
        self._changing = threading.Lock()
        self._problems: list[str] = []

    @property
    def problems(self) -> Sequence[str]:
        """What the last poll had to ignore: unreadable base paths, duplicate versions."""
        return tuple(self._problems)

    def replace(self, paths: Mapping[str, Path]) -> None:
        """Serve these models from now on; safe in any thread."""
        with self._changing:
            self._paths = dict(paths)
            self._known.update(paths)

    def poll(self) -> Found:
        """Return the versions of every model, models in name order.

        A model that was replaced away has an empty entry. One whose base path cannot be read has
        none: what is loaded of it keeps serving.
        """
        with self._changing:
            paths, gone = dict(self._paths), self._known.difference(self._paths)
        self._problems = []
        found: dict[str, Mapping[int, FoundVersion]] = {name: {} for name in gone}
        for name, path in paths.items():
            try:
                found[name] = self._versions(name, path)
            # A null byte in a path is a ValueError.
            except (OSError, ValueError) as error:
                self._problems.append(
                    f"model {name!r}: base path {str(path)!r} cannot be read and the model stays "
                    f"as it is: {error}"
                )
        return dict(sorted(found.items()))

    def _versions(self, name: str, base: Path) -> Mapping[int, FoundVersion]:
        versions: dict[int, FoundVersion] = {}
        for child in sorted(_children(base)):
            version = parse_version(child)
            if version is None:
                continue
            if version in versions:
                self._problems.append(
                    f"model {name!r}: version {version} is served from {child!r}, "
                    f"{versions[version].path.name!r} is ignored; remove one of them"
                )
            versions[version] = FoundVersion(base / child, token="")
        if not versions:
            self._problems.append(
                f"model {name!r} has no version below {str(base)!r}: a version is a directory with "
                "an integer name such as 1"
            )
        return versions


def parse_version(name: str) -> int | None:
    """Return the version that a directory's name spells, None if it is no int64.

    >>> parse_version("00000123"), parse_version("1.0"), parse_version(str(2**63))
    (123, None, None)
    """
    spelled = _INTEGER.fullmatch(name)
    number = None if spelled is None else int(spelled[1])
    return number if number is not None and -LARGEST_VERSION <= number <= LARGEST_VERSION else None


def _children(base: Path) -> Iterable[str]:
    with os.scandir(base) as entries:
        return [entry.name for entry, _ in zip(entries, range(MOST_CHILDREN), strict=False)]
