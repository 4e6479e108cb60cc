"""`samescore suite docs`."""

from __future__ import annotations

from pathlib import Path

import click

from consistency.jsontype import Json
from consistency.log.selection import LogSelection
from monitors.errors import MonitorError
from monitors.suites.compiled.compiler import load_json
from monitors.suites.whole.checking import LoggedRecords, columns_read, frame_of
from monitors.suites.whole.data_docs import Documented, build_data_docs
from samescore.cli.log.selection import selection_options
from samescore.cli.options import ANY_PATH
from samescore.cli.suite.check import DATA, gather
from samescore.cli.suite.options import suite_option
from samescore.suites import SuiteLocation


@click.command("docs")
@click.argument("data", type=DATA, required=False)
@suite_option
@selection_options
@click.option("--out", type=ANY_PATH, required=True,
              help="Folder of the pages; one that this command wrote is replaced.")  # fmt: skip
def command(
    data: Path | None, suites: tuple[SuiteLocation, ...], selection: LogSelection, out: Path
) -> None:
    """Write Great Expectations' Data Docs: suites, and what a check of DATA finds, as HTML pages.

    \b
    Example:
      samescore suite docs requests --suite xgboost=suite.json --since 24h \\
        --out data-docs

    DATA is the folder of a request log, or a file of records: Parquet or JSON lines; without it
    only the suites are described. The pages show values of unexpected rows. They load nothing from
    the network when they are opened, and nothing is sent while they are built.
    """
    if not suites:
        raise click.UsageError("name at least one --suite MODEL=suite.json")
    held = {s.model: load_json(s.path) for s in suites}
    found = {} if data is None else gather(data, held, selection)[0]
    documented = [_documented(model, suite, found.get(model)) for model, suite in held.items()]
    click.echo(build_data_docs(documented, out))


def _documented(model: str, suite: dict[str, Json], found: LoggedRecords | None) -> Documented:
    if found is None:
        return Documented(model, suite)
    if not found.records:
        raise MonitorError(
            f"there is no raw record of model {model!r} to check; leave DATA out for the suite's "
            f"page alone"
        )
    return Documented(model, suite, frame_of(found.records, columns_read(suite)))
