"""Committed files of a job to the keys that are done; files of killed workers are cleaned up.

Ray Data writes a file of vectors and, under the same name, a checkpoint with its keys: pending before, committed after.
The next run deletes the vectors of pending checkpoints. But a worker may outlive its killed driver for a moment. If it
commits then, there is a checkpoint without vectors, whose keys would be lost (observed: 166 of 2,004). If it writes its
vectors after its pending checkpoint was deleted, the rows would be in the result twice.
"""

import logging
from typing import Any

from lookalike.images import remote as places
from lookalike.integrations.ray import records

SUFFIX, PENDING = ".parquet", ".pending.parquet"

log = logging.getLogger(__name__)


def settled(target: str) -> set[str]:
    """The keys of committed checkpoints with a file of vectors; no other run may write at the same time."""
    import pyarrow.parquet as pq

    system, checkpoints = _files(places.join(target, records.CHECKPOINT))
    _, vectors = _files(places.join(target, records.VECTORS))
    pending = {_name(path).removesuffix(PENDING) for path in checkpoints if path.endswith(PENDING)}
    committed = {_name(path).removesuffix(SUFFIX): path for path in checkpoints if not path.endswith(PENDING)}
    written = {path: _name(path).removesuffix(SUFFIX).rpartition("-")[0] for path in vectors}
    for path, name in written.items():
        if name not in committed and name not in pending:
            log.warning("%s was written by a worker that had been given up; it is deleted", path)
            system.delete_file(path)
    done: set[str] = set()
    for name, path in committed.items():
        if name not in written.values():
            log.warning("%s names vectors that are not there; they are made again", path)
            system.delete_file(path)
            continue
        with system.open_input_file(path) as file:
            done.update(pq.read_table(file, columns=["key"]).column(0).to_pylist())
    return done


def _files(uri: str) -> tuple[Any, list[str]]:
    from pyarrow import fs

    system, folder = places.place(uri)
    infos = system.get_file_info(fs.FileSelector(folder, allow_not_found=True))
    return system, sorted(str(info.path) for info in infos if info.path.endswith(SUFFIX))


def _name(path: str) -> str:
    return path.rpartition("/")[2]
