"""The number of cores that this process may use, which is the number of threads wherever there are threads."""

import os


def cores() -> int:
    """The cores that the system gives to this process; the environment variable `LOOKALIKE_THREADS` overrides it."""
    override = os.environ.get("LOOKALIKE_THREADS", "")
    if override.isdecimal() and int(override) > 0:
        return int(override)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
