"""Rows of a file that are about to be read, asked for all at once.

A mapped file is read page by page, each when it is touched, with much of what lies around it; the reads wait for one
another. Where the system knows of all of them first, it reads little more than the rows, and many at a time.
"""

import os
from contextlib import suppress
from dataclasses import dataclass

from lookalike.types import Ids

MOST = 8192
"""Rows; more of them are read in the order of the file, where the system reads ahead by itself."""
FIRST = 256
"""Requests of a process after which a file that fits well in memory is taken to be there."""
SHARE = 0.5
"""A file of more than this share of the memory may always have been dropped from it."""


@dataclass
class Prefetch:
    """What was asked for of one file with rows of `row_bytes`."""

    row_bytes: int
    requests: int = 0

    def __call__(self, handle: int, rows: Ids) -> None:
        """Have the system read these rows of the open file `handle` at once, in the background; -1 is none."""
        if not hasattr(os, "posix_fadvise") or not 1 < len(rows) <= MOST:
            return
        self.requests += 1
        if self.requests > FIRST and os.fstat(handle).st_size < SHARE * _memory():
            return
        with suppress(OSError):  # A file system need not know of it.
            for row in rows[rows >= 0].tolist():
                os.posix_fadvise(handle, row * self.row_bytes, self.row_bytes, os.POSIX_FADV_WILLNEED)


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
