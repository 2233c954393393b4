"""How many cores this process may use: the number of threads of everything that has threads of its own."""

import os


def cores() -> int:
    """Those that the system lets this process run on; the environment's `LOOKALIKE_THREADS` overrides."""
    wanted = os.environ.get("LOOKALIKE_THREADS", "")
    if wanted.isdecimal() and int(wanted) > 0:
        return int(wanted)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
