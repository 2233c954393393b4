"""What is counted, as Prometheus reads it: by its own parser, against numbers that were put in."""

import subprocess
import sys
import threading
from collections.abc import Mapping

import pytest
from prometheus_client.parser import text_string_to_metric_families

from lookalike.service.metrics import Metrics


def scraped(metrics: Metrics) -> dict[str, float]:
    """Each series, as `name{label=value,…}`, and its number."""
    samples = [
        sample for family in text_string_to_metric_families(metrics.text().decode()) for sample in family.samples
    ]
    return {f"{sample.name}{{{_labels(sample.labels)}}}": sample.value for sample in samples}


def _labels(labels: Mapping[str, str]) -> str:
    return ",".join(f"{name}={value}" for name, value in sorted(labels.items()))


def test_counts_and_seconds_come_out_as_they_were_put_in() -> None:
    metrics = Metrics()
    metrics.requests.labels("/v1/search", "POST", 200).inc()
    metrics.requests.labels("/v1/search", "POST", 200).inc()
    for seconds in (0.001, 0.3, 20):
        metrics.stage_seconds.labels("decode").observe(seconds)
    series = scraped(metrics)
    assert series["lookalike_requests_total{method=POST,route=/v1/search,status=200}"] == 2
    assert series["lookalike_stage_seconds_bucket{le=0.001,stage=decode}"] == 1
    assert series["lookalike_stage_seconds_bucket{le=0.5,stage=decode}"] == 2
    assert series["lookalike_stage_seconds_bucket{le=+Inf,stage=decode}"] == 3
    assert series["lookalike_stage_seconds_count{stage=decode}"] == 3
    assert series["lookalike_stage_seconds_sum{stage=decode}"] == pytest.approx(20.301)


def test_there_is_nothing_but_our_own_and_each_has_its_type() -> None:
    metrics = Metrics()
    metrics.requests.labels("/", "GET", 200).inc()
    metrics.gauge("lookalike_images", "In the collection.", lambda: 12)
    text = metrics.text().decode()
    assert [line for line in text.splitlines() if line.startswith("# TYPE")] == [
        "# TYPE lookalike_requests_total counter",
        "# TYPE lookalike_request_seconds histogram",
        "# TYPE lookalike_stage_seconds histogram",
        "# TYPE lookalike_batch_size histogram",
        "# TYPE lookalike_images gauge",
    ]
    assert "_created" not in text


def test_two_services_count_apart() -> None:
    first, second = Metrics(), Metrics()
    first.batch_size.observe(4)
    assert scraped(first)["lookalike_batch_size_count{}"] == 1
    assert scraped(second)["lookalike_batch_size_count{}"] == 0


def test_a_gauge_is_asked_at_each_scrape_and_the_last_of_a_name_counts() -> None:
    metrics, pending = Metrics(), [1]
    metrics.gauge("lookalike_pending_requests", "That run or wait.", lambda: 99)
    metrics.gauge("lookalike_pending_requests", "That run or wait.", lambda: pending[0])
    assert scraped(metrics)["lookalike_pending_requests{}"] == 1
    pending[0] = 2
    assert scraped(metrics)["lookalike_pending_requests{}"] == 2


def test_nothing_is_lost_between_threads() -> None:
    metrics = Metrics()

    def count() -> None:
        for _ in range(2000):
            metrics.requests.labels("/", "GET", 200).inc()
            metrics.request_seconds.labels("/").observe(0.25)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    series = scraped(metrics)
    assert series["lookalike_requests_total{method=GET,route=/,status=200}"] == 8000
    assert series["lookalike_request_seconds_count{route=/}"] == 8000
    assert series["lookalike_request_seconds_sum{route=/}"] == 2000


def test_a_command_that_serves_nothing_loads_no_metrics() -> None:
    code = """
import sys
from lookalike.cli import main
try:
    main(["serve", "--help"])
except SystemExit as ended:
    assert ended.code == 0
assert "prometheus_client" not in sys.modules
import lookalike.service.app
assert "prometheus_client" in sys.modules
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
