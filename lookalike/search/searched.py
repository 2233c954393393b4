"""What a search needs of the images that it goes through: one collection's, or those of several."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from PIL.Image import Image

from lookalike.images.facts import PhotoFacts
from lookalike.search.regions import BestPart
from lookalike.storage.store import Item, Store
from lookalike.types import Encoder, Gallery, Ids, Opener, Scores, Vectors


class SearchedGallery(Gallery, Protocol):
    """Images by row number, with all that queries, hits and analyses ask of them.

    Met by `gallery.StoredGallery` and `united.UnitedGallery`.
    """

    @property
    def stores(self) -> Sequence[Store]:
        """The files behind it, of the collection whose confidence counts first."""
        ...

    @property
    def version(self) -> tuple[object, ...]:
        """Differs where anything was committed."""
        ...

    @property
    def rows(self) -> int:
        """How many rows there are, searched or not."""
        ...

    @property
    def dim(self) -> int:
        """The length of a vector."""
        ...

    @property
    def cache_dir(self) -> Path:
        """A folder for features of the images, which may be deleted at any time."""
        ...

    @property
    def encoder(self) -> Encoder | None:
        """The encoder that made the vectors; None where there is none to load."""
        ...

    @property
    def damaged(self) -> list[str]:
        """The keys of rows that do not match their checksums, as far as searches met them."""
        ...

    @property
    def live_rows(self) -> Ids:
        """The rows that are searched (n,), ascending."""
        ...

    def leave_out(self, rows: Sequence[int], parts: Mapping[int, BestPart] = ...) -> None:
        """Leave damaged rows, and parts of rows, out of all later views of this state."""
        ...

    def best_parts(self, vectors: Vectors, ids: Ids) -> dict[int, BestPart]:
        """The part that each of these images counts with for unit rows (m, dim); none where the whole picture does."""
        ...

    def holds(self, row: int) -> bool:
        """Whether a row is among those that are searched."""
        ...

    def sample(self, count: int) -> Ids:
        """At most `count` random rows of those that are searched, the same rows every time."""
        ...

    def usual(self, vector: Vectors, without: Ids) -> Scores:
        """Cosines of a unit vector (dim,) to random rows of those that are searched, without some rows."""
        ...

    def snapshot(self) -> AbstractContextManager[None]:
        """What is read of items in this block is of one state."""
        ...

    def item(self, row: int) -> Item:
        """The catalog's entry of a row."""
        ...

    def intact_item(self, row: int) -> Item | None:
        """The catalog's entry of a row; None where it or its vector does not match its checksum."""
        ...

    def live_items(self) -> Iterator[Item]:
        """All live items in the order of their rows."""
        ...

    def facts(self, items: Sequence[Item]) -> dict[str, PhotoFacts]:
        """What is known of the contents (SHA-256) of some items."""
        ...

    def reduced(self, row: int, size: int) -> Image:
        """The upright picture of a row, its longest side at most `size`; raises ImageError where it is gone."""
        ...

    def read(self, row: int) -> bytes:
        """The image file of a row; raises ImageError."""
        ...

    def path(self, row: int) -> Path | None:
        """The file of a row; None for a member of an archive and for a URL."""
        ...

    def path_of(self, item: Item) -> Path | None:
        """As `path`, of an item that was read."""
        ...

    def opener(self, item: Item) -> Opener:
        """What decodes the picture of an item that was read, also after the collection was closed."""
        ...

    def row(self, key: str) -> int | None:
        """The row of a key."""
        ...

    def rows_of_file(self, path: Path) -> list[int]:
        """The rows of a file."""
        ...

    def rows_of_content(self, sha256: str) -> list[int]:
        """The rows with these bytes."""
        ...
