"""Reads scikit-learn objects from skops files, and only of types that the operator trusts.

skops names the types in a file before it makes any object of them. What it does not trust by itself
is refused by name here, so that the operator sees what would be imported before it is.

skops writes memory addresses and the time into its files, so that the same object never gives the
same file twice. What is written here is the same bytes for the same fitted object, since its digest
is part of a bundle's identity.
"""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Final, TypeAlias
from zipfile import BadZipFile, ZipFile, ZipInfo

from consistency.errors import ConfigError, SamescoreError
from consistency.jsontype import Json

Fitted: TypeAlias = Any  # Any: scikit-learn and skops have no types, nor have users' estimators


_SCHEMA: Final = "schema.json"


def write_skops(fitted: Fitted) -> bytes:
    """Return the skops file of an object; equal objects give equal bytes."""
    from skops.io import dumps

    with ZipFile(io.BytesIO(dumps(fitted))) as held:
        schema = json.loads(held.read(_SCHEMA))
        files = _renumber(schema)
        written = io.BytesIO()
        with ZipFile(written, "w") as archive:
            for old, new in files.items():
                archive.writestr(ZipInfo(new), held.read(old))
            archive.writestr(ZipInfo(_SCHEMA), json.dumps(schema))
    return written.getvalue()


def _renumber(schema: Json) -> dict[str, str]:
    """Replace memory addresses by numbers in the order of the file, in place.

    Returns:
        Old to new name of each member that the schema names.
    """
    fresh, known, files = itertools.count(1), dict[int, int](), dict[str, str]()
    # Depth first by hand: a forest nests deeper than Python recurses.
    waiting = [schema]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            waiting.extend(reversed(node.values()))
            if "__id__" in node:
                old = node["__id__"]
                # Whether two equal texts or numbers share an address is the interpreter's whim.
                shared = node.get("__loader__") != "JsonNode" and old is not None
                node["__id__"] = known.setdefault(old, next(fresh)) if shared else next(fresh)
            if "file" in node and isinstance(node["file"], str):
                name = node["file"]
                files.setdefault(name, f"{len(files) + 1}{Path(name).suffix}")
                node["file"] = files[name]
        elif isinstance(node, list):
            waiting.extend(reversed(node))
    return files


def read_skops(
    data: bytes,
    trusted: Collection[str],
    *,
    where: Path | str,
    opt_in: str,
    damaged: Callable[[str], SamescoreError],
) -> Fitted:
    """Return the object that a skops file holds.

    Args:
        data: the file's bytes; the types are listed and the object made from these very bytes.
        trusted: full type names beside those that skops trusts by itself.
        where: for messages.
        opt_in: how the operator trusts a type, for the message.
        damaged: makes the error of a file that is none.

    Raises:
        ConfigError: it holds types that nobody trusts.
        SamescoreError: what `damaged` made.
    """
    from skops.io import get_untrusted_types, loads
    from skops.io.exceptions import UntrustedTypesFoundException

    try:
        found = set(get_untrusted_types(data=data)) - set(trusted)
        if found:
            raise _untrusted(where, found, opt_in)
        return loads(data, trusted=sorted(trusted))
    except UntrustedTypesFoundException as error:
        raise ConfigError(f"{where}: {error}; {opt_in}") from error
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{where} holds objects of {error.name!r}, which is not installed; install it"
        ) from error
    except ConfigError:
        raise
    except (BadZipFile, ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise damaged(f"skops cannot read it: {type(error).__name__}: {error}") from error


def _untrusted(where: Path | str, types: Collection[str], opt_in: str) -> ConfigError:
    return ConfigError(
        f"{where} holds objects of types that nobody trusts yet: {', '.join(sorted(types))}; if you"
        f" trust them, {opt_in}"
    )
