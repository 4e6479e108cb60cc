"""The fifteen controls of the fault catalogue: what changes no score must raise no alarm.

Each control is carried out on real requests to the flights models: served and logged, changed as
the catalogue says, and replayed. An alarm is a report that does not agree, a finding, or an exit
code other than 0.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
import pytest

from consistency.compare import compare, joint
from consistency.environment import record_environment
from consistency.features import FeatureBatch
from consistency.log import RequestLogReader
from consistency.replay import BatchPlan, ReplayReport, ReplaySettings, replay
from consistency.snapshots import SnapshotStore
from consistency.storage import LIGHT_FORMS, StorageVerdict, check_storage, forms_named
from samescore import ModelTrust, replay_log
from samescore.replays.targets import BundleTargets
from serving.core.state import ServableId
from serving.servable import BundleLoader, LoadSettings, Servable
from tests.fixtures.cli import samescore
from tests.fixtures.server import COMMAND, Load, serving
from tests.fixtures.traffic import serve_into_log

pytestmark = pytest.mark.slow

CATALOGUE: Final = Path(__file__).parents[1] / "data" / "faults.json"
EXAMPLE: Final = Path(__file__).parents[2] / "examples" / "flights"
PACKAGE: Final = "flights_features"
TRUST: Final = ModelTrust(
    types=frozenset({"sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"})
)
TREES: Final = ("xgboost", "lightgbm", "sklearn")
FLOAT64: Final = ("keras_float64", "onnx_float64", "torch_float64")
ROWS: Final = 300


@dataclass(frozen=True)
class World:
    """What the controls are carried out in.

    Attributes:
        base: the served folder.
        records: flights of August, and `later` ones of December.
        folder: empty, for the control at hand.
    """

    base: Path
    records: list[dict[str, Any]]
    later: list[dict[str, Any]]
    folder: Path

    def servable(self, name: str, threads: int = 1) -> Servable:
        store = SnapshotStore(self.base / ".snapshots")
        settings = LoadSettings(frozenset({PACKAGE}), store, threads=threads, trust=TRUST)
        return BundleLoader(ServableId(name, 1), self.base / name / "1", settings).load()

    def serve(
        self, name: str, bodies: Sequence[Any], log: str = "log"
    ) -> tuple[Path, list[np.ndarray[Any, Any]]]:
        """Score and log bodies; return the log's folder and each answer's scores."""
        answers = serve_into_log(self.servable(name), self.folder / name / log, bodies)
        scores = [a.scores for a in answers if a.scores is not None]
        assert len(scores) == len(bodies)
        return self.folder / name / log, scores

    def targets(self, threads: int = 1) -> BundleTargets:
        store = SnapshotStore(self.base / ".snapshots")
        return BundleTargets(self.base, store, frozenset({PACKAGE}), (), threads, trust=TRUST)

    def replayed(self, log: Path, batch: int | None = 4096, threads: int = 1) -> ReplayReport:
        return replay_log(log, self.targets(threads), ReplaySettings(batch=BatchPlan(batch)))

    def arguments(self, log: Path) -> list[str]:
        trusted = [part for name in sorted(TRUST.types) for part in ("--trust-type", name)]
        command = ["replay", log, "--bundles", self.base, "--pipeline", PACKAGE, *trusted]
        return [str(part) for part in command]


def bodies(records: Sequence[dict[str, Any]], size: int = 10) -> list[dict[str, Any]]:
    parts = [list(records[i : i + size]) for i in range(0, len(records), size)]
    return [{"type": "record", "data": {"insts": part}} for part in parts]


def quiet(report: ReplayReport, rows: int) -> ReplayReport:
    """Assert that nothing is reported, and that there was something to report on."""
    assert report.agrees, report.to_json()
    for model in report.models.values():
        assert model.rows == rows
        assert model.first_divergence is None
        assert not model.features
        assert set(model.stages) >= {"features", "scores"}
    assert report.models
    return report


def c01_identical_replay(world: World) -> None:
    for name in (*TREES, *FLOAT64):
        log, _ = world.serve(name, bodies(world.records))
        report = quiet(world.replayed(log, batch=None), ROWS)
        for stage in report.models[f"{name}/1"].stages.values():
            assert stage.identical_ratio == 1.0, "bit for bit"


def c02_json_key_order_and_whitespace(world: World) -> None:
    chance = random.Random(2)

    def scrambled(body: dict[str, Any]) -> bytes:
        records = []
        for record in body["data"]["insts"]:
            names = list(record)
            chance.shuffle(names)
            records.append({name: record[name] for name in names})
        return json.dumps({"data": {"insts": records}, "type": "record"}, indent=3).encode()

    plain = bodies(world.records)
    _, straight = world.serve("xgboost", plain, "straight")
    log, other = world.serve("xgboost", [scrambled(body) for body in plain])
    assert np.array_equal(np.concatenate(straight), np.concatenate(other))
    quiet(world.replayed(log), ROWS)


def c03_equal_instant_other_offset(world: World) -> None:
    zones = [timezone(timedelta(minutes=m)) for m in (-300, 0, 60, 345, 840)]

    def moved(record: dict[str, Any], place: int) -> dict[str, Any]:
        instant = datetime.fromisoformat(record["scheduled_departure"])
        assert instant.tzinfo is not None
        return {**record, "scheduled_departure": instant.astimezone(zones[place % 5]).isoformat()}

    _, straight = world.serve("xgboost", bodies(world.records), "straight")
    records = [moved(record, i) for i, record in enumerate(world.records)]
    assert sum(a != b for a, b in zip(records, world.records, strict=True)) > ROWS / 2
    log, other = world.serve("xgboost", bodies(records))
    assert np.array_equal(np.concatenate(straight), np.concatenate(other))
    quiet(world.replayed(log), ROWS)


def c04_float64_batch_size_noise(world: World) -> None:
    for name in FLOAT64:
        log, _ = world.serve(name, bodies(world.records))
        for batch in (1, 256):
            quiet(world.replayed(log, batch), ROWS)


def c05_float64_instruction_set(world: World) -> None:
    """Replay in processes whose libraries may not use the CPU's newest instructions."""
    older = {
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "TF_ENABLE_ONEDNN_OPTS": "0",
        "ATEN_CPU_CAPABILITY": "default",
        "OPENBLAS_CORETYPE": "Haswell",
        "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512_SKX",
    }
    for name in FLOAT64:
        log, _ = world.serve(name, bodies(world.records))
        environment = {**os.environ, **older}
        command = [str(COMMAND), *world.arguments(log), "--json"]
        done = subprocess.run(command, capture_output=True, env=environment, check=False)
        assert done.returncode == 0, (done.stdout, done.stderr)
        assert orjson.loads(done.stdout)["models"][f"{name}/1"]["rows"] == ROWS


