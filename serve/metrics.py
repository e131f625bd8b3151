"""What Prometheus reads at `/metrics`."""

import os
from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from cbir.stores.base import StoreInfo

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SHARED = "PROMETHEUS_MULTIPROC_DIR"
"""The environment variable with the folder in which several processes count together."""


class Metrics:
    """The counts and times of one server process, or of all of its processes together."""

    def __init__(self, facts: Callable[[], Mapping[str, StoreInfo]], queues: Callable[[], Mapping[str, int]]):
        """Prepare the metrics. `facts` returns what is known of each open collection, `queues` the items that wait."""
        self._registry = registry = CollectorRegistry()
        self._facts = _Facts(facts, queues)
        self.requests = Counter(
            "cbir_requests", "Requests by their answer.", ("route", "method", "status"), registry=registry
        )
        self.seconds = Histogram(
            "cbir_request_seconds", "Time to answer a request.", ("route",), registry=registry, buckets=_SECONDS
        )
        self.stages = Histogram(
            "cbir_stage_seconds", "Time of each stage of a search.", ("stage",), registry=registry, buckets=_SECONDS
        )
        self.running = Gauge(
            "cbir_requests_running", "Requests being answered.", registry=registry, multiprocess_mode="livesum"
        )

    def record(self, milliseconds: Mapping[str, float]) -> None:
        """Count the time of each stage of a search."""
        for stage, spent in milliseconds.items():
            self.stages.labels(stage.replace(" ", "_")).observe(spent / 1000)

    def text(self) -> bytes:
        """Return all metrics in Prometheus's text format. Those of collections and queues are of this process."""
        registry = self._registry
        if os.environ.get(SHARED):
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        facts = CollectorRegistry()
        facts.register(self._facts)
        return generate_latest(registry) + generate_latest(facts)


class _Facts(Collector):
    """Facts about the open collections and the queues, read when somebody looks."""

    def __init__(self, facts: Callable[[], Mapping[str, StoreInfo]], queues: Callable[[], Mapping[str, int]]):
        self._read, self._queues = facts, queues

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the gauges."""
        points = GaugeMetricFamily("cbir_points", "Images in a collection.", labels=["collection"])
        info = GaugeMetricFamily(
            "cbir_collection_info",
            "The model and the published state of a collection.",
            labels=["collection", "model", "sha256", "generation", "commit"],
        )
        for name, facts in self._read().items():
            points.add_metric([name], facts.count)
            info.add_metric([name, facts.model.name, facts.model.sha256, facts.generation, str(facts.commit)], 1)
        waiting = GaugeMetricFamily("cbir_queue", "Items that wait for a thread.", labels=["queue"])
        for name, length in self._queues().items():
            waiting.add_metric([name], length)
        yield from (points, info, waiting)
