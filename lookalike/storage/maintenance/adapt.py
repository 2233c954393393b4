"""A collection to the same collection with vectors mapped by what labels taught, and back to its former vectors.

The former vectors stay in a folder of the collection, with the catalog of their time, so that they are found again by
the contents of images and not by row numbers, which `compact` and `merge` change.
"""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lookalike.encoders import adaptation, whitening
from lookalike.encoders.adaptation import LearnedMap
from lookalike.encoders.whitened import fingerprint
from lookalike.encoders.whitening import Whitening
from lookalike.errors import CollectionError, EncoderMismatch
from lookalike.storage import distinct, marks, refitted, taken_out
from lookalike.storage.catalog import CATALOG, HasCatalog, StoredEntry, from_blob
from lookalike.storage.copy_rows import RowChanges, copy_rows, copy_tables
from lookalike.storage.manifest import FILE, is_collection, read_header
from lookalike.storage.refitted import Confidence
from lookalike.storage.regions import spec_of
from lookalike.storage.store import Store
from lookalike.storage.swap import FORMER, made_beside
from lookalike.storage.vectors import DTYPES
from lookalike.types import Ids
from lookalike.utils.files import NO_LINK
from lookalike.utils.text import command

SUFFIX = "adapted"
MAP, SOURCE, REPORT = "adaptation", "adaptation from", "adaptation report"
"""Names of facts in the catalog: a copy of the file, the fingerprint that it was learned on, and what it gained."""
TABLES = ("facts", "sources", "dismissed", "skipped", "columns")


def refuse(store: Store) -> None:
    """Raise CollectionError where a collection cannot be adapted: it is already, or its vectors are in an engine."""
    if (store.path / adaptation.FILE).exists():
        raise CollectionError(f"{store.path} is adapted already; `{command('adapt', store.path, '--undo')}` first")
    if store.header.engine:
        raise CollectionError(
            f"{store.path} keeps its vectors in {store.header.engine}; `adapt` is for vectors in a file"
        )


def apply(old: Store, learned: Whitening, report: Mapping[str, Any], confidence: Confidence | None = None) -> None:
    """Map all vectors of an open collection, and keep the former ones; `confidence` is that of the mapped ones.

    May be interrupted at any moment, as `whiten`; readers that have it open keep reading the old one.
    """
    with old.locked():
        refuse(old)
        header = replace(
            old.header, fingerprint=fingerprint(old.header.fingerprint, learned, "adapted"), dim=learned.dim
        )
        made_beside(old, SUFFIX, header, lambda new: _fill(old, new, learned, report, confidence))


def _fill(old: Store, new: Store, learned: Whitening, report: Mapping[str, Any], confidence: Confidence | None) -> None:
    copy_tables(old, new, TABLES)
    copy_rows(old, new, RowChanges(learned.apply, with_removed=True))
    distinct.carry(old, new)
    marks.carry(old, new)
    learned.save(new.path, adaptation.FILE)
    # What `verify --repair` restores the file from.
    new.catalog.put("facts", MAP, (new.path / adaptation.FILE).read_bytes())
    new.catalog.put("facts", SOURCE, old.header.fingerprint)
    new.catalog.put("facts", REPORT, json.dumps(report))
    refitted.put(new, confidence)
    _keep_former(old, new.path / FORMER)


def _keep_former(old: Store, place: Path) -> None:
    """The vectors of a collection as a second name of the file where the disk has such; a copy of the catalog."""
    place.mkdir()
    vectors = DTYPES[old.header.dtype][0]
    try:
        os.link(old.path / vectors, place / vectors)
    except OSError as error:
        if error.errno not in NO_LINK:
            raise
        shutil.copy2(old.path / vectors, place / vectors)
    for name in (CATALOG, whitening.FILE, FILE):
        if (old.path / name).exists():
            shutil.copy2(old.path / name, place / name)


def has_former(path: Path) -> bool:
    """Whether a collection keeps its vectors of before `adapt`; they are in a file, so a server is never named."""
    return is_collection(path / FORMER) and read_header(path / FORMER).engine is None


def undo(old: Store) -> int:
    """Give an open collection its former vectors back; how many images have none, and are embedded by the next run.

    These were added since; their rows count as damaged until then. May be interrupted as `apply`.
    """
    with old.locked():
        if not (old.path / adaptation.FILE).exists():
            raise CollectionError(f"{old.path} is not adapted; there is nothing to undo")
        if not has_former(old.path):
            raise CollectionError(
                f"{old.path} has no former vectors; index the photos into a new collection: `lookalike index FOLDER "
                "--collection DIR`"
            )
        with closing(Store(old.path / FORMER)) as former:
            before = former.header
            header = replace(old.header, fingerprint=before.fingerprint, dim=before.dim, dtype=before.dtype)
            counts = [0]
            made_beside(
                *(old, "restored", header, lambda new: _restore(old, new, former, counts)),
                leave=(adaptation.FILE, FORMER),
            )
    return counts[0]


