"""Great Expectations' Data Docs as a folder of pages: suites, and what checks of data found.

The pages are GX's own. They are built in a context in memory, without network or statistics, and
made to load nothing when they are opened (`offline_pages.py`).
"""

from __future__ import annotations

import html
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from consistency.errors import ConfigError
from consistency.jsontype import Json
from monitors.suites.levels import level_of
from monitors.suites.whole.gx import ephemeral_context, import_gx, load_suite, quiet_run
from monitors.suites.whole.offline_pages import offline

if TYPE_CHECKING:
    import pandas as pd

MARK: Final = "samescore-data-docs"
"""A file that says that a folder was written here and may be replaced."""
_SITE: Final = "samescore"


@dataclass(frozen=True, slots=True)
class Documented:
    """A suite, and the data that it is checked on.

    Attributes:
        name: of the model: the data asset's name on the pages.
        suite: its JSON.
        frame: object columns, index 0 to N - 1; None for the suite's page alone.
    """

    name: str
    suite: Mapping[str, Json]
    frame: pd.DataFrame | None = None


def build_data_docs(documented: Sequence[Documented], out: Path) -> Path:
    """Write the pages into a folder, all of them or none, and return the first page.

    Args:
        documented: suites, with their data or without; names of suites are unique.
        out: a folder that is not there yet, empty, or was written by this function.

    Raises:
        ConfigError: Great Expectations is not installed, cannot read a suite, or the folder holds
            something else.
    """
    _check_folder(out)
    names = [str(d.suite["name"]) for d in documented]
    if len(set(names)) < len(names):
        raise ConfigError(f"suites are named {', '.join(names)}; give each a name of its own")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as folder:
            site = Path(folder) / "site"
            _build(documented, site)
            for page in site.rglob("*.html"):
                page.write_text(offline(page.read_text("utf-8")), "utf-8")
            shutil.rmtree(site / "static", ignore_errors=True)  # the pages need none of it
            (site / MARK).write_text("written by samescore; replaced as a whole\n")
            if out.exists():
                shutil.rmtree(out)
            site.rename(out)
    except OSError as e:
        raise ConfigError(f"--out {out}: {e.strerror}; name a folder that can be written") from e
    return out / "index.html"


def _check_folder(out: Path) -> None:
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise ConfigError(f"--out {out}: is no folder; name another place")
    if out.exists() and any(out.iterdir()) and not (out / MARK).is_file():
        raise ConfigError(f"--out {out}: holds other files; name an empty folder or a new one")


def _build(documented: Sequence[Documented], site: Path) -> None:
    context = ephemeral_context()
    for existing in list(context.get_site_names()):
        context.delete_data_docs_site(existing)
    context.add_data_docs_site(
        site_name=_SITE,
        site_config={
            "class_name": "SiteBuilder",
            "show_how_to_buttons": False,
            "store_backend": {
                "class_name": "TupleFilesystemStoreBackend",
                "base_directory": str(site.absolute()),
            },
            "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        },
    )
    for one in documented:
        _add(context, one)
    _escape_results(context)
    context.build_data_docs(site_names=[_SITE])


def _add(context: Any, one: Documented) -> None:  # noqa: ANN401 - GX's own untyped context
    suite = context.suites.add(load_suite(one.suite))
    if one.frame is not None:
        _run(context, one.name, suite, one.frame)
    shown = load_suite(_annotated(one.suite))
    suite.expectations = shown.expectations
    suite.save()


def _run(context: Any, name: str, suite: Any, frame: pd.DataFrame) -> None:  # noqa: ANN401 - GX
    gx = import_gx()
    source = context.data_sources.add_pandas(name)
    batch = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe(name)
    validation = context.validation_definitions.add(
        gx.ValidationDefinition(name=name, data=batch, suite=suite)
    )
    checkpoint = context.checkpoints.add(
        gx.Checkpoint(
            name=name,
            validation_definitions=[validation],
            result_format={"result_format": "SUMMARY"},
        )
    )
    run = gx.RunIdentifier(run_name=name)
    quiet_run(checkpoint, frame, run_id=run)


def _escape_results(context: Any) -> None:  # noqa: ANN401 - GX's own untyped context
    """Escape the texts of all results: GX writes values of records into its pages as they are."""
    store = context.validation_results_store
    for key in store.list_keys():
        held = store.get(key)
        for result in held.results:
            result.result = _escaped(result.result)
            result.exception_info = _escaped(result.exception_info)
            config = result.expectation_config
            if config is not None:
                config.kwargs = _escaped(config.kwargs)
        store.update(key, held)


def _escaped(value: Json) -> Json:
    if isinstance(value, str):
        return html.escape(value)
    if isinstance(value, dict):
        return {_escaped(k): _escaped(v) for k, v in value.items()}
    return [_escaped(v) for v in value] if isinstance(value, (list, tuple)) else value


def _annotated(suite: Mapping[str, Json]) -> dict[str, Json]:
    """Return a suite as its page shows it: escaped, and each rule says what becomes of a breach."""
    return {**suite, "expectations": [_with_note(held) for held in suite["expectations"]]}


def _with_note(held: Mapping[str, Json]) -> dict[str, Json]:
    meta = held.get("meta") or {}
    facts = meta.get("samescore") or {}
    level = level_of(held["type"]).value
    note = f"{level}-level"
    if facts.get("policy"):
        note += f", policy {facts['policy']}"
    if facts.get("batch_rows"):
        note += f", holds from {facts['batch_rows']} rows on"
    own = held.get("notes")
    own = [own] if isinstance(own, str) else list(own or ())
    kwargs = _escaped(held.get("kwargs", {}))
    return {**held, "kwargs": kwargs, "notes": [*map(html.escape, own), note]}
