"""A collection to the same collection with whitened vectors, made beside it and then put in its place."""

import os
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np

from lookalike import store, whitening
from lookalike.encoders.whitened import fingerprint
from lookalike.errors import CollectionError, EncoderMismatch
from lookalike.exchange import beside, exchange
from lookalike.store import Item, Store, checksum
from lookalike.types import Vectors
from lookalike.whitening import Whitening

SUFFIX = "whitened"
BLOCK = 16_384


def learn(opened: Store, dim: int | None = None, power: float = 1.0, shrinkage: float = 0.0) -> Whitening:
    """The whitening of the images that a collection holds; raises QueryError where they are too few for `dim`."""
    rows = opened.rows()
    vectors = opened.map_vectors(rows)
    live = np.ones(rows, np.bool_)
    live[opened.removed_rows()] = False
    return whitening.fit(vectors if live.all() else vectors[live], dim, power, shrinkage)


def whiten(
    path: Path,
    dim: int | None = None,
    power: float = 1.0,
    shrinkage: float = 0.0,
    source: Path | None = None,
) -> Whitening:
    """Whiten the collection in `path`, by what it holds or by what the collection in `source` holds.

    It may be interrupted at any moment: until the last two renames the old collection is in its place, and between
    them it has the name that `Collection` puts back. Whoever has it open keeps reading the old one. Raises
    CollectionError where it is whitened already, and EncoderMismatch where `source` is another encoder's.
    """
    with closing(Store(path)) as old:
        _refuse_second(path)
        learned = _learned(old, source, dim, power, shrinkage)
        fresh = beside(path, SUFFIX)
        shutil.rmtree(fresh, ignore_errors=True)
        with old.writing():
            _copy(old, fresh, learned)
    exchange(path, fresh)
    return learned


def _refuse_second(path: Path) -> None:
    if (path / whitening.FILE).exists():
        raise CollectionError(f"{path} is whitened already; index again with --rebuild to begin from plain vectors")


def _learned(old: Store, source: Path | None, dim: int | None, power: float, shrinkage: float) -> Whitening:
    if source is None:
        return learn(old, dim, power, shrinkage)
    with closing(Store(source)) as other:
        _refuse_second(source)
        if other.header.fingerprint != old.header.fingerprint:
            raise EncoderMismatch(
                f"{source} was made with {other.header.encoder} ({other.header.fingerprint[:12]}), {old.path} with "
                f"{old.header.encoder} ({old.header.fingerprint[:12]}); a whitening fits one encoder"
            )
        return learn(other, dim, power, shrinkage)


def _copy(old: Store, fresh: Path, learned: Whitening) -> None:
    """The files of the new collection, with every row where it was."""
    header = replace(old.header, fingerprint=fingerprint(old.header.fingerprint, learned), dim=learned.dim)
    try:
        store.create(fresh, header).close()
        (fresh / "catalog.sqlite").unlink()
        with (
            closing(sqlite3.connect(old.path / "catalog.sqlite")) as stored,
            closing(sqlite3.connect(fresh / "catalog.sqlite")) as catalog,
        ):
            stored.backup(catalog)
            _write_vectors(old, fresh / "vectors.f32", catalog, learned)
        learned.save(fresh)
    except (OSError, sqlite3.Error) as error:
        shutil.rmtree(fresh, ignore_errors=True)
        raise CollectionError(f"{fresh}: cannot be written ({error}); the collection is as it was") from error


def _write_vectors(old: Store, path: Path, catalog: sqlite3.Connection, learned: Whitening) -> None:
    """Whitened vectors to the file, and their checksums to the catalog."""
    vectors = old.map_vectors(old.rows())
    with path.open("wb") as file, catalog:
        for start in range(0, len(vectors), BLOCK):
            block = np.array(vectors[start : start + BLOCK])
            whitened = learned.apply(block)
            file.write(np.ascontiguousarray(whitened, "<f4").tobytes())
            catalog.executemany(
                "UPDATE items SET checksum = ? WHERE row = ?", _checksums(catalog, start, block, whitened)
            )
        file.flush()
        os.fsync(file.fileno())


def _checksums(catalog: sqlite3.Connection, start: int, before: Vectors, after: Vectors) -> list[tuple[int, int]]:
    """(checksum, row) of a block; a row that was damaged before keeps its old one, so that it still does not match."""
    sql = "SELECT row, sha256, width, height, checksum FROM items WHERE row >= ? AND row < ?"
    found = []
    for row, sha256, width, height, stored in catalog.execute(sql, (start, start + len(before))):
        item = Item(row, 0, "", 0, 0, sha256.hex(), width, height)
        if checksum(item, before[row - start]) == stored:
            found.append((checksum(item, after[row - start]), row))
    return found
