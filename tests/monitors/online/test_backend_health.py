from __future__ import annotations

from pathlib import Path

from monitors.online.backend_health import BackendHealth
from monitors.online.cells import CellStore


def samples(health: BackendHealth) -> dict[str, float]:
    (family,) = health.collect()
    return {s.labels["backend"]: s.value for s in family.samples}


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
    assert samples(health) == {}
    store.close()
