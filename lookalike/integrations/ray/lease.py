"""The right to write to a target: a small file there that its writer renews, since object stores have no locks.

A writer that was killed renews nothing, so the next one waits for a change and then takes its place. On the same
machine it sees at once that the process is gone. Clocks of machines are not compared.
"""

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from lookalike.errors import SourceError
from lookalike.images import remote as places

FILE = "writer.json"
RENEWED_EVERY, TAKEN_AFTER = 5.0, 15.0
"""Seconds between renewals, and without one after which a writer counts as killed."""
CHECK_SECONDS = 0.2


@contextmanager
def held(target: str, every: float = RENEWED_EVERY, after: float = TAKEN_AFTER) -> Iterator[Callable[[], None]]:
    """The right to write; yields a check that raises SourceError once another run has taken it.

    Raises SourceError where another run renews it.
    """
    place = places.join(target, FILE)
    _wait_for(place, target, after)
    name = uuid.uuid4().hex
    _renew(place, name)
    # Of two that began at the same moment the last one to write stays.
    time.sleep(CHECK_SECONDS)
    _check(place, target, name)
    ended = threading.Event()
    renewing = threading.Thread(target=_keep, args=(place, name, every, ended), daemon=True)
    renewing.start()
    try:
        yield lambda: _check(place, target, name)
    finally:
        ended.set()
        renewing.join()
        if _holder(place).get("name") == name:
            places.delete(place)


def _wait_for(place: str, target: str, after: float) -> None:
    """Return once nobody renews it, or raise SourceError as soon as somebody does."""
    first = _holder(place)
    if not first or _has_gone(first):
        return
    deadline = time.monotonic() + after
    while time.monotonic() < deadline:
        time.sleep(min(1.0, after / 10))
        current = _holder(place)
        if not current:
            return
        if current != first:
            raise SourceError(
                f"{target}: another run writes here (process {current.get('process')} on {current.get('host')}); "
                "wait for it, or give another --to"
            )


def _has_gone(holder: dict[str, object]) -> bool:
    """Whether the writer was a process of this machine that does not exist any more."""
    process = holder.get("process")
    if holder.get("host") != socket.gethostname() or not isinstance(process, int) or process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _keep(place: str, name: str, every: float, ended: threading.Event) -> None:
    while not ended.wait(every):
        # A store that does not answer for a moment is asked again; another run's file is left alone.
        with suppress(SourceError):
            if _holder(place).get("name") != name:
                return
            _renew(place, name)


def _renew(place: str, name: str) -> None:
    values = {"name": name, "host": socket.gethostname(), "process": os.getpid(), "renewed": uuid.uuid4().hex}
    places.write_text(place, json.dumps(values) + "\n")


def _check(place: str, target: str, name: str) -> None:
    if _holder(place).get("name") != name:
        raise SourceError(f"{target}: another run has begun to write here; this one ends")


def _holder(place: str) -> dict[str, object]:
    """What the file says; empty where there is none, or where its writer was killed while it wrote."""
    try:
        return dict(json.loads(places.read_text(place) or "{}"))
    except (ValueError, TypeError):
        return {}
