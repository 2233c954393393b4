"""Lines that Ray's libraries write to this process's stderr, kept from it: what a user has to know is said by us."""

import logging
import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

RAY_LINE = re.compile(rb"\[\d{4}-\d\d-\d\d [\d:,.]+ [A-Z] \d+ \d+\] ")

log = logging.getLogger(__name__)


@contextmanager
def without_ray_lines() -> Iterator[None]:
    """Inside, lines of Ray's format go to the log (DEBUG); Python's own stderr stays what it is, a terminal too.

    Ray writes them past Python to the descriptor, and has no setting that keeps them back without a line of its own.
    """
    sys.stderr.flush()
    original, python_stderr = os.dup(2), sys.stderr
    reader, writer = os.pipe()
    os.dup2(writer, 2)
    os.close(writer)
    threading.Thread(target=_sort, args=(reader, os.dup(original)), daemon=True).start()
    with os.fdopen(original, "w", buffering=1, encoding=python_stderr.encoding, errors="backslashreplace") as direct:
        sys.stderr = direct
        try:
            yield
        finally:
            direct.flush()
            os.dup2(original, 2)
            sys.stderr = python_stderr


def _sort(reader: int, through: int) -> None:
    """Write other lines to `through`, until every process that inherited the pipe has ended."""
    with os.fdopen(reader, "rb") as lines, os.fdopen(through, "wb", buffering=0) as rest:
        for line in lines:
            if RAY_LINE.match(line):
                log.debug("%s", line.decode(errors="replace").rstrip())
            else:
                rest.write(line)
