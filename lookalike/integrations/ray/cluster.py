"""A Ray cluster: started on this machine, or one that runs already."""

import os
import re
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any

from lookalike.errors import LookalikeError
from lookalike.integrations.ray.stderr import without_ray_lines
from lookalike.utils.extras import install_hint
from lookalike.utils.files import reason

OWN_CPUS = 1
"""Ray's own actor that filters rows by a checkpoint takes a core beside those that work."""
TASKS_PER_CPU = 2
"""Decoding and writing count as half a core. Ray keeps one idle worker a core, and would stop and restart the others
again and again, which takes seconds each time."""
LOOPBACK = "127.0.0.1"
SECONDS = 5.0
"""How long an address may take to answer; Ray itself tries for minutes."""
SETTINGS = 4
HTTP2_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, SETTINGS, 0, 0, 0, 0, 0])
PASSED_ON = (
    "LOOKALIKE_CACHE", "LOOKALIKE_THREADS", "LOOKALIKE_COMPILE", "XDG_CACHE_HOME",
    "HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_ENDPOINT", "HADOOP_CONF_DIR", "HADOOP_HOME",
)  # fmt: skip
"""Environment variables that the workers need: where weights are, and how to encode."""
STORES = {
    "s3": ("AWS_",), "s3a": ("AWS_",), "gs": ("GOOGLE_", "CLOUDSDK_"), "gcs": ("GOOGLE_", "CLOUDSDK_"),
    "az": ("AZURE_",), "abfs": ("AZURE_",), "abfss": ("AZURE_",),
}  # fmt: skip
"""Prefixes of the variables that say how to reach a store, by the scheme of its URIs: only for jobs that use it."""
SECRET = re.compile(r"TOKEN|SECRET|PASSWORD|KEY|SAS|SIGNATURE|CONNECTION_STRING")
"""Names of variables that Ray must not get, which writes what it gets to its logs and its dashboard."""


@contextmanager
def cluster(where: str, cpus: int, places: Sequence[str] = ()) -> Iterator[Any]:
    """`ray`, connected to `local` (started here with `cpus` cores, on loopback alone), `auto`, or an address.

    `places` are the URIs of the job, and decide which variables the workers get. Raises LookalikeError.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if where == "local":
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    try:
        import ray
    except ImportError as error:
        raise LookalikeError(f"`lookalike embed` needs `{install_hint('ray')}`") from error
    passed = {} if where == "local" else passed_on(places)
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
        require_answer(where)
        options |= {"address": where}
    try:
        with _without_tokens():
            ray.init(**options)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        cause = " ".join(str(error).split())[:160]
        raise LookalikeError(
            f"--cluster {where}: no Ray cluster there ({cause}); --cluster local starts one"
        ) from error
    try:
        # Ray reports on its workers on stdout, which is for results.
        with without_ray_lines(), redirect_stdout(sys.stderr):
            yield ray
    finally:
        ray.shutdown()


def passed_on(places: Sequence[str]) -> dict[str, str]:
    """The environment variables that workers get for a job with these URIs: no token and no key among them.

    Keys to S3 travel inside the file systems of the job (`images.remote.portable`); other stores are reached by what
    the nodes have, such as the role of an instance.
    """
    schemes = {uri.partition("://")[0] for uri in places if "://" in uri}
    prefixes = tuple(prefix for scheme in schemes for prefix in STORES.get(scheme, ()))
    return {
        name: value
        for name, value in os.environ.items()
        if name in PASSED_ON or (prefixes and name.startswith(prefixes) and not SECRET.search(name))
    }


@contextmanager
def _without_tokens() -> Iterator[None]:
    """Processes that are started inside inherit no token of ours, and no password of a search server."""
    ours = re.compile("(LOOKALIKE|HF)_.*TOKEN|PGPASSWORD")
    tokens = {name: os.environ.pop(name) for name in list(os.environ) if ours.fullmatch(name)}
    try:
        yield
    finally:
        os.environ.update(tokens)


def require_answer(where: str) -> None:
    """Raise LookalikeError where no Ray cluster answers at an address."""
    if where == "auto":
        return
    host, _, port = where.rpartition("://")[2].partition("/")[0].rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), SECONDS) as connection:
            is_server = os.environ.get("RAY_USE_TLS", "0") != "0" or _speaks_http2(connection)
    except (OSError, ValueError) as error:
        cause = "not HOST:PORT" if isinstance(error, ValueError) else reason(error)
        raise LookalikeError(
            f"--cluster {where}: no Ray cluster there ({cause}); --cluster local starts one"
        ) from error
    if not is_server:
        raise LookalikeError(f"--cluster {where}: what answers there is no Ray cluster; --cluster local starts one")


def _speaks_http2(connection: socket.socket) -> bool:
    """Whether the other side answers as gRPC does, with a frame of its settings; raises OSError."""
    connection.settimeout(SECONDS)
    connection.sendall(HTTP2_HELLO)
    answer = connection.recv(9)
    return len(answer) > 3 and answer[3] == SETTINGS
