"""A server with a planted fault: one feature is stored as float32 on its way to the model.

It stands for a feature store with a float32 column. Everything else is `samescore serve`. Run as
`python -m samescore.demo.acts.faulty`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
import numpy as np

from consistency.features import FeatureBatch
from consistency.log import LogSettings
from consistency.pipeline import WrappedPipeline
from consistency.records import Record
from consistency.snapshots import SnapshotStore
from samescore.cli.options import EnumValue, print_json
from samescore.demo.stage import PIPELINE_PACKAGE
from samescore.server import Server, ServerSettings, serve
from serving.core.state import ManagerState
from serving.servable import GateMode

FAULTY_FEATURE: Final = "route_late_rate"


@dataclass(frozen=True, slots=True)
class StoredAsFloat32(WrappedPipeline):
    """A bound pipeline whose one feature comes back from a float32 column.

    Attributes:
        feature: the name of a float64 feature.
    """

    feature: str

    def __call__(self, records: Sequence[Record]) -> FeatureBatch:
        """Return the feature rows, one column through float32 and back."""
        batch = self.inner(records)
        numeric = batch.numeric.copy(order="F")
        at = batch.schema.numeric_names.index(self.feature)
        numeric[:, at] = numeric[:, at].astype(np.float32)
        return FeatureBatch(
            batch.schema, batch.rows, numeric, batch.others, batch.status, batch.snapshots
        )


@click.command()
@click.argument("base", type=click.Path(path_type=Path))
@click.option("--snapshots", type=click.Path(path_type=Path), required=True)
@click.option("--log", "log_folder", type=click.Path(path_type=Path), required=True)
@click.option("--gate", type=EnumValue(GateMode), required=True)
def main(base: Path, snapshots: Path, log_folder: Path, gate: GateMode) -> None:
    """Serve BASE with the fault, on any free port."""
    settings = ServerSettings(
        base=base,
        log=LogSettings(log_folder),
        trusted=frozenset({PIPELINE_PACKAGE}),
        store=SnapshotStore(snapshots),
        gate=gate,
        transport=lambda pipeline: StoredAsFloat32(pipeline, FAULTY_FEATURE),
    )
    serve(settings, "127.0.0.1", 0, _announce)


def _announce(url: str, server: Server) -> None:
    statuses = server.manager.statuses()
    serving = [str(s.id) for s in statuses if s.state is ManagerState.AVAILABLE]
    print_json(
        {
            "url": url,
            "serving": serving,
            "failed": {str(s.id): s.error for s in statuses if s.error},
        }
    )


if __name__ == "__main__":
    main()