def _restore(old: Store, new: Store, former: Store, counts: list[int]) -> None:
    copy_tables(old, new, TABLES)
    new.catalog.forget_facts([MAP, SOURCE, REPORT])
    refitted.put(new, refitted.read(former, former.header.fingerprint))

    def rows_in(block: Sequence[StoredEntry]) -> Ids:
        rows = _rows_in(former, block)
        counts[0] += sum(row < 0 and not entry[8] for row, entry in zip(rows.tolist(), block, strict=True))
        return rows

    copy_rows(old, new, RowChanges(with_removed=True, former=(former, rows_in)))
    distinct.carry(old, new)
    marks.carry(old, new)
    taken_out.remember(old, new)


def _rows_in(former: Store, block: Sequence[StoredEntry]) -> Ids:
    """Where the contents of a block have their former vectors, else their keys (imported vectors); -1 where nowhere.

    A region is one of many of its content, and has a key that never changes.
    """
    contents = [entry[5].hex() for entry in block if entry[5]]
    of_regions = spec_of(former.header) is not None
    rows: dict[str, int] = {}
    for item in former.intact_contents(contents):
        rows.setdefault(item.key if of_regions else item.sha256, item.row)
    names = [from_blob(entry[2]) if of_regions else entry[5].hex() for entry in block]
    pairs = zip(block, names, strict=True)
    return np.array([rows.get(n, -1) if e[5] else _row_of_key(former, e[2]) for e, n in pairs], np.int64)


def _row_of_key(former: Store, key: bytes) -> int:
    item = former.catalog.live_item(from_blob(key))
    return item.row if item and not item.sha256 and former.intact_item(item.row) else -1


def taken_from(place: Path, store: Store) -> Whitening:
    """The map of another collection, for vectors of the fingerprint that it was learned on; raises EncoderMismatch."""
    with closing(Store(place)) as other:
        learned = learned_map(other)
    if learned is None:
        raise CollectionError(f"{place} is not adapted; there is no map to take from it")
    if learned.source != store.header.fingerprint:
        raise EncoderMismatch(
            f"the map of {place} is for vectors of {learned.source[:12]}, {store.path} has those of "
            f"{store.header.encoder} ({store.header.fingerprint[:12]}); a map fits one encoder"
        )
    return learned.map


def taken_confidence(place: Path) -> Confidence | None:
    """The confidence that another collection has with its map, if it has one."""
    with closing(Store(place)) as other:
        return refitted.read(other, other.header.fingerprint)


def refit(store: Store, confidence: Confidence) -> None:
    """Give an open collection this confidence; its vectors stay as they are."""
    with store.writing():
        refitted.put(store, confidence)


def forget(store: Store) -> bool:
    """Take the confidence back where labels changed that alone; whether they did."""
    if (store.path / adaptation.FILE).exists() or refitted.read(store, store.header.fingerprint) is None:
        return False
    with store.writing():
        refitted.put(store, None)
    return True


def learned_map(store: HasCatalog) -> LearnedMap | None:
    """The map of a collection, and the fingerprint of the vectors that it was learned on."""
    learned = whitening.load(store.path, adaptation.FILE)
    source = _fact(store, SOURCE)
    return LearnedMap(learned, source) if learned and source else None


def report(store: Store) -> dict[str, Any]:
    """What the map of a collection gained, as `apply` was told; empty where it has none."""
    try:
        return dict(json.loads(_fact(store, REPORT) or "{}"))
    except (ValueError, TypeError) as error:
        raise CollectionError(f"{store.path}: its note of `adapt` is damaged; `lookalike verify` it") from error


def carry(old: HasCatalog, new: Store) -> None:
    """The facts of a map that a rebuild keeps, inside `new.writing()`."""
    for name in (MAP, SOURCE, REPORT):
        for (value,) in old.catalog.database.query("SELECT value FROM facts WHERE name = ?", (name,)):
            new.catalog.put("facts", name, value, verb="INSERT OR REPLACE")


def _fact(store: HasCatalog, name: str) -> str | None:
    rows = store.catalog.database.query("SELECT value FROM facts WHERE name = ?", (name,))
    return str(rows[0][0]) if rows else None
