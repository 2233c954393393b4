"""Several galleries as one: rows are counted on from one to the next, and keys begin with a collection's name."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from lookalike.errors import QueryError
from lookalike.images.facts import PhotoFacts
from lookalike.index.exact import cosines_to, merged
from lookalike.search.gallery import NO_PARTS, StoredGallery
from lookalike.search.regions import BestPart, Regions
from lookalike.search.searcher import ENOUGH, SAMPLED
from lookalike.search.ties import CLOSE, settled
from lookalike.storage.among import Among
from lookalike.storage.store import Item, Store
from lookalike.types import Encoder, Ids, Opener, Scores, Vectors


@dataclass(frozen=True)
class UnitedGallery:
    """Galleries of one encoder, each with the name that its keys begin with; meets `SearchedGallery`.

    A search asks each of them and merges their answers: cosines of one encoder compare, and equal ones are in the order
    of the galleries and of their rows. So the answer is that of one collection with all their rows, one after another.
    """

    names: tuple[str, ...]
    parts: tuple[StoredGallery, ...]
    doubles: tuple[frozenset[str], ...]
    """Of each, the keys of files that an earlier one has too: they are left out."""
    whole: "UnitedGallery | None" = None
    """Of a view, that of all rows."""

    @classmethod
    def of(cls, united: "Sequence[UnitedGallery]") -> "UnitedGallery":
        """One after another, also of several encoders: then the vectors of one row do not compare with those of all."""
        return cls(
            tuple(name for each in united for name in each.names),
            tuple(part for each in united for part in each.parts),
            tuple(keys for each in united for keys in each.doubles),
        )

    @cached_property
    def _firsts(self) -> list[int]:
        """The number of the first row of each part."""
        return list(accumulate((part.rows for part in self.parts[:-1]), initial=0))

    @property
    def rows(self) -> int:
        """How many rows there are, searched or not."""
        return sum(part.rows for part in self.parts)

    @property
    def version(self) -> tuple[object, ...]:
        """Differs where one of them has changed, or another one is among them."""
        return (self.names, tuple(part.version for part in self.parts))

    def _place(self, row: int) -> tuple[int, int]:
        """The part of a row, and its number there."""
        part = bisect_right(self._firsts, row) - 1
        return part, row - self._firsts[part]

    def _named(self, part: int, item: Item) -> Item:
        return replace(item, key=f"{self.names[part]}/{item.key}", row=self._firsts[part] + item.row)

    def view(
        self,
        where: str | None = None,
        exclude: frozenset[str] = frozenset(),
        recall: float | None = None,
        regions: Sequence[Regions | None] | None = None,
    ) -> "UnitedGallery":
        """As `StoredGallery.view`; the filter and `exclude` name images by their keys here. `regions` are of each."""
        regions = regions or [None] * len(self.parts)
        columns = frozenset(name for store in self.stores for _, name in store.catalog.columns())
        parts = tuple(
            part.view(where, doubles | frozenset(self._own(name, exclude)), recall, Among(f"{name}/", columns), own)
            for name, part, doubles, own in zip(self.names, self.parts, self.doubles, regions, strict=True)
        )
        return UnitedGallery(self.names, parts, self.doubles, self.whole or self)

    def _own(self, name: str, keys: Iterable[str]) -> Iterator[str]:
        return (key.removeprefix(f"{name}/") for key in keys if key.startswith(f"{name}/"))

    @property
    def damaged(self) -> list[str]:
        """The keys of damaged rows that searches met."""
        pairs = zip(self.names, self.parts, strict=True)
        return [f"{name}/{key}" for name, part in pairs for key in part.damaged]

    def leave_out(self, rows: Sequence[int], parts: Mapping[int, BestPart] = NO_PARTS) -> None:
        """Leave damaged rows, and parts of rows, out of all later views."""
        of_rows = [(self._place(row), part) for row, part in parts.items()]
        for number, part in enumerate(self.parts):
            own = {at: damaged for (where, at), damaged in of_rows if where == number}
            part.leave_out([at for where, at in map(self._place, rows) if where == number], own)

    def best_parts(self, vectors: Vectors, ids: Ids) -> dict[int, BestPart]:
        """The part that each of these images counts with; none where the whole picture does."""
        owners = np.searchsorted(self._firsts, ids, side="right") - 1
        best: dict[int, BestPart] = {}
        for number, (first, part) in enumerate(zip(self._firsts, self.parts, strict=True)):
            own = part.best_parts(vectors, ids[owners == number] - first)
            best |= {first + row: found for row, found in own.items()}
        return best

    def holds(self, row: int) -> bool:
        """Whether a row is among those that are searched."""
        part, at = self._place(row)
        return self.parts[part].holds(at)

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    @property
    def stores(self) -> Sequence[Store]:
        """The files of all, in their order."""
        return [part.store for part in self.parts]

    @property
    def encoder(self) -> Encoder | None:
        """The encoder of all."""
        return self.parts[0].encoder

    @property
    def dim(self) -> int:
        """The length of a vector."""
        return self.parts[0].dim

    @property
    def cache_dir(self) -> Path:
        """The first one's: features are stored by content, whoever has it."""
        return self.parts[0].cache_dir

    @property
    def live_rows(self) -> Ids:
        """The rows that are searched (n,), ascending."""
        rows = [first + part.live_rows for first, part in zip(self._firsts, self.parts, strict=True)]
        return np.concatenate(rows)

    def vectors(self, ids: Ids) -> Vectors:
        """The stored unit rows (len(ids), dim)."""
        ids = np.asarray(ids, np.int64)
        owners = np.searchsorted(self._firsts, ids, side="right") - 1
        vectors = np.empty((len(ids), self.dim), np.float32)
        for number, part in enumerate(self.parts):
            if (mine := owners == number).any():
                vectors[mine] = part.vectors(ids[mine] - self._firsts[number])
        return vectors

    def search(self, vectors: Vectors, k: int) -> tuple[Scores, Ids]:
        """(m, dim) unit rows to (m, k) cosines and rows, best first; -1 pads."""
        answers = [self._counted_on(number, part.search(vectors, k)) for number, part in enumerate(self.parts)]
        if any(part.counts_parts for part in self.parts):
            return merged(answers, k)
        scores, ids = merged(answers, k * len(self.parts))
        triples = zip(np.asarray(vectors, np.float32), scores, ids, strict=True)
        kept = [self._settled(query, each, rows, k) for query, each, rows in triples]
        return np.array([each for each, _ in kept], np.float32), np.array([each for _, each in kept], np.int64)

    def _settled(self, query: Vectors, scores: Scores, ids: Ids, k: int) -> tuple[Scores, Ids]:
        """The best `k`, where the last of them may be one of several equal ones."""
        deep = min(len(ids), k + int(np.count_nonzero(scores[k:] >= scores[min(k, len(scores)) - 1] - CLOSE)))
        scores, ids = settled(query, scores[:deep], ids[:deep], self.vectors)
        return scores[:k], ids[:k]

    def _counted_on(self, part: int, answer: tuple[Scores, Ids]) -> tuple[Scores, Ids]:
        scores, ids = answer
        return scores, np.where(ids < 0, -1, ids + self._firsts[part])

    def sample(self, count: int) -> Ids:
        """At most `count` random rows of those that are searched, the same rows every time."""
        rows = self.live_rows
        return np.random.default_rng(0).choice(rows, min(count, len(rows)), replace=False)

    def usual(self, vector: Vectors, without: Ids) -> Scores:
        """Cosines of a unit vector (dim,) to random rows of those that are searched, without some rows."""
        ids, vectors = self._sampled
        counted = ~np.isin(ids, without)
        return np.asarray(cosines_to(vector, vectors)[counted], np.float32)

    @cached_property
    def _sampled(self) -> tuple[Ids, Vectors]:
        """As of one collection: those of a sample of all that are searched here, or a sample of these where few are."""
        ids, vectors = (self.whole or self)._drawn
        kept = np.isin(ids, self.live_rows)
        if np.count_nonzero(kept) >= min(ENOUGH, len(self)):
            return ids[kept], vectors[kept]
        few = self.sample(ENOUGH)
        return few, self.vectors(few)

    @cached_property
    def _drawn(self) -> tuple[Ids, Vectors]:
        ids = self.sample(SAMPLED)
        return ids, self.vectors(ids)

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """What is read of items in this block is of one state of each."""
        with ExitStack() as stack:
            for part in self.parts:
                stack.enter_context(part.snapshot())
            yield

    def facts(self, items: Sequence[Item]) -> dict[str, PhotoFacts]:
        """What is known of the contents (SHA-256) of some items."""
        return {sha256: facts for part in reversed(self.parts) for sha256, facts in part.facts(items).items()}

    def item(self, row: int) -> Item:
        """The catalog's entry of a row."""
        part, at = self._place(row)
        return self._named(part, self.parts[part].item(at))

    def intact_item(self, row: int) -> Item | None:
        """The catalog's entry of a row; None where it or its vector does not match its checksum."""
        part, at = self._place(row)
        item = self.parts[part].intact_item(at)
        return self._named(part, item) if item else None

    def live_items(self) -> Iterator[Item]:
        """All live items in the order of their rows, a file that two have once."""
        for number, (part, doubles) in enumerate(zip(self.parts, self.doubles, strict=True)):
            yield from (self._named(number, item) for item in part.live_items() if item.key not in doubles)

    def content(self, row: int) -> str:
        """The SHA-256 of a row's image file, as hexadecimal digits."""
        part, at = self._place(row)
        return self.parts[part].content(at)

    def image(self, row: int) -> Image:
        """The upright picture of a row at full size; raises ImageError where it is gone."""
        part, at = self._place(row)
        return self.parts[part].image(at)

    def reduced(self, row: int, size: int) -> Image:
        """The upright picture of a row, its longest side at most `size`; raises ImageError where it is gone."""
        part, at = self._place(row)
        return self.parts[part].reduced(at, size)

    def read(self, row: int) -> bytes:
        """The image file of a row; raises ImageError."""
        part, at = self._place(row)
        return self.parts[part].read(at)

    def path(self, row: int) -> Path | None:
        """The file of a row; None for a member of an archive and for a URL."""
        part, at = self._place(row)
        return self.parts[part].path(at)

    def path_of(self, item: Item) -> Path | None:
        """As `path`, of an item that was read here."""
        part, own = self._own_item(item)
        return part.path_of(own)

    def opener(self, item: Item) -> Opener:
        """What decodes the picture of an item that was read here."""
        part, own = self._own_item(item)
        return part.opener(own)

    def _own_item(self, item: Item) -> tuple[StoredGallery, Item]:
        """The gallery that an item is of, and the item as it is there."""
        part, at = self._place(item.row)
        return self.parts[part], replace(item, key=item.key.removeprefix(f"{self.names[part]}/"), row=at)

    def row(self, key: str) -> int | None:
        """The row of a key; the name of the collection may be left out where only one has such a key.

        Raises QueryError where it is left out and several have one.
        """
        for number, name in enumerate(self.names):
            if key.startswith(f"{name}/") and (row := self.parts[number].row(key[len(name) + 1 :])) is not None:
                return self._firsts[number] + row
        rows = self._rows(part.row(key) for part in self.parts)
        if len(rows) > 1:
            raise QueryError(
                f"{key}: in several collections; name one of {', '.join(self.item(row).key for row in rows)}"
            )
        return rows[0] if rows else None

    def rows_of_file(self, path: Path) -> list[int]:
        """The rows of a file."""
        return [row for part in self._lists(part.rows_of_file(path) for part in self.parts) for row in part]

    def rows_of_content(self, sha256: str) -> list[int]:
        """The rows with these bytes."""
        return [row for part in self._lists(part.rows_of_content(sha256) for part in self.parts) for row in part]

    def _rows(self, rows: Iterable[int | None]) -> list[int]:
        return [first + row for first, row in zip(self._firsts, rows, strict=True) if row is not None]

    def _lists(self, rows: Iterable[list[int]]) -> Iterator[NDArray[np.int64] | list[int]]:
        return ([first + row for row in part] for first, part in zip(self._firsts, rows, strict=True))
