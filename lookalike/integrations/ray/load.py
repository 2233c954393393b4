"""The result of a job to a collection: its rows to a vector file or to a search server, each key once."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lookalike.errors import CollectionError, EncoderMismatch
from lookalike.images.remote import is_remote
from lookalike.integrations.milvus.address import is_same
from lookalike.integrations.ray import records
from lookalike.storage import store
from lookalike.storage.manifest import Header
from lookalike.storage.store import Item, Store
from lookalike.types import Progress, Vectors

COMMIT_EVERY = 8
"""Blocks of 4,096 rows: what an interruption costs."""


@dataclass(frozen=True)
class Loaded:
    """How many images came in, how many were there already, and how many the job had skipped."""

    added: int
    unchanged: int
    skipped: int


def load(target: str, into: Path, engine: str | None = None, progress: Progress | None = None) -> Loaded:
    """Bring the result of `lookalike embed` at `target` into the collection `into`, made where there is none.

    With `engine`, a stored URI, a new collection keeps its vectors there. May be interrupted and run again. Raises
    SourceError, EncoderMismatch where `into` is of another encoder, and CollectionError.
    """
    job = records.opened_job(target)
    opened = _opened(job, into, engine)
    try:
        total, reasons = records.counts(target)
        done = added = 0
        with opened.writing():
            source = _source(opened, job.source, into)
            for number, (rows, vectors) in enumerate(records.records(target), 1):
                added += _add(opened, source, rows, vectors)
                done += len(rows)
                if number % COMMIT_EVERY == 0:
                    opened.commit()
                if progress:
                    progress(done, total)
            opened.catalog.clear_skipped(source)
            for key, reason in records.skipped(target):
                opened.catalog.add_skipped(source, key, reason)
    finally:
        opened.close()
    return Loaded(added, done - added, sum(reasons.values()))


def _opened(job: records.Job, into: Path, engine: str | None) -> Store:
    if not store.is_collection(into):
        return store.create(into, Header(job.encoder, job.fingerprint, job.dim, engine=engine))
    opened = Store(into)
    held = opened.header
    if held.fingerprint != job.fingerprint:
        opened.close()
        raise EncoderMismatch(
            f"{into} was made with {held.encoder} ({held.fingerprint[:12]}), the job with {job.encoder} "
            f"({job.fingerprint[:12]}); give another --collection"
        )
    if engine and not (held.engine and is_same(held.engine, engine)):
        opened.close()
        raise CollectionError(f"{into} keeps its vectors in {held.engine or 'a file'}, not in {engine}")
    return opened


def _source(opened: Store, location: str, into: Path) -> int:
    """The id of where the job's images lie; a folder that holds the collection is kept relative to it."""
    stored = location
    if not is_remote(location) and into.resolve().is_relative_to(Path(location)):
        stored = os.path.relpath(location, into.resolve())
    known = {place: id_ for id_, place, _ in opened.catalog.sources()}
    return known[stored] if stored in known else opened.catalog.add_source(stored, "")


def _add(opened: Store, source: int, rows: Sequence[records.Record], vectors: Vectors) -> int:
    """Those that are not there yet, or with other content; how many."""
    fresh = [at for at, row in enumerate(rows) if not _is_there(opened, row)]
    if fresh:
        items = [
            Item(-1, source, row.key, row.bytes, row.mtime_ns, row.sha256, row.width, row.height)
            for row in (rows[at] for at in fresh)
        ]
        opened.add_many(items, vectors[np.array(fresh)])
    return len(fresh)


def _is_there(opened: Store, row: records.Record) -> bool:
    """Whether it need not be added: it was, or it was taken out by hand."""
    if opened.catalog.is_dismissed(row.key, row.bytes, row.mtime_ns):
        return True
    item = opened.catalog.live_item(row.key)
    return item is not None and item.sha256 == row.sha256
