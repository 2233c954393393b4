"""What the library and its dependencies log, as lines of the command line: warnings like notes, errors like errors."""

import logging
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from lookalike.cli.output import complain
from lookalike.utils.verbosity import is_quiet


class Lines(logging.Handler):
    """Prints records on stderr as `complain` does; a traceback stands behind its line as it is."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        complain(record.getMessage())
        if record.exc_info:
            traceback.print_exception(record.exc_info[1], file=sys.stderr)


@contextmanager
def logged() -> Iterator[None]:
    """Print warnings and errors while this lasts; with --quiet, errors alone."""
    # Threads of a service do not inherit the level of what is said, so it is asked here.
    lines = Lines(logging.ERROR if is_quiet() else logging.WARNING)
    root = logging.getLogger()
    root.addHandler(lines)
    try:
        yield
    finally:
        root.removeHandler(lines)
