"""Every metric of the model server, under upstream's names, labels and buckets.

Times are in MICROSECONDS, as upstream's are.

Upstream's page also has the families of the libraries that are linked into its binary (XLA, TSL,
the C++ loader); those that count what this server does too are here, the others are not.
"""

from __future__ import annotations

from typing import Final

from serving.model_server.observing.metric_families import (
    Counter,
    Family,
    Histogram,
    exponential,
)

_LATENCY: Final = exponential(10, 1.8, 33)
_QUEUING: Final = exponential(100, 1.2, 52)
_SIZES: Final = exponential(1, 2, 14)
_EXAMPLES: Final = exponential(1, 2, 15)
_SERVING: Final = "/tensorflow/serving"
_BATCHING: Final = f"{_SERVING}/batching_session"
_LOADING: Final = "/tensorflow/cc/saved_model"


class ServingMetrics:
    """The counters of one server.

    Args:
        per_version: also count by version and signature, in families of our own: upstream's keep
            their labels, or its users' dashboards would add up what belongs apart.

    Attributes:
        request_count: model_name, status: of every request that a face understood, and of none for
            MultiInference and GetModelMetadata over gRPC.
        request_latency: model_name, API, entrypoint: of those that were answered OK.
        runtime_latency: model_name, API, runtime: of the model, the wait for a batch included.
        request_example_counts, request_example_count_total: model: of MultiInference, as upstream.
        request_log_count: model_name, status_code.
        warmup_latency: model_path, status.
        warmup_records_read: model_path.
        load_attempt_count: model_path, status. load_latency: model_path; the sum of all loads.
        queuing_latency: thread_pool_name: of each request in a batch.
        wrapped_run_count: batches that ran.
        padding_size: execution_batch_size. input_batch_size: of requests. processed_batch_size: of
            batches, padding included.
        version_request_count: model_name, version, signature_name, API, entrypoint, status; None
            unless asked for. version_request_latency: the same without status.
    """

    def __init__(self, *, per_version: bool = False) -> None:
        self.request_count = Counter(f"{_SERVING}/request_count", ("model_name", "status"))
        self.request_latency = Histogram(
            f"{_SERVING}/request_latency", ("model_name", "API", "entrypoint"), _LATENCY
        )
        self.runtime_latency = Histogram(
            f"{_SERVING}/runtime_latency", ("model_name", "API", "runtime"), _LATENCY
        )
        self.request_example_counts = Histogram(
            f"{_SERVING}/request_example_counts", ("model",), _EXAMPLES
        )
        self.request_example_count_total = Counter(
            f"{_SERVING}/request_example_count_total", ("model",)
        )
        self.request_log_count = Counter(
            f"{_SERVING}/request_log_count", ("model_name", "status_code")
        )
        self._add_loading()
        self._add_batching()
        self.version_request_count: Counter | None = None
        self.version_request_latency: Histogram | None = None
        if per_version:
            self._add_versions()

    def _add_loading(self) -> None:
        path = ("model_path",)
        self.warmup_latency = Histogram(
            f"{_SERVING}/model_warmup_latency", ("model_path", "status"), _LATENCY
        )
        self.warmup_records_read = Counter(f"{_SERVING}/model_warmup_records_read", path)
        self.load_attempt_count = Counter(
            f"{_LOADING}/load_attempt_count", ("model_path", "status")
        )
        self.load_latency = Counter(f"{_LOADING}/load_latency", path)

    def _add_batching(self) -> None:
        self.queuing_latency = Histogram(
            f"{_BATCHING}/queuing_latency", ("thread_pool_name",), _QUEUING
        )
        self.wrapped_run_count = Counter(f"{_BATCHING}/wrapped_run_count")
        self.padding_size = Histogram(
            f"{_BATCHING}/padding_size", ("execution_batch_size",), _SIZES
        )
        self.input_batch_size = Histogram(f"{_BATCHING}/input_batch_size", (), _SIZES)
        self.processed_batch_size = Histogram(f"{_BATCHING}/processed_batch_size", (), _SIZES)

    def _add_versions(self) -> None:
        labels = ("model_name", "version", "signature_name", "API", "entrypoint")
        self.version_request_count = Counter(
            f"{_SERVING}/version_request_count", (*labels, "status")
        )
        self.version_request_latency = Histogram(
            f"{_SERVING}/version_request_latency", labels, _LATENCY, full_sums=True
        )

    def families(self) -> list[Family]:
        """Return all families, in the order of the page: by upstream's name."""
        found = [value for value in vars(self).values() if value is not None]
        return sorted(found, key=lambda family: family.name.encode())

    def counter_total(self, name: str) -> int:
        """Return the sum of a counter's cells.

        Args:
            name: with slashes, or as the page spells it; 0 for one that there is not.
        """
        for family in self.families():
            if isinstance(family, Counter) and name.replace(":", "/") == family.name:
                return family.total()
        return 0
