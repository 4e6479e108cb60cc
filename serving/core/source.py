"""Finds versions on disk: ``<base>/<model>/<version>/``, as TF Serving wants it."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TypeAlias

from consistency.errors import ConfigError

MODEL_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
"""Model names become parts of paths, URLs and metric labels."""

LARGEST_VERSION: Final = 2**63 - 1
"""Versions are int64 on every wire."""

NAME_RULE: Final = (
    "a model's name is 1 to 128 letters, digits, '.', '_' and '-', "
    "of which the first is a letter or a digit"
)


@dataclass(frozen=True, slots=True)
class FoundVersion:
    """A version's directory.

    Attributes:
        path: absolute, free of symbolic links, inside the base.
        token: equal as long as its files are the same; a failed version is tried again when this
            changes.
    """

    path: Path
    token: str


Found: TypeAlias = Mapping[str, Mapping[int, FoundVersion]]
"""Model name → version → where. An empty entry says "no version is left"; a missing one, "unknown:
leave the model as it is"."""


class Source(Protocol):
    """Watches some place for versions."""

    @property
    def problems(self) -> Sequence[str]:
        """What the last poll had to ignore, for the operator; empty when all was well."""
        ...

    def poll(self) -> Found:
        """Return what is there now."""
        ...


class FileSystemSource:
    """Versions are directories with integer names; ``00000123`` is version 123.

    Other names, files and dotted (temporary) directories are ignored. Symbolic links are followed
    inside the base and refused when they leave it. Not for use by several threads at once.

    Args:
        base: the directory of the models.
        names: serve these models only; None for every directory that is a model's.
        setting: what the operator calls the base, for messages.

    Raises:
        ConfigError: one of the names can never be a model's.
    """

    def __init__(
        self,
        base: Path,
        names: Collection[str] | None = None,
        *,
        setting: str = "model base path",
    ) -> None:
        self._base, self._setting = base, setting
        self._names = None if names is None else frozenset(names)
        self._seen: set[str] = set()
        self._problems: list[str] = []
        for name in sorted(self._names or ()):
            if not MODEL_NAME.fullmatch(name):
                raise ConfigError(f"model {name!r}: {NAME_RULE}")

    @property
    def problems(self) -> Sequence[str]:
        """What the last poll had to ignore: clashes, refused links, unreadable directories."""
        return tuple(self._problems)

    def poll(self) -> dict[str, dict[int, FoundVersion]]:
        """Return every version of every model, models in name order.

        A model that was seen before and is gone has an empty entry. One that cannot be read just
        now (a lost mount, a permission) has none, and is a problem: nothing is unloaded for that.

        Raises:
            ConfigError: the base does not exist, is not a directory or cannot be read.
        """
        self._problems = []
        found: dict[str, dict[int, FoundVersion]] = {}
        unreadable: set[str] = set()
        for name, folder in self._models().items():
            try:
                found[name] = self._versions(name, folder)
            except FileNotFoundError:
                continue  # removed since the base was listed
            except OSError as error:
                unreadable.add(name)
                self._problems.append(f"model {name!r} cannot be read and stays as it is: {error}")
        for name in sorted(self._seen - found.keys() - unreadable):
            found[name] = {}
        self._seen.update(found)
        return found

    def _models(self) -> dict[str, Path]:
        try:
            self._root = Path(os.path.realpath(self._base, strict=True))
            folders = self._directories(self._root, self._is_asked_for)
        except OSError as error:
            raise ConfigError(
                f"{self._setting} {str(self._base)!r} cannot be read ({error.strerror or error}); "
                "give an existing directory that holds <model>/<version>/"
            ) from error
        self._note_unusual(folders)
        return {name: path for name, path in folders.items() if MODEL_NAME.fullmatch(name)}

    def _is_asked_for(self, name: str) -> bool:
        return not name.startswith(".") if self._names is None else name in self._names

    def _note_unusual(self, names: Collection[str]) -> None:
        for name in names:
            if not MODEL_NAME.fullmatch(name):
                self._problems.append(f"directory {name!r} is not served: {NAME_RULE}")
        for name in sorted((self._names or frozenset()).difference(names)):
            self._problems.append(f"model {name!r} has no directory below {self._base}")

    def _versions(self, name: str, folder: Path) -> dict[int, FoundVersion]:
        """Return a model's versions in ascending order; of two spellings the first one counts."""
        found: dict[int, FoundVersion] = {}
        for spelling, path in self._directories(folder, _is_version).items():
            version = int(spelling)
            if version in found:
                self._problems.append(
                    f"model {name!r}: directory {spelling!r} is ignored, version {version} is "
                    f"served from {found[version].path.name!r}; remove one of them"
                )
            else:
                found[version] = FoundVersion(path, content_token(path))
        if not found:
            self._problems.append(
                f"model {name!r} has no version below {folder}: a version is a directory with an "
                "integer name such as 1"
            )
        return dict(sorted(found.items()))

    def _directories(self, folder: Path, wanted: Callable[[str], bool]) -> dict[str, Path]:
        """Return the wanted child directories in name order, with links resolved.

        Raises:
            OSError: the folder cannot be listed.
        """
        with os.scandir(folder) as entries:
            chosen = sorted((e for e in entries if wanted(e.name)), key=lambda entry: entry.name)
        paths = ((entry.name, self._directory(entry)) for entry in chosen)
        return {name: path for name, path in paths if path is not None}

    def _directory(self, entry: os.DirEntry[str]) -> Path | None:
        if not entry.is_symlink():
            return Path(entry.path) if entry.is_dir() else None
        try:
            target = Path(os.path.realpath(entry.path, strict=True))
        except OSError:
            return None  # it dangles, or turns in a circle
        if not target.is_relative_to(self._root):
            # What serves models may read more than whoever may write a link here.
            self._problems.append(
                f"link {entry.path} is refused: it leaves the {self._setting}; move the directory "
                f"itself below {self._root}"
            )
            return None
        # The resolved path is what gets loaded: a link that is turned later changes nothing.
        return target if target.is_dir() else None


def content_token(folder: Path) -> str:
    """Return a text that changes when a file below the folder is replaced, edited or repaired.

    It is made of names, sizes, modes and times. Inodes are left out because network file systems
    make up new ones; the change time, unlike the modification time, also sees a file that was
    swapped for one of the same age, and a permission that was mended. What loading itself may leave
    behind (``__pycache__``, dotted names, a directory's own times) does not count.
    """
    facts = "\n".join(_facts(str(folder)))
    return hashlib.sha256(facts.encode(errors="surrogateescape")).hexdigest()[:32]


def _facts(root: str) -> Iterator[str]:
    for folder, folders, files in os.walk(root):
        folders[:] = _watched(folders)
        yield folder.removeprefix(root)
        for name in _watched(files):
            try:
                stat = os.stat(f"{folder}/{name}")  # noqa: PTH116 - a Path costs as much as the stat
            except OSError:
                continue  # gone since it was listed: the next poll sees a quiet directory
            yield f"{name}/{stat.st_size}/{stat.st_mode}/{stat.st_mtime_ns}/{stat.st_ctime_ns}"


def _watched(names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if name != "__pycache__" and not name.startswith("."))


def _is_version(name: str) -> bool:
    return name.isascii() and name.isdigit() and int(name) <= LARGEST_VERSION
