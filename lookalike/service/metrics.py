"""Counters and histograms of a service, for Prometheus."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, generate_latest
from prometheus_client.registry import Collector

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)


class Metrics(Collector):
    """Of one service, since its start; safe in several threads. No label value comes from a request."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self._gauges: dict[str, Gauge] = {}
        self.requests = Counter(
            "lookalike_requests_total", "Requests by route, method and status.", ("route", "method", "status"),
            registry=registry,
        )  # fmt: skip
        self.request_seconds = Histogram(
            "lookalike_request_seconds", "From the request's head to the end of its answer, by route.", ("route",),
            buckets=SECONDS, registry=registry,
        )  # fmt: skip
        self.stage_seconds = Histogram(
            "lookalike_stage_seconds", "Of one request in each stage; encode includes waiting for a batch.", ("stage",),
            buckets=SECONDS, registry=registry,
        )  # fmt: skip
        self.batch_size = Histogram(
            "lookalike_batch_size", "Images that were encoded at once.", buckets=SIZES, registry=registry
        )

    def engine(self) -> tuple[Histogram, Counter, Counter]:
        """Seconds, repetitions and failures of calls to a search server, for a collection that has one."""
        return (
            Histogram(
                "lookalike_engine_seconds", "Of each attempt of a call to the search server.", buckets=SECONDS,
                registry=self._registry,
            ),
            Counter(
                "lookalike_engine_retries_total", "Attempts that failed and were repeated.", registry=self._registry
            ),
            Counter("lookalike_engine_errors_total", "Calls that failed for good.", registry=self._registry),
        )  # fmt: skip

    def gauge(self, name: str, text: str, value: Callable[[], float]) -> None:
        """A number that `value` gives at every scrape; a second gauge of this name replaces the first."""
        if name not in self._gauges:
            self._gauges[name] = Gauge(name, text, registry=self._registry)
        self._gauges[name].set_function(value)

    def collect(self) -> Iterator[Metric]:
        """All metrics but the creation times of the series, which would double the text."""
        for metric in self._registry.collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric

    def text(self) -> bytes:
        """All metrics in the text format of Prometheus."""
        return generate_latest(self)
