"""The result of a job to a collection: its rows to a vector file or a search server, each key once."""

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lookalike.encoders import load_encoder
from lookalike.errors import CollectionError, EncoderMismatch
from lookalike.images.facts import PhotoFacts
from lookalike.images.remote import is_remote
from lookalike.integrations.addresses import is_same
from lookalike.integrations.ray import records
from lookalike.storage import photo_facts, store
from lookalike.storage.manifest import Header
from lookalike.storage.store import Item, Store
from lookalike.storage.vectors import usual_dtype
from lookalike.types import Progress, Vectors
from lookalike.utils.text import command

COMMIT_EVERY = 8
"""Blocks of 4,096 rows between commits: the most that an interruption loses."""


@dataclass(frozen=True)
class Loaded:
    """Numbers of images that were added, that were there already, and that the job had skipped."""

    added: int
    unchanged: int
    skipped: int


def load(
    target: str,
    into: Path,
    engine: str | None = None,
    progress: Progress | None = None,
    encoder: str | None = None,
    dtype: str | None = None,
) -> Loaded:
    """Add the result of `lookalike embed` at `target` to the collection `into`, which is created if needed.

    With `engine`, a stored URI, a new collection keeps its vectors there, else in a file of `dtype` (float32). May be
    interrupted and run again. Raises SourceError, EncoderMismatch for a job or a collection of another encoder, and
    CollectionError.
    """
    job = records.require_job(target)
    if encoder is not None and encoder != job.encoder and load_encoder(encoder).fingerprint != job.fingerprint:
        raise EncoderMismatch(f"{target} was made with {job.encoder} ({job.fingerprint[:12]}), not with {encoder}")
    collection = _open_or_create(job, into, engine, dtype)
    try:
        total, reasons = records.counts(target)
        done = added = 0
        with collection.writing():
            source = _source(collection, job.source, into)
            for number, (rows, vectors) in enumerate(records.records(target), 1):
                added += _add(collection, source, rows, vectors)
                done += len(rows)
                if number % COMMIT_EVERY == 0:
                    collection.commit()
                if progress:
                    progress(done, total)
            collection.catalog.clear_skipped(source)
            for key, reason in records.skipped(target):
                collection.catalog.add_skipped(source, key, reason)
    finally:
        collection.close()
    return Loaded(added, done - added, sum(reasons.values()))


def _open_or_create(job: records.Job, into: Path, engine: str | None, dtype: str | None) -> Store:
    if not store.is_collection(into):
        return store.create(into, Header(job.encoder, job.fingerprint, job.dim, dtype or usual_dtype(engine), engine))
    collection = Store(into)
    header = collection.header
    if header.fingerprint != job.fingerprint:
        collection.close()
        raise EncoderMismatch(
            f"{into} was made with {header.encoder} ({header.fingerprint[:12]}), the job with {job.encoder} "
            f"({job.fingerprint[:12]}); give another --collection"
        )
    if dtype not in (None, header.dtype):
        collection.close()
        raise CollectionError(f"{into} keeps {header.dtype}; `{command('compact', into, '--store', dtype)}`")
    if engine and not (header.engine and is_same(header.engine, engine)):
        collection.close()
        raise CollectionError(f"{into} keeps its vectors in {header.engine or 'a file'}, not in {engine}")
    return collection


def _source(collection: Store, location: str, into: Path) -> int:
    """The id of the job's source; a folder that contains the collection is stored relative to it."""
    stored = location
    if not is_remote(location) and into.resolve().is_relative_to(Path(location)):
        stored = os.path.relpath(location, into.resolve())
    ids = {place: id_ for id_, place, _ in collection.catalog.sources()}
    return ids[stored] if stored in ids else collection.catalog.add_source(stored, "")


def _add(collection: Store, source: int, rows: Sequence[records.Record], vectors: Vectors) -> int:
    """Add the rows that are new or have other content; returns their number."""
    fresh = [at for at, row in enumerate(rows) if not _is_there(collection, row)]
    if fresh:
        items = [
            Item(-1, source, row.key, row.bytes, row.mtime_ns, row.sha256, row.width, row.height)
            for row in (rows[at] for at in fresh)
        ]
        collection.add_many(items, vectors[np.array(fresh)])
        photo_facts.put(collection.catalog, _facts([rows[at] for at in fresh]))
    return len(fresh)


def _facts(rows: Sequence[records.Record]) -> dict[str, PhotoFacts]:
    """What the files say of themselves, by their SHA-256; what is none of that is left out."""
    told: dict[str, PhotoFacts] = {}
    for row in rows:
        with suppress(ValueError):
            values = json.loads(row.facts) if row.facts else None
            if isinstance(values, dict):
                told[row.sha256] = PhotoFacts.of_json(values)
    return told


def _is_there(collection: Store, row: records.Record) -> bool:
    """Whether the collection has the image with this content, or its user removed it."""
    if collection.catalog.is_dismissed(row.key, row.bytes, row.mtime_ns):
        return True
    item = collection.catalog.live_item(row.key)
    return item is not None and item.sha256 == row.sha256
