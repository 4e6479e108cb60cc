"""The online monitors: what a scrape says is exact at any moment, over workers and windows."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry

from consistency.errors import ConfigError
from consistency.features import FeatureBatch, FeatureStatus, feature_batch
from consistency.protocols import Observer
from consistency.schema import FeatureSchema, FeatureType
from consistency.scored import Outcome, ScoredRequest, ServableInfo
from monitors.errors import MonitorError
from monitors.online.blocks import BLOCK
from monitors.online.cells import CellStore
from monitors.online.observer import RowMonitor
from monitors.online.window import WindowSettings
from monitors.psi import population_stability_index
from monitors.reference import ReferenceSet
from tests.fixtures.scored import INFO, make_request

Array = NDArray[Any]

NAMES = ("x", "y", "city")
SCHEMA = FeatureSchema(NAMES, (FeatureType.FLOAT64, FeatureType.FLOAT64, FeatureType.STRING))
CITIES = ("Bonn", "Kiel", "Ulm")
M = {"model": "m", "version": "1"}
WINDOW = WindowSettings(slices=3, slice_seconds=10, min_rows=50)


@dataclass
class Clock:
    """Shows what it is set to."""

    now: float = 1_767_225_600.0

    def __call__(self) -> float:
        return self.now


def columns(rows: int, seed: int, shift: float = 0.0) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    city = np.empty(rows, object)
    city[:] = rng.choice(CITIES, rows).tolist()
    return {"x": rng.normal(shift, size=rows), "y": rng.normal(size=rows), "city": city}


def scores(rows: int, seed: int) -> Array:
    return np.random.default_rng(seed).random(rows)


REFERENCE = ReferenceSet.build(columns(2_000, 1), scores(2_000, 1))


def batch(held: dict[str, Array], **status: list[int]) -> FeatureBatch:
    codes = {name: np.array(values, np.uint8) for name, values in status.items()}
    return feature_batch(SCHEMA, held, codes)


def request(
    held: dict[str, Array], made: Array, info: ServableInfo = INFO, **status: list[int]
) -> ScoredRequest:
    features = batch(held, **status)
    return make_request(servable=info, rows=features.rows, features=features, scores=made)


def rows_of(rows: int, seed: int, shift: float = 0.0) -> ScoredRequest:
    return request(columns(rows, seed, shift), scores(rows, seed))


class Page:
    """The monitor of one worker, and what a scrape says of it."""

    def __init__(
        self,
        folder: Path,
        clock: Clock,
        *available: ServableInfo,
        slot: int = 0,
        reference: bytes = REFERENCE.to_bytes(),
    ) -> None:
        self.store = CellStore(folder, slot)
        self.monitor = RowMonitor(
            self.store, window=WINDOW, servables=lambda: available, clock=clock
        )
        for info in available:
            self.monitor.prepare(info, NAMES, reference)
        self.registry = CollectorRegistry()
        self.registry.register(self.monitor)

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"samescore_{name}", {**M, **labels})

    def flags(self, feature: str) -> list[float | None]:
        kinds = ("missing", "unseen", "out_of_range")
        return [self.value(f"feature_{kind}_total", feature=feature) for kind in kinds]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def page(tmp_path: Path, clock: Clock) -> Page:
    return Page(tmp_path, clock, INFO)


def test_it_is_an_observer(page: Page) -> None:
    observer: Observer = page.monitor
    assert observer.name == "row_monitor"


def test_every_series_of_an_available_servable_is_there_before_its_first_request(
    page: Page,
) -> None:
    for kind in ("nan", "infinite", "out_of_range"):
        assert page.value("score_anomalies_total", kind=kind) == 0
    assert page.flags("x") == [0, 0, 0]
    assert page.flags("city") == [0, 0, None], "a category has no range"
    assert page.value("window_rows") == 0
    assert page.value("scores_constant") == 0
    assert page.value("feature_reference_missing_ratio", feature="x") == 0
    assert page.value("score_psi") is None
    assert page.value("feature_psi", feature="x") is None


def test_missing_unseen_and_out_of_range_are_counted_by_row(page: Page) -> None:
    held = columns(5, 3)
    held["x"][:3] = [math.nan, 1e9, 0.0]
    held["city"][:2] = [None, "Atlantis"]
    status = [FeatureStatus.OK, FeatureStatus.UNSEEN, FeatureStatus.ABSENT, 0, 0]
    page.monitor.observe(request(held, scores(5, 3), y=[int(s) for s in status]))
    assert page.flags("x") == [1, 0, 1]
    assert page.flags("y") == [1, 1, 0]
    assert page.flags("city") == [1, 1, None]
    page.monitor.observe(request(held, scores(5, 3)))
    assert page.flags("x") == [2, 0, 2]
    assert page.flags("y") == [1, 1, 0], "a status is not inherited by the next row there"


def test_anomalous_and_constant_scores(page: Page) -> None:
    made = np.array([math.nan, math.inf, -math.inf, 7.0, -7.0, 0.5])
    page.monitor.observe(request(columns(6, 3), made))
    assert page.value("score_anomalies_total", kind="nan") == 1
    assert page.value("score_anomalies_total", kind="infinite") == 2
    assert page.value("score_anomalies_total", kind="out_of_range") == 2


def test_scores_are_constant_while_all_of_the_window_are_the_same(page: Page, clock: Clock) -> None:
    page.monitor.observe(request(columns(49, 3), np.full(49, 0.25)))
    assert page.value("scores_constant") == 0, "too few to tell"
    page.monitor.observe(request(columns(1, 3), np.full(1, 0.25)))
    assert page.value("scores_constant") == 1
    page.monitor.observe(rows_of(1, 4))
    assert page.value("scores_constant") == 0
    clock.now += 30
    page.monitor.observe(request(columns(60, 3), np.full(60, 0.25)))
    assert page.value("scores_constant") == 1, "the other score has left the window"


def test_the_stability_index_is_that_of_the_rows_of_the_window(page: Page) -> None:
    page.monitor.observe(rows_of(49, 5, shift=1.0))
    assert page.value("window_rows") == 49
    assert page.value("feature_psi", feature="x") is None, "too few rows"
    page.monitor.observe(rows_of(651, 6, shift=1.0))
    parts = [columns(49, 5, 1.0), columns(651, 6, 1.0)]
    for name in NAMES:
        reference = REFERENCE.features[name]
        held = reference.counts(np.concatenate([p[name] for p in parts]))
        index = population_stability_index(reference.training_counts, held)
        assert page.value("feature_psi", feature=name) == index
    made = np.concatenate([scores(49, 5), scores(651, 6)])
    counts = REFERENCE.score_counts(made)[0]
    index = population_stability_index(REFERENCE.scores[0].training_counts, counts)
    assert page.value("score_psi") == index
    drifted, steady = page.value("feature_psi", feature="x"), page.value("feature_psi", feature="y")
    assert drifted is not None
    assert steady is not None
    assert drifted > 0.5
    assert steady < 0.1


def test_the_window_slides_slice_by_slice(page: Page, clock: Clock) -> None:
    seen = []
    for turn in range(6):
        page.monitor.observe(rows_of(100 + turn, turn))
        seen.append(page.value("window_rows"))
        clock.now += 10
    assert seen == [100, 201, 303, 306, 309, 312]
    assert page.value("window_rows") == 104 + 105, "the slice at hand is empty still"
    clock.now += 20
    assert page.value("window_rows") == 0, "without a request, and nothing is counted twice"
    assert page.value("score_psi") is None


def test_a_clock_that_is_set_back_loses_no_row(page: Page, clock: Clock) -> None:
    page.monitor.observe(rows_of(100, 1))
    clock.now -= 3_600
    page.monitor.observe(rows_of(7, 1))
    clock.now += 3_600
    assert page.value("window_rows") == 107


@pytest.mark.parametrize("sizes", [(1,) * 1_300, (BLOCK,) * 3, (700, 1, 1_500), (5_000,)])
def test_a_scrape_at_any_moment_misses_no_row(
    tmp_path: Path, clock: Clock, sizes: tuple[int, ...]
) -> None:
    page = Page(tmp_path, clock, INFO)
    total = sum(sizes)
    held, made = columns(total, 9), scores(total, 9)
    held["x"][::3] = math.nan
    begin = 0
    for i, rows in enumerate(sizes):
        part = slice(begin, begin + rows)
        page.monitor.observe(request({n: c[part] for n, c in held.items()}, made[part]))
        begin += rows
        if i % 97 == 0:
            assert page.value("window_rows") == begin
            assert page.flags("x")[0] == len(range(0, begin, 3))
    assert page.value("window_rows") == total
    reference = REFERENCE.features["city"]
    index = population_stability_index(reference.training_counts, reference.counts(held["city"]))
    assert page.value("feature_psi", feature="city") == index


def test_workers_are_added_up_whichever_is_scraped(tmp_path: Path, clock: Clock) -> None:
    pages = [Page(tmp_path, clock, INFO, slot=slot) for slot in range(2)]
    pages[0].monitor.observe(rows_of(600, 1))
    pages[1].monitor.observe(rows_of(30, 2))
    both = np.concatenate([scores(600, 1), scores(30, 2)])
    index = population_stability_index(
        REFERENCE.scores[0].training_counts, REFERENCE.score_counts(both)[0]
    )
    for page in pages:
        assert page.value("window_rows") == 630
        assert page.value("score_psi") == index
    clock.now += 30
    pages[1].monitor.observe(rows_of(50, 3))
    for page in pages:
        assert page.value("window_rows") == 50, "a worker without requests has an old slice"


def test_a_worker_that_is_killed_loses_no_row_and_its_successor_goes_on(
    tmp_path: Path, clock: Clock
) -> None:
    dying = Page(tmp_path, clock, INFO, slot=1)
    for turn in range(700):
        dying.monitor.observe(rows_of(1, turn))
    dying.store.close()  # what the kernel does with its lock; nothing else is done at the end
    page = Page(tmp_path, clock, INFO)
    assert page.value("window_rows") == 700
    successor = Page(tmp_path, clock, INFO, slot=1)
    successor.monitor.observe(rows_of(2, 9))
    assert page.value("window_rows") == successor.value("window_rows") == 702
    assert len(list(tmp_path.glob("rows-*.cells"))) == 1


def test_only_scored_requests_count(page: Page) -> None:
    page.monitor.observe(replace(rows_of(3, 1), outcome=Outcome.BACKEND_ERROR, scores=None))
    page.monitor.observe(replace(rows_of(3, 1), outcome=Outcome.DATA_ERROR, features=None))
    assert page.value("window_rows") == 0


def test_a_servable_without_a_reference_has_no_index_but_all_the_rest(
    tmp_path: Path, clock: Clock
) -> None:
    page = Page(tmp_path, clock, INFO, reference=b"")
    held = columns(60, 3)
    held["x"][0] = math.nan
    page.monitor.observe(request(held, np.full(60, 1e9)))
    assert page.value("window_rows") == 60
    assert page.value("scores_constant") == 1
    assert page.value("score_anomalies_total", kind="out_of_range") == 0
    assert page.flags("x") == [1, 0, None]
    assert page.value("score_psi") is None
    assert page.value("feature_psi", feature="x") is None
    assert page.value("feature_reference_missing_ratio", feature="x") is None


def test_an_opaque_servable_has_scores_only(tmp_path: Path, clock: Clock) -> None:
    page = Page(tmp_path, clock)
    info = replace(INFO, bundle_digest="")
    page.monitor._servables = lambda: [info]
    page.monitor.prepare(info, (), b"")
    page.monitor.observe(make_request(servable=info, features=None, scores=np.array([math.nan])))
    page.monitor.observe(make_request(servable=info, features=None, scores=None))
    assert page.value("score_anomalies_total", kind="nan") == 1
    assert page.value("window_rows") == 1


def test_features_of_every_type(tmp_path: Path, clock: Clock) -> None:
    names = ("f", "pair", "words", "flag", "count")
    types = (FeatureType.FLOAT64, FeatureType.FLOAT32, FeatureType.TOKENS, FeatureType.BOOL,
             FeatureType.INT64)  # fmt: skip
    words = np.empty(4, object)
    words[:] = [["a"], ["a", "b"], None, []]
    held = {
        "f": np.arange(4.0),
        "pair": np.array([[1, 2], [3, 4], [5, 6], [7, np.nan]], np.float32),
        "words": words,
        "flag": np.array([True, False, True, True]),
        "count": np.array([1, 2, 2**53 + 1, -1]),
    }
    reference = ReferenceSet.build(held, np.linspace(0, 1, 4))
    monitor = RowMonitor(CellStore(tmp_path), window=replace(WINDOW, min_rows=1), clock=clock,
                         servables=lambda: [INFO])  # fmt: skip
    monitor.prepare(INFO, names, reference.to_bytes())
    whole = feature_batch(FeatureSchema(names, types), held, {})
    made = np.linspace(0, 1, 4)
    monitor.observe(make_request(rows=4, features=whole, scores=made))
    for i in range(4):
        row = {n: c[i : i + 1] for n, c in held.items()}
        one = feature_batch(FeatureSchema(names, types), row, {})
        monitor.observe(make_request(features=one, scores=made[i : i + 1]))
    registry = CollectorRegistry()
    registry.register(monitor)
    for name in names:
        psi = registry.get_sample_value("samescore_feature_psi", {**M, "feature": name})
        assert psi == 0.0, f"{name}: twice the training sample itself"
        out = {**M, "feature": name}
        assert registry.get_sample_value("samescore_feature_out_of_range_total", out) == 0
    missing = "samescore_feature_missing_total"
    assert registry.get_sample_value(missing, {**M, "feature": "words"}) == 2
    assert registry.get_sample_value(missing, {**M, "feature": "pair"}) == 2


def test_several_outputs_give_the_index_of_the_one_that_moved_most(
    tmp_path: Path, clock: Clock
) -> None:
    rng = np.random.default_rng(3)
    trained = rng.random((500, 2))
    reference = ReferenceSet.build(columns(500, 1), trained)
    page = Page(tmp_path, clock, INFO, reference=reference.to_bytes())
    made = rng.random((200, 2)) * [1.0, 0.5]
    page.monitor.observe(request(columns(200, 2), made))
    page.monitor.observe(request(columns(1, 2), made[:1]))
    counts = reference.score_counts(np.concatenate([made, made[:1]]))
    indices = [
        population_stability_index(r.training_counts, c)
        for r, c in zip(reference.scores, counts, strict=True)
    ]
    assert page.value("score_psi") == max(indices) == indices[1]
    with pytest.raises(MonitorError, match=r"shape \(3,\).*2 outputs"):
        page.monitor.observe(request(columns(3, 2), scores(3, 2)))
    assert page.value("window_rows") == 201


def test_an_earlier_bundle_of_the_version_is_in_the_counters_and_not_in_the_window(
    tmp_path: Path, clock: Clock
) -> None:
    page = Page(tmp_path, clock, INFO)
    page.monitor.observe(rows_of(60, 1))
    rebuilt = replace(INFO, bundle_digest="d" * 64)
    page.monitor.prepare(rebuilt, NAMES, REFERENCE.to_bytes())
    page.monitor._servables = lambda: [rebuilt]
    held = columns(5, 2)
    held["x"][:] = math.nan
    page.monitor.observe(request(held, scores(5, 2), rebuilt))
    assert page.value("window_rows") == 5
    assert page.flags("x")[0] == 5
    page.monitor._servables = tuple
    assert page.flags("x")[0] == 5
    assert page.value("window_rows") is None, "gauges are of what is available"


def test_threads_lose_no_row_while_it_is_scraped(page: Page) -> None:
    def observe_many() -> None:
        for turn in range(300):
            page.monitor.observe(rows_of(3, turn))

    threads = [threading.Thread(target=observe_many) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        rows = page.value("window_rows")
        assert rows is not None
        assert rows % 3 == 0
    for thread in threads:
        thread.join()
    assert page.value("window_rows") == 3_600


def test_a_damaged_reference_is_an_error(page: Page) -> None:
    with pytest.raises(MonitorError, match="build the bundle anew"):
        page.monitor.prepare(INFO, NAMES, b"{}")


@pytest.mark.parametrize("name", ["slices", "slice_seconds", "min_rows"])
def test_a_window_of_nothing_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"window {name}: got 0; give 1 or more"):
        WindowSettings(**{name: 0})
