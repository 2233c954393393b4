"""Committed files of a job to the number of images that are done, while the cluster works."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from lookalike.errors import SourceError
from lookalike.images import remote as places
from lookalike.integrations.ray import records
from lookalike.types import Progress

SECONDS = 5.0


@contextmanager
def reported(target: str, progress: Progress | None, total: int) -> Iterator[None]:
    """Call `progress` every few seconds of this block, from a thread of its own."""
    if progress is None:
        yield
        return
    ended = threading.Event()
    watching = threading.Thread(target=_watch, args=(target, progress, total, ended), daemon=True)
    watching.start()
    try:
        yield
    finally:
        ended.set()
        watching.join()


def _watch(target: str, progress: Progress, total: int, ended: threading.Event) -> None:
    rows: dict[str, int] = {}
    while not ended.wait(SECONDS):
        # A file may be renamed or deleted at any moment, and the store may not answer for once.
        with suppress(SourceError, OSError, ValueError):
            _count(target, rows)
            progress(min(sum(rows.values()), total), total)


def _count(target: str, rows: dict[str, int]) -> None:
    """Add the committed checkpoints that are new to `rows`, their paths with their numbers of keys."""
    import pyarrow.parquet as pq
    from pyarrow import fs

    system, folder = places.place(places.join(target, records.CHECKPOINT))
    for info in system.get_file_info(fs.FileSelector(folder, allow_not_found=True)):
        path = str(info.path)
        if path.endswith(".parquet") and not path.endswith(".pending.parquet") and path not in rows:
            with system.open_input_file(path) as file:
                rows[path] = pq.ParquetFile(file).metadata.num_rows
