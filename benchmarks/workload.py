"""What is measured with: models trained on real flights, and the later flights as raw records."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from consistency.bundle import open_bundle
from consistency.digest import digest_sources
from consistency.errors import SamescoreError
from consistency.records import Record
from consistency.snapshots import SNAPSHOT_FOLDER, SnapshotStore
from serving.core.state import ServableId
from serving.servable import BundleLoader, LoadSettings, Servable

ROOT: Final = Path(__file__).parents[1]
FLIGHTS: Final = ROOT / "examples" / "flights"
PACKAGE: Final = "flights_features"
MODELS: Final = ("xgboost", "lightgbm", "keras_float32", "keras_float64")
VERSION: Final = 1


class BenchmarkError(SamescoreError):
    """A benchmark could not be run to its end; the message says which part and why."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured.

    Attributes:
        rounds: in which contestants take turns; the median and the spread are taken over them.
        block: requests that one contestant gets at a time.
        many: requests that one contestant gets at a time over several connections.
        logged: requests in the log that is replayed.
        replays: of that log.
        replayed: requests in the two logs whose replays' memory is compared.
        columns: records that go through the pipeline at once.
        imports: starts of an interpreter, with and without the import.
    """

    rounds: int = 30
    block: int = 300
    many: int = 3_000
    logged: int = 50_000
    replays: int = 5
    replayed: tuple[int, int] = (100_000, 1_000_000)
    columns: int = 200_000
    imports: int = 11


QUICK: Final = Effort(
    rounds=5,
    block=200,
    many=1_000,
    logged=10_000,
    replays=3,
    replayed=(2_000, 10_000),
    columns=100_000,
    imports=3,
)


@dataclass(frozen=True, slots=True)
class Workload:
    """The models, the records, and a place to write to.

    Attributes:
        models: base folder of the bundles.
        scratch: an empty folder.
        records: the flights after the training months, in time order.
        effort: how much is measured.
    """

    models: Path
    scratch: Path
    records: list[Record]
    effort: Effort

    @property
    def snapshots(self) -> Path:
        """The snapshot store."""
        return self.models / SNAPSHOT_FOLDER

    def bundle(self, model: str) -> Path:
        """Return a model's bundle."""
        return self.models / model / str(VERSION)

    def load(self, model: str) -> Servable:
        """Load a model into this process as the server does, gate and current lookups included."""
        settings = LoadSettings(frozenset({PACKAGE}), SnapshotStore(self.snapshots))
        return BundleLoader(ServableId(model, VERSION), self.bundle(model), settings).load()

    def chosen(self, count: int) -> list[Record]:
        """Return so many flights, evenly spaced in time; the same again when they run out."""
        held = len(self.records)
        step = max(1, held // count)
        return [self.records[i * step % held] for i in range(count)]


def prepare(out: Path, effort: Effort) -> Workload:
    """Train what is missing below `out`, and read the flights.

    Raises:
        BenchmarkError: training failed.
    """
    workload = without_models(out, effort)
    if not _usable(workload.models):
        _train(workload.models, out / "train.log")
    return replace(workload, records=_later_flights())


def without_models(out: Path, effort: Effort) -> Workload:
    """Return the workload of measurements that need neither models nor records."""
    scratch = out / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    return Workload(out / "models", scratch, [], effort)


def say(text: str) -> None:
    """Tell whoever watches what is going on."""
    print(text, file=sys.stderr, flush=True)


def _usable(models: Path) -> bool:
    """Tell whether every bundle is there and was made with the features package as it is now."""
    try:
        held = [open_bundle(models / name / str(VERSION)).manifest.pipeline for name in MODELS]
        digest = digest_sources(PACKAGE)
    except SamescoreError:
        return False
    return all(ref is not None and ref.digest == digest for ref in held)


def _train(models: Path, said: Path) -> None:
    say(f"training the flights models into {models} (about 15 seconds)")
    shutil.rmtree(models, ignore_errors=True)
    command = [sys.executable, str(FLIGHTS / "train.py"), "--out", str(models)]
    with said.open("wb") as stream:
        # TensorFlow alone writes 70 lines about the CPU.
        code = subprocess.run(
            command, stdout=stream, stderr=stream, env=os.environ, check=False
        ).returncode
    if code != 0:
        end = "\n  ".join(said.read_text(errors="replace").splitlines()[-12:])
        raise BenchmarkError(f"training failed with exit code {code}; the end of {said}:\n  {end}")


def _later_flights() -> list[Record]:
    """Read July to December through the example's own reader, which lies beside its train.py."""
    sys.path.insert(0, str(FLIGHTS))
    try:
        from flights_data import LATER_MONTHS, load_flights
    finally:
        sys.path.remove(str(FLIGHTS))
    return load_flights().months(*LATER_MONTHS).records
