"""How long requests wait before a worker looks at them: a histogram in cells.

The latency of a scored request begins when a worker takes it up. What it waited before, in a socket
or behind others in the worker's event loop, no request knows of itself; `serving.arrivals` asks ten
times a second instead.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import Final

import numpy as np
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector

from monitors import metrics
from monitors.online.cells import CellStore
from monitors.online.exposition import histogram_family

_KIND: Final = "arrivals"
_BOUNDS: Final = metrics.ARRIVAL_WAIT.buckets
_LE: Final = [*map(repr, _BOUNDS), "+Inf"]
_NS_PER_SECOND: Final = 1e9


class ArrivalWaits(Collector):
    """Counts waits, and collects those of all workers. For one thread, the event loop's.

    Args:
        store: holds the counts.

    Raises:
        OSError: there is no room for them.
    """

    def __init__(self, store: CellStore) -> None:
        self._store = store
        # nanoseconds in all, then the buckets, not cumulative
        self._cells = store.cells(_KIND, {"le": _LE}, 1 + len(_LE))

    def waited(self, seconds: float) -> None:
        """Count a wait, >= 0."""
        self._cells[0] += round(seconds * _NS_PER_SECOND)
        self._cells[1 + bisect_left(_BOUNDS, seconds)] += 1

    def collect(self) -> Iterator[Family]:
        """Yield the histogram."""
        total = np.zeros(1 + len(_LE), np.int64)
        for file in self._store.files(_KIND):
            total += file.words
        family = histogram_family(metrics.ARRIVAL_WAIT)
        held = total[1:].cumsum().tolist()
        family.add_metric((), list(zip(_LE, held, strict=True)), int(total[0]) / _NS_PER_SECOND)
        yield family
