"""A Ray cluster: started on this machine, or one that runs already."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

from lookalike.errors import LookalikeError

OWN_CPUS = 1
"""Ray's own actor that filters rows by a checkpoint takes a core beside those that work."""
TASKS_PER_CPU = 2
"""Decoding and writing count as half a core. Ray keeps one idle worker a core, and would stop and restart the others
again and again, which takes seconds each time."""
LOOPBACK = "127.0.0.1"
PASSED_ON = ("AWS_", "GOOGLE_", "AZURE_", "HF_", "LOOKALIKE_", "HADOOP_", "XDG_CACHE_HOME")
"""Environment variables that the workers need: locations of weights, photos and stores, and credentials."""


@contextmanager
def cluster(where: str, cpus: int) -> Iterator[Any]:
    """`ray`, connected to `local` (started here with `cpus` cores, on loopback alone), `auto`, or an address."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if where == "local":
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    try:
        import ray
    except ImportError as error:
        raise LookalikeError("`lookalike embed` needs `pip install lookalike[ray]`") from error
    passed = {name: value for name, value in os.environ.items() if name.startswith(PASSED_ON)}
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "runtime_env": {"env_vars": passed}}
    if where == "local":
        options |= {
            "address": "local",
            "num_cpus": cpus + OWN_CPUS,
            "include_dashboard": False,
            "_node_ip_address": LOOPBACK,
            "_system_config": {"num_workers_soft_limit": TASKS_PER_CPU * (cpus + OWN_CPUS)},
        }
    else:
        options |= {"address": where}
    try:
        ray.init(**options)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        cause = " ".join(str(error).split())[:160]
        raise LookalikeError(
            f"--cluster {where}: no Ray cluster there ({cause}); --cluster local starts one"
        ) from error
    try:
        # Ray reports on its workers on stdout, which is for results.
        with redirect_stdout(sys.stderr):
            yield ray
    finally:
        ray.shutdown()
