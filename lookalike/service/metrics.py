"""Counters and histograms in Prometheus' text format (version 0.0.4)."""

import bisect
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

Labels = tuple[tuple[str, str], ...]

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
HISTOGRAMS = {
    "lookalike_request_seconds": ("From the request's head to the end of its answer, by route.", SECONDS),
    "lookalike_stage_seconds": ("Of one request in each stage; encode includes waiting for a batch.", SECONDS),
    "lookalike_batch_size": ("Images that were encoded at once.", SIZES),
}
COUNTERS = {"lookalike_requests_total": "Requests by route, method and status."}


class Metrics:
    """What has been counted since the start; safe in several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, Labels], int] = defaultdict(int)
        self._buckets: dict[tuple[str, Labels], list[int]] = {}
        self._sums: dict[tuple[str, Labels], float] = defaultdict(float)
        self._gauges: dict[str, tuple[str, Callable[[], float]]] = {}

    def count(self, name: str, **labels: str) -> None:
        """One more."""
        with self._lock:
            self._counts[name, tuple(labels.items())] += 1

    def observe(self, name: str, value: float, **labels: str) -> None:
        """One value of a histogram in HISTOGRAMS."""
        edges, series = HISTOGRAMS[name][1], (name, tuple(labels.items()))
        with self._lock:
            buckets = self._buckets.setdefault(series, [0] * (len(edges) + 1))
            buckets[bisect.bisect_left(edges, value)] += 1
            self._sums[series] += value

    def gauge(self, name: str, text: str, value: Callable[[], float]) -> None:
        """A number that is asked for when it is wanted."""
        self._gauges[name] = text, value

    def text(self) -> str:
        """Everything, ready to be scraped."""
        # Before the lock: a number that is slow to come must not hold up whoever counts.
        gauges = [(name, text, value()) for name, (text, value) in self._gauges.items()]
        with self._lock:
            return "\n".join(self._lines(gauges)) + "\n"

    def _lines(self, gauges: Sequence[tuple[str, str, float]]) -> Iterator[str]:
        for name, text in COUNTERS.items():
            yield from (f"# HELP {name} {text}", f"# TYPE {name} counter")
            for (found, labels), number in sorted(self._counts.items()):
                if found == name:
                    yield f"{name}{_braces(labels)} {number}"
        for name, (text, edges) in HISTOGRAMS.items():
            yield from (f"# HELP {name} {text}", f"# TYPE {name} histogram")
            for (found, labels), buckets in sorted(self._buckets.items()):
                if found == name:
                    yield from self._histogram(name, labels, edges, buckets)
        for name, text, value in gauges:
            yield from (f"# HELP {name} {text}", f"# TYPE {name} gauge", f"{name} {value:g}")

    def _histogram(self, name: str, labels: Labels, edges: tuple[float, ...], buckets: list[int]) -> Iterator[str]:
        total = 0
        for edge, number in zip((*edges, float("inf")), buckets, strict=True):
            total += number
            shown = "+Inf" if edge == float("inf") else f"{edge:g}"
            yield f"{name}_bucket{_braces((*labels, ('le', shown)))} {total}"
        yield f"{name}_sum{_braces(labels)} {self._sums[name, labels]:.6f}"
        yield f"{name}_count{_braces(labels)} {total}"


def _braces(labels: Labels) -> str:
    if not labels:
        return ""
    # Every label value is one of ours (a route, a method, a status, a stage): nothing needs escaping.
    return "{" + ",".join(f'{name}="{value}"' for name, value in labels) + "}"
