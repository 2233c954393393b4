"""A collection to the same collection with whitened vectors, made beside it and then put in its place."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path

from lookalike.encoders import whitening
from lookalike.encoders.whitened import fingerprint
from lookalike.encoders.whitening import Whitening
from lookalike.errors import CollectionError, EncoderMismatch
from lookalike.storage.copy_rows import Pour, copy_tables
from lookalike.storage.store import Store
from lookalike.storage.swap import made_beside
from lookalike.types import Vectors

SUFFIX = "whitened"
WHITENING, INNER = "whitening", "inner fingerprint"
"""The facts that the catalog keeps of it: the file, and the fingerprint of the encoder without it."""


class LiveRows:
    """The rows of a collection that count, as `whitening.Rows`: read when they are sliced."""

    def __init__(self, opened: Store) -> None:
        self._vectors = opened.vectors
        self._ids = opened.catalog.database.numbers("SELECT row FROM items WHERE removed = 0 ORDER BY row")
        self.shape = (len(self._ids), opened.header.dim)

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, some: slice) -> Vectors:
        return self._vectors.rows(self._ids[some])


def learn(opened: Store, dim: int | None = None, power: float = 1.0, shrinkage: float = 0.0) -> Whitening:
    """The whitening of the images that a collection holds; raises QueryError where they are too few for `dim`."""
    return whitening.fit(LiveRows(opened), dim, power, shrinkage)


def whiten(
    old: Store,
    dim: int | None = None,
    power: float = 1.0,
    shrinkage: float = 0.0,
    source: Path | None = None,
) -> Whitening:
    """Whiten an open collection, by what it holds or by what the collection in `source` holds.

    It may be interrupted at any moment: until the last two renames the old collection is in its place, and between
    them it has the name that `Collection` puts back. Whoever has it open keeps reading the old one. Raises
    CollectionError where it is whitened already, and EncoderMismatch where `source` is another encoder's.
    """
    with old.locked():
        _refuse_second(old.path)
        learned = _learned(old, source, dim, power, shrinkage)
        _exchange(old, learned)
    return learned


def apply(old: Store, learned: Whitening) -> None:
    """As `whiten`, by a whitening that was learned elsewhere on vectors of the same encoder."""
    with old.locked():
        _refuse_second(old.path)
        _exchange(old, learned)


def _exchange(old: Store, learned: Whitening) -> None:
    header = replace(old.header, fingerprint=fingerprint(old.header.fingerprint, learned), dim=learned.dim)
    made_beside(old, SUFFIX, header, lambda new: _fill(old, new, learned))


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


def _fill(old: Store, new: Store, learned: Whitening) -> None:
    """Every row where it was, whitened."""
    copy_tables(old, new, ("sources", "dismissed", "skipped", "columns"))
    Pour(learned.apply, with_removed=True)(old, new)
    learned.save(new.path)
    # What `verify --repair` restores the file from.
    new.catalog.put("facts", WHITENING, (new.path / whitening.FILE).read_bytes())
    new.catalog.put("facts", INNER, old.header.fingerprint)
