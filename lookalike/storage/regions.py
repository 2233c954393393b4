"""The regions of a collection on disk: a collection in its folder, whose rows are parts of pictures, by content.

A row's key is the content of its picture and a W3C media fragment, `SHA256#xywh=left,top,width,height` in pixels of the
upright image. So regions know no names: what is renamed, copied, taken out or let in again keeps those that it has.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby
from operator import itemgetter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lookalike.storage.catalog import Catalog, Item
from lookalike.storage.manifest import Header, is_collection, remains
from lookalike.storage.store import Store
from lookalike.types import Box, Ids

FOLDER = "regions"
"""The folder of a collection for its regions, which outlives an exchange."""
SIGN = "+regions="
"""Between the name of the encoder and the spec of the regions, in the header."""
SOURCE, LOCATION = 1, "content://sha256"
"""The only source in the catalog of regions, the same in every collection, so that two can be merged."""
DIGITS = 32
"""Of a SHA-256 in a key: half of them tell contents apart, and the catalog has all of them in a column."""
FRAGMENT = re.compile(r"#xywh=(\d+),(\d+),(\d+),(\d+)$")
BLOCK = 4096
"""Contents that are looked up at once."""
Numbers = NDArray[np.int32]


def folder(collection: Path) -> Path:
    """Where a collection keeps its regions."""
    return collection / FOLDER


def has_regions(collection: Path) -> bool:
    """Whether there are regions beside the vectors of a collection, perhaps damaged."""
    return is_collection(folder(collection)) or bool(remains(folder(collection)))


def header_name(encoder: str, spec: str) -> str:
    """The name in the header of regions."""
    return f"{encoder}{SIGN}{spec}"


def spec_of(header: Header) -> str | None:
    """The spec of regions; None for the header of whole pictures."""
    _, sign, spec = header.encoder.rpartition(SIGN)
    return spec if sign else None


def part(key: str, box: Box) -> str:
    """The name of a part of what `key` names, appended always."""
    left, top, right, bottom = (int(side) for side in (box.left, box.top, box.right, box.bottom))
    return f"{key}#xywh={left},{top},{right - left},{bottom - top}"


def key_of(sha256: str, box: Box) -> str:
    """The key of a region."""
    return part(sha256[:DIGITS], box)


def box_of(key: str) -> Box | None:
    """The last fragment of a key, in pixels of the upright image; None where it has none."""
    match = FRAGMENT.search(key)
    if match is None:
        return None
    left, top, width, height = map(int, match.groups())
    return Box(left, top, left + width, top + height)


@dataclass(frozen=True)
class Owners:
    """Which regions are of which images, both by a number for each content; -1 is none.

    `of_image` (n,) and `of_region` (m,) are in step with the rows of both collections. `images` are the rows of images
    that have a content, those of content i from `starts[i]` to `starts[i + 1]`; its regions are among the rows from
    `spans[i, 0]` to before `spans[i, 1]`.
    """

    of_image: Numbers
    of_region: Numbers
    images: Ids
    starts: Ids
    spans: Ids

    @property
    def count(self) -> int:
        """How many contents have regions, and an image that may have been removed."""
        return len(self.starts) - 1

    @property
    def contents(self) -> Ids:
        """The contents that have a live image."""
        return np.flatnonzero(np.diff(self.starts))

    def regions_of(self, live: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
        """(m,) bool: the regions of these live images (n,); None: of all."""
        is_live = np.zeros(self.count + 1, np.bool_)
        is_live[self.of_image if live is None else self.of_image[live]] = True
        is_live[-1] = False
        return np.asarray(is_live[self.of_region])

    def parts_of(self, image: int, live: NDArray[np.bool_] | None) -> Ids:
        """The rows of the live regions of an image; None: all are live."""
        content = int(self.of_image[image])
        if content < 0:
            return np.empty(0, np.int64)
        first, stop = self.spans[content]
        is_own = self.of_region[first:stop] == content
        return np.asarray(first + np.flatnonzero(is_own if live is None else is_own & live[first:stop]), np.int64)

    def images_of(self, contents: Numbers) -> tuple[Ids, Ids]:
        """The rows of the images of each content, and the place in `contents` that each belongs to."""
        firsts, counts = self.starts[contents], self.starts[contents + 1] - self.starts[contents]
        places = np.repeat(np.arange(len(contents)), counts)
        within = np.arange(len(places)) - np.repeat(np.cumsum(counts) - counts, counts)
        return self.images[firsts[places] + within], places


def owners(
    images: Catalog, image_rows: int, live: NDArray[np.bool_] | None, regions: Catalog, region_rows: int
) -> Owners:
    """Read from the indexes of contents of both catalogs, side by side; images that are not `live` have no regions."""
    of_image, of_region = np.full(image_rows, -1, np.int32), np.full(region_rows, -1, np.int32)
    spans: list[tuple[int, int]] = []
    for rows, (sha256, first, last, count) in _joined(_contents(images), chain.from_iterable(_spans(regions))):
        for row in rows:
            if row < image_rows:
                of_image[row] = len(spans)
        # Those of one picture were written together, unless it was embedded again.
        parts = slice(first, last + 1) if last - first + 1 == count else _rows(regions, sha256, region_rows)
        of_region[parts] = len(spans)
        spans.append((first, last + 1))
    if live is not None:
        of_image[~live] = -1
    order = np.argsort(of_image, kind="stable")
    order = order[np.searchsorted(of_image[order], 0) :].astype(np.int64)
    starts = np.searchsorted(of_image[order], np.arange(len(spans) + 1)).astype(np.int64)
    return Owners(of_image, of_region, order, starts, np.array(spans, np.int64).reshape(-1, 2))


Span = tuple[bytes, int, int, int]
"""Content, first row, last row and number of rows."""


def _joined(images: Iterator[tuple[bytes, list[int]]], spans: Iterator[Span]) -> Iterator[tuple[list[int], Span]]:
    """The rows of the images of each content, and the span of its regions; both come in the order of contents."""
    sha256, rows = next(images, (b"", []))
    for span in spans:
        while sha256 and sha256 < span[0]:
            sha256, rows = next(images, (b"", []))
        if sha256 == span[0]:
            yield rows, span


def _contents(images: Catalog) -> Iterator[tuple[bytes, list[int]]]:
    """Contents in their order, and the rows that have each, live or not."""
    pairs = chain.from_iterable(_content_blocks(images))
    for sha256, same in groupby(pairs, key=itemgetter(0)):
        yield sha256, [row for _, row in same]


def _content_blocks(images: Catalog) -> Iterator[list[tuple[bytes, int]]]:
    sql = "SELECT sha256, row FROM items WHERE sha256 != x'' AND (sha256, row) > (?, ?) ORDER BY sha256, row"
    last: tuple[bytes, int] = b"", -1
    while block := images.database.query(f"{sql} LIMIT {BLOCK}", last):
        yield block
        last = block[-1][0], block[-1][1]


@dataclass(frozen=True)
class Named:
    """The live regions of live images, under the names of these: what an export has."""

    images: Catalog
    owners: Owners
    rows: Ids

    @classmethod
    def of(cls, images: Store, regions: Store) -> "Named":
        """Of a collection and its regions."""
        live = np.zeros(images.count(), np.bool_)
        live[images.catalog.live_rows()] = True
        both = owners(images.catalog, len(live), live, regions.catalog, regions.count())
        rows = regions.catalog.live_rows()
        return cls(images.catalog, both, rows[both.regions_of(None)[rows]])

    def item(self, region: Item) -> Item:
        """A region with the key of its image, the first that has this content."""
        row = self.owners.images[self.owners.starts[self.owners.of_region[region.row]]]
        box = box_of(region.key)
        return replace(region, key=part(self.images.item(int(row)).key, box) if box else region.key)


def _spans(regions: Catalog) -> Iterator[list[Span]]:
    """The regions of every content, in the order of contents; the index of contents answers by itself."""
    what = "SELECT sha256, MIN(row), MAX(row), COUNT(*) FROM items"
    sql = f"{what} WHERE sha256 != x'' AND sha256 > ? GROUP BY sha256 ORDER BY sha256 LIMIT {BLOCK}"
    last = b""
    while block := regions.database.query(sql, (last,)):
        yield [(sha256, first, final, count) for sha256, first, final, count in block]
        last = block[-1][0]


def _rows(regions: Catalog, sha256: bytes, count: int) -> list[int]:
    rows = regions.database.query("SELECT row FROM items WHERE sha256 = ? AND sha256 != x''", (sha256,))
    return [row for (row,) in rows if row < count]


def missing(images: Catalog, regions: Catalog | None, first: int = 0) -> Iterator[list[Item]]:
    """Live images from row `first` on whose content has no regions, one for each content of a block."""
    for block in _live_blocks(images, first):
        by_content = {item.sha256: item for item in block if item.sha256}
        known = regions.live_contents(list(by_content)) if regions is not None else ()
        yield [item for sha256, item in by_content.items() if sha256 not in known]


def _live_blocks(images: Catalog, first: int) -> Iterator[list[Item]]:
    block: list[Item] = []
    for item in images.live_items(first):
        block.append(item)
        if len(block) == BLOCK:
            yield block
            block = []
    yield block


def remove_unowned(images: Catalog, regions: Catalog) -> int:
    """Mark regions removed whose content no live image has, inside `writing()`; how many."""
    count = 0
    for block in _spans(regions):
        live = images.live_contents([sha256.hex() for sha256, *_ in block])
        gone = [sha256.hex() for sha256, *_ in block if sha256.hex() not in live]
        rows = [row for rows in regions.live_contents(gone).values() for row in rows]
        regions.remove(rows)
        count += len(rows)
    return count


def remove_siblings(regions: Catalog, damaged: Sequence[int]) -> None:
    """Mark all regions of the pictures of damaged rows, so that these pictures are embedded anew as a whole.

    An entry that is damaged does not tell its content, but its neighbours are of the same picture.
    """
    around = sorted({row for lost in damaged for row in (lost - 1, lost, lost + 1)})
    contents = set(regions.contents_of(around).values())
    rows = [row for rows in regions.live_contents(list(contents)).values() for row in rows]
    regions.remove(rows, "damaged")


def summary(catalog: Catalog) -> tuple[int, int]:
    """How many pictures have regions, and how many regions there are."""
    pairs = catalog.database.query("SELECT COUNT(DISTINCT sha256), COUNT(*) FROM items WHERE removed = 0")
    return int(pairs[0][0]), int(pairs[0][1])