def c06_forest_thread_order(world: World) -> None:
    from sklearn.ensemble import RandomForestRegressor

    batch = world.servable("xgboost").pipeline(world.records)  # type: ignore[misc]
    features = np.nan_to_num(batch.matrix(), nan=-1.0)
    target = np.random.default_rng(6).random(len(features))
    forest = RandomForestRegressor(40, n_jobs=1, random_state=6).fit(features, target)
    alone = forest.predict(features)
    for _ in range(5):
        forest.n_jobs = 2
        assert compare(alone, forest.predict(features)).summary.agrees
    log, _ = world.serve("sklearn", bodies(world.records))
    for threads in (1, 2):
        quiet(world.replayed(log, threads=threads), ROWS)


def c07_parquet_round_trip(world: World) -> None:
    kept_by("parquet", world)


def c08_json_round_trip(world: World) -> None:
    kept_by("json.python", world)


def kept_by(form: str, world: World) -> None:
    """Assert that a form of storage keeps every bit of features and scores."""
    servable = world.servable("lightgbm")
    assert servable.pipeline is not None
    scorer = world.targets()(("lightgbm", 1), servable.info.bundle_digest, {}).scorer
    assert scorer is not None
    records = [*world.records, *world.later]
    whole = ~np.isnan(servable.pipeline(records).matrix()).any(axis=1)
    batch = servable.pipeline([records[i] for i in np.flatnonzero(whole).tolist()])
    assert batch.rows >= 50
    report = check_storage(
        batch,
        forms_named(LIGHT_FORMS, (form,)),
        score=lambda f: servable.postprocess(scorer.score(f)),
    )
    found = report.result(form)
    assert found.verdict is StorageVerdict.EVERY_BIT, found
    assert found.scores is not None
    assert found.scores.identical_ratio == 1.0


def c09_negative_zero(world: World) -> None:
    found = compare(np.array([-0.0, 1.0]), np.array([0.0, 1.0])).summary
    assert found.agrees
    assert found.rows_identical == 1, "told as a note, not as a difference"
    servable = world.servable("lightgbm")
    assert servable.pipeline is not None
    batch = servable.pipeline(world.records)
    numeric = np.where(batch.numeric == 0.0, -0.0, batch.numeric)
    assert np.signbit(numeric[batch.numeric == 0.0]).all()
    negative = FeatureBatch(batch.schema, batch.rows, np.asfortranarray(numeric))
    assert joint([compare(a, b) for a, b in zip(numeric.T, batch.numeric.T, strict=True)]).agrees
    target = world.targets()(("lightgbm", 1), servable.info.bundle_digest, {})
    assert target.scorer is not None
    plain, other = (
        target.postprocess(target.scorer.score(features)) for features in (batch, negative)
    )
    assert compare(other, plain).summary.agrees


def c10_one_ulp_beside_a_tie(_: World) -> None:
    online, offline = 0.12345678904999999, 0.12345678905
    assert online != offline
    assert f"{online:.10f}" != f"{offline:.10f}", "the texts differ"
    assert compare(np.array([online]), np.array([offline])).summary.agrees


