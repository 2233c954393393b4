"""A collection to the same collection with whitened vectors, made beside it and then put in its place."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path

from lookalike.encoders import adaptation, whitening
from lookalike.encoders.whitened import fingerprint
from lookalike.encoders.whitening import Whitening
from lookalike.errors import CollectionError, EncoderMismatch
from lookalike.storage import distinct, marks
from lookalike.storage.copy_rows import RowChanges, copy_rows, copy_tables
from lookalike.storage.store import Store
from lookalike.storage.swap import made_beside
from lookalike.types import Vectors
from lookalike.utils.text import command

SUFFIX = "whitened"
WHITENING, INNER = "whitening", "inner fingerprint"
"""Names of facts in the catalog: a copy of the file, and the fingerprint of the encoder without whitening."""


class LiveRows:
    """The vectors of a collection's live rows, as `whitening.Rows`: read when they are sliced."""

    def __init__(self, store: Store) -> None:
        self._vectors = store.vectors
        self._ids = store.catalog.live_rows()
        self.shape = (len(self._ids), store.header.dim)

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, part: slice) -> Vectors:
        return self._vectors.rows(self._ids[part])


def learn(store: Store, dim: int | None = None, power: float = 1.0, shrinkage: float = 0.0) -> Whitening:
    """A whitening fitted to the images of a collection; raises QueryError where they are too few for `dim`."""
    return whitening.fit(LiveRows(store), dim, power, shrinkage)


def whiten(
    old: Store,
    dim: int | None = None,
    power: float = 1.0,
    shrinkage: float = 0.0,
    source: Path | None = None,
) -> Whitening:
    """Whiten an open collection; the whitening is fitted to it, or to the collection in `source`.

    May be interrupted at any moment: until the last two renames the old collection is in its place, and between them
    it has a name from which `Collection` restores it. Readers that have it open keep reading the old one. Raises
    CollectionError where it is whitened already, and EncoderMismatch where `source` was made with another encoder.
    """
    with old.locked():
        _refuse_second(old.path)
        learned = _learned(old, source, dim, power, shrinkage)
        _exchange(old, learned)
    return learned


def apply(old: Store, learned: Whitening) -> None:
    """As `whiten`, with a whitening that was fitted to other vectors of the same encoder."""
    with old.locked():
        _refuse_second(old.path)
        _exchange(old, learned)


def _exchange(old: Store, learned: Whitening) -> None:
    header = replace(old.header, fingerprint=fingerprint(old.header.fingerprint, learned), dim=learned.dim)
    made_beside(old, SUFFIX, header, lambda new: _fill(old, new, learned))


def _refuse_second(path: Path) -> None:
    if (path / adaptation.FILE).exists():
        raise CollectionError(f"{path} is adapted to labels; `{command('adapt', path, '--undo')}` first")
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
    """Copy every row to the same number, whitened."""
    copy_tables(old, new, ("facts", "sources", "dismissed", "skipped", "columns"))
    copy_rows(old, new, RowChanges(learned.apply, with_removed=True))
    distinct.carry(old, new)
    marks.carry(old, new)
    learned.save(new.path)
    # What `verify --repair` restores the file from.
    new.catalog.put("facts", WHITENING, (new.path / whitening.FILE).read_bytes())
    new.catalog.put("facts", INNER, old.header.fingerprint)
