from __future__ import annotations

from pathlib import Path

from monitors import metrics
from monitors.metrics import Metric
from monitors.online.backend_health import BackendHealth
from monitors.online.cells import CellStore


def samples(health: BackendHealth, metric: Metric = metrics.BACKEND_WORKERS) -> dict[str, float]:
    (family,) = (f for f in health.collect() if f.name == metric.name)
    return {s.labels.get("backend", ""): s.value for s in family.samples}


def test_workers_are_added_up_and_one_that_starts_again_goes_on_in_its_place(
    tmp_path: Path,
) -> None:
    stores = [CellStore(tmp_path, slot) for slot in (0, 1)]
    workers = [BackendHealth(store) for store in stores]
    for worker in workers:
        worker.declare(["grpc://a:8500", "grpc://b:8500"])
        worker.set("grpc://a:8500", True)
        worker.set("grpc://b:8500", True)
    workers[1].set("grpc://b:8500", False)
    assert samples(workers[0]) == {"grpc://a:8500": 2, "grpc://b:8500": 1}
    stores[1].close()
    again = CellStore(tmp_path, 1)
    newcomer = BackendHealth(again)
    newcomer.declare(["grpc://a:8500", "grpc://b:8500"])
    newcomer.set("grpc://b:8500", True)
    assert samples(workers[0]) == {"grpc://a:8500": 2, "grpc://b:8500": 2}
    for store in (stores[0], again):
        store.close()


def test_without_a_remote_backend_there_is_nothing_to_tell(tmp_path: Path) -> None:
    store = CellStore(tmp_path, 0)
    health = BackendHealth(store)
    health.set("grpc://a:8500", True)
    health.in_flight("grpc://a:8500", 3)
    health.waiting(2)
    for metric in (metrics.BACKEND_WORKERS, metrics.BACKEND_IN_FLIGHT, metrics.BACKEND_WAITING):
        assert samples(health, metric) == {}
    store.close()


def test_requests_at_work_and_in_line_are_added_up_and_die_with_their_worker(
    tmp_path: Path,
) -> None:
    stores = [CellStore(tmp_path, slot) for slot in (0, 1)]
    workers = [BackendHealth(store) for store in stores]
    for number, worker in enumerate(workers, 3):
        worker.declare(["grpc://a:8500", "grpc://b:8500"])
        worker.in_flight("grpc://b:8500", number)
        worker.waiting(10 * number)
    assert samples(workers[0], metrics.BACKEND_IN_FLIGHT) == {
        "grpc://a:8500": 0,
        "grpc://b:8500": 7,
    }
    assert samples(workers[1], metrics.BACKEND_WAITING) == {"": 70}
    stores[1].close()
    again = CellStore(tmp_path, 1)
    BackendHealth(again).declare(["grpc://a:8500", "grpc://b:8500"])
    assert samples(workers[0], metrics.BACKEND_IN_FLIGHT)["grpc://b:8500"] == 3
    assert samples(workers[0], metrics.BACKEND_WAITING) == {"": 30}
    for store in (stores[0], again):
        store.close()
