"""Content digests: how two sides know that they hold the very same thing."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Collection
from pathlib import Path
from typing import Final

import orjson

from consistency.errors import ConfigError
from consistency.jsontype import Json

SOURCE_SUFFIXES: Final = frozenset(
    {
        *(".py", ".pyi", ".pyx", ".so", ".pyd"),
        *(".json", ".jsonl", ".toml", ".yaml", ".yml", ".csv", ".tsv", ".txt"),
        *(".npy", ".npz", ".parquet", ".arrow", ".pkl", ".joblib", ".skops", ".bin", ".gz"),
    }
)
"""Files of a package that can change what its pipeline computes."""


def digest_bytes(data: bytes) -> str:
    """Return the SHA-256 of bytes, in hex."""
    return hashlib.sha256(data).hexdigest()


def digest_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest_folder(folder: Path, *, without: Collection[str] = ()) -> str:
    """Return the digest over the files of a folder: relative paths and bytes.

    Args:
        folder: every file in it counts, at any depth.
        without: what directly in it does not, files or folders.
    """
    held = (p for p in sorted(folder.rglob("*")) if p.is_file())
    parts = [(path.relative_to(folder), path) for path in held]
    return digest_json(
        [(name.as_posix(), digest_file(p)) for name, p in parts if name.parts[0] not in without]
    )


def digest_json(value: Json) -> str:
    """Return the SHA-256 of a value's canonical JSON (sorted keys, no spaces)."""
    return digest_bytes(orjson.dumps(value, option=orjson.OPT_SORT_KEYS))


def digest_sources(package: str) -> str:
    """Return the digest of a package's sources, without importing it.

    Covers every file with one of `SOURCE_SUFFIXES` below the package's folder: relative path and
    bytes, in path order. Line ends are taken as they are.

    Raises:
        ConfigError: no such package is installed.
    """
    root = package_root(package)
    files = [root] if root.is_file() else sorted(_sources(root))
    base = root.parent if root.is_file() else root
    parts = [(path.relative_to(base).as_posix(), digest_file(path)) for path in files]
    return digest_json(parts)


def package_root(package: str) -> Path:
    """Return the folder (or the single file) of an installed top-level package.

    Raises:
        ConfigError: no such package is installed, or the name is dotted.
    """
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or spec.origin is None or not Path(spec.origin).exists():
        raise ConfigError(
            f"package {package!r} is not installed here; pip install the distribution that holds it"
        )
    origin = Path(spec.origin)
    return origin.parent if spec.submodule_search_locations else origin


def _sources(root: Path) -> list[Path]:
    found = (p for p in root.rglob("*") if p.suffix in SOURCE_SUFFIXES and p.is_file())
    return [p for p in found if "__pycache__" not in p.parts]
