"""Committed files of a job to the keys that are done; files of killed workers are cleaned up.

Ray Data writes a file of vectors and, under the same name, a checkpoint with its keys: pending before, committed after.
The next run deletes the vectors of pending checkpoints. But a worker may outlive its killed driver for a moment. If it
commits then, there is a checkpoint without vectors, whose keys would be lost (observed: 166 of 2,004). If it writes its
vectors after its pending checkpoint was deleted, the rows would be in the result twice.
"""

import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from lookalike.errors import SourceError
from lookalike.images import remote as places
from lookalike.integrations.ray import records

SUFFIX, PENDING = ".parquet", ".pending.parquet"
MAGIC = b"PAR1"
FILES_AT_ONCE = 16

log = logging.getLogger(__name__)


def settled(target: str) -> set[str]:
    """The keys of committed checkpoints with whole files of vectors; no other run may write at the same time.

    A full disk or a power cut leaves files without their end; they are deleted, and their images made again.
    """
    system, checkpoints = _files(places.join(target, records.CHECKPOINT))
    _, vectors = _files(places.join(target, records.VECTORS))
    pending = {_name(path).removesuffix(PENDING) for path in checkpoints if path.endswith(PENDING)}
    committed = {_name(path).removesuffix(SUFFIX): path for path in checkpoints if not path.endswith(PENDING)}
    with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
        is_whole = dict(zip(vectors, pool.map(lambda path: _is_whole(system, path), vectors), strict=True))
        keys = dict(zip(committed, pool.map(lambda path: _keys(system, path), committed.values()), strict=True))
    written: dict[str, list[str]] = {}
    for path in vectors:
        written.setdefault(_name(path).removesuffix(SUFFIX).rpartition("-")[0], []).append(path)
    done: set[str] = set()
    for name in sorted({*written, *committed}):
        files, checkpoint = written.get(name, []), keys.get(name)
        if files and all(is_whole[path] for path in files) and (checkpoint is not None or name in pending):
            done.update(checkpoint or ())
            continue
        for path in [*files, *([committed[name]] if name in committed else [])]:
            log.warning("%s is of a file that was not committed whole; it is deleted, and made again", path)
            system.delete_file(path)
    return done


def _is_whole(system: Any, path: str) -> bool:
    """Whether a Parquet file has its end, which is written last."""
    try:
        with system.open_input_file(path) as file:
            size = int(file.size())
            return size > 2 * len(MAGIC) and bytes(file.read_at(len(MAGIC), size - len(MAGIC))) == MAGIC
    except OSError as error:
        raise SourceError(f"{path}: {places.short(error)}") from error


def _keys(system: Any, path: str) -> list[str] | None:
    """The keys of a checkpoint; None where it is damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with system.open_input_file(path) as file:
            data = file.read()
    except OSError as error:
        raise SourceError(f"{path}: {places.short(error)}") from error
    try:
        return [str(key) for key in pq.read_table(pa.BufferReader(data), columns=["key"]).column(0).to_pylist()]
    # What cannot be parsed, unlike what cannot be read just now.
    except (pa.ArrowException, OSError):
        return None


def _files(uri: str) -> tuple[Any, list[str]]:
    from pyarrow import fs

    system, folder = places.place(uri)
    infos = system.get_file_info(fs.FileSelector(folder, allow_not_found=True))
    return system, sorted(str(info.path) for info in infos if info.path.endswith(SUFFIX))


def _name(path: str) -> str:
    return path.rpartition("/")[2]