def c11_irrelevant_package(world: World) -> None:
    """Replay in an environment with a package that training did not have."""
    site = world.folder / "site"
    info = site / "unrelated_package-2.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: unrelated-package\nVersion: 2.0\n")
    log, _ = world.serve("xgboost", bodies(world.records))
    path = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
    ask = (
        "from consistency.environment import record_environment as r; "
        "print(r().packages['unrelated-package'])"
    )
    environment = {**os.environ, "PYTHONPATH": path}
    told = subprocess.run(
        [sys.executable, "-c", ask], capture_output=True, text=True, env=environment, check=False
    )
    assert told.stdout.strip() == "2.0", "the environment differs"
    assert "unrelated-package" not in record_environment().packages
    command = [str(COMMAND), *world.arguments(log)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout
    assert "unrelated" not in done.stdout, "no blame"


def c12_order_and_concurrency(world: World) -> None:
    trusted = [part for name in sorted(TRUST.types) for part in ("--trust-type", name)]
    log = world.folder / "log"
    with serving(
        world.base, "--log", log, "--pipeline", PACKAGE, "--workers", "2", *trusted,
        "--gate", "report", errors=world.folder / "errors",
    ) as server:  # fmt: skip
        load = Load(server.port, "/predict/lightgbm", bodies(world.records, 3), 8)
        load.wait_for(400)
        load.stop()
        assert server.terminate() == 0
    assert not load.failures
    items = list(RequestLogReader(log))
    assert len(items) == len(load.acknowledged)
    random.Random(12).shuffle(items)
    shuffled = replay(iter(items), world.targets(), ReplaySettings())
    rows = sum(item.rows for item in items if not hasattr(item, "problem"))
    quiet(shuffled, rows)
    parallel = samescore(*world.arguments(log), "--jobs", "2", "--json")
    assert parallel.code == 0, parallel.out
    assert parallel.json["models"]["lightgbm/1"]["rows"] == rows


def c13_compaction(world: World) -> None:
    log, _ = world.serve("xgboost", bodies(world.records))
    before = samescore(*world.arguments(log), "--json").json
    assert samescore("log", "compact", log).code == 0
    assert not list(log.glob("*.jsonl"))
    assert list(log.glob("*.parquet"))
    after = samescore(*world.arguments(log), "--json")
    assert after.code == 0
    assert after.json["models"] == before["models"]
    quiet(world.replayed(log), ROWS)


def c14_nan_equals_nan(world: World) -> None:
    assert compare(np.array([np.nan]), np.array([np.nan])).summary.agrees
    assert not compare(np.array([np.nan]), np.array([0.0])).summary.agrees
    lost = [{**record, "carrier": "ZZ", "dest": "???"} for record in world.records]
    log, _ = world.serve("lightgbm", bodies(lost))
    held = [item.features for item in RequestLogReader(log) if not hasattr(item, "problem")]
    assert all(batch is not None and np.isnan(batch.numeric).any() for batch in held)
    quiet(world.replayed(log), ROWS)


def c15_population_drift_only(world: World) -> None:
    """December is not August: the distribution moves, the scores of each row do not."""
    august, _ = world.serve("xgboost", bodies(world.records), "august")
    december, _ = world.serve("xgboost", bodies(world.later), "december")
    means = [
        np.mean([item.features.column("month_cos").mean() for item in RequestLogReader(log)])  # type: ignore[union-attr]
        for log in (august, december)
    ]
    assert abs(means[0] - means[1]) > 1.0
    for log in (august, december):
        quiet(world.replayed(log), ROWS)


CONTROLS: Final[dict[str, Callable[[World], None]]] = {
    name.partition("_")[0].upper(): check
    for name, check in list(globals().items())
    if name[:1] == "c" and name[1:3].isdigit()
}


@pytest.fixture(scope="module")
def flights() -> Iterator[tuple[list[dict[str, Any]], list[dict[str, Any]]]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLE)
        from flights_data import load_flights

        months = load_flights()
        august, december = (
            [dict(record) for record in months.months(m, m).thinned(ROWS).records[:ROWS]]
            for m in (8, 12)
        )
        yield august, december


def test_every_control_of_the_catalogue_is_carried_out() -> None:
    listed = {control["id"] for control in json.loads(CATALOGUE.read_text())["controls"]}
    assert set(CONTROLS) == listed
    assert len(listed) == 15


@pytest.mark.parametrize("control", sorted(CONTROLS))
def test_control_raises_no_alarm(
    control: str,
    flights: tuple[list[dict[str, Any]], list[dict[str, Any]]],
    flights_models: Path,
    tmp_path: Path,
) -> None:
    CONTROLS[control](World(flights_models, *flights, tmp_path))


def test_the_same_frame_sees_a_fault(
    flights: tuple[list[dict[str, Any]], list[dict[str, Any]]], flights_models: Path, tmp_path: Path
) -> None:
    """A quiet frame proves nothing unless it can be loud."""
    world = World(flights_models, *flights, tmp_path)
    log, _ = world.serve("lightgbm", bodies(world.records))
    (segment,) = log.glob("*.jsonl")
    report = replay(_shifted(segment), world.targets(), ReplaySettings())
    assert not report.agrees


def _shifted(segment: Path) -> Iterator[Any]:
    for item in RequestLogReader(segment.parent):
        assert not hasattr(item, "problem")
        scores = [score + 1e-9 for score in item.fields["scores"]]
        yield type(item)({**item.fields, "scores": scores})
