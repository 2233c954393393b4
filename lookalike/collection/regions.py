"""A collection to its regions: pictures whose content has none are read, cut into parts and encoded."""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL.Image import Image

from lookalike.collection.sync import COMMIT_SECONDS
from lookalike.encoders.pipeline import EmbeddedImage, embed_batches
from lookalike.encoders.regions import RegionEncoder, Regions
from lookalike.errors import ImageError
from lookalike.images.decode import decode
from lookalike.images.sources import SourceEntry
from lookalike.storage import regions as stored
from lookalike.storage.manifest import Header, is_collection
from lookalike.storage.origins import Origins
from lookalike.storage.store import Item, Store, create, refuse_links, sole_writer
from lookalike.storage.swap import beside, exchange
from lookalike.storage.vectors import DTYPES
from lookalike.types import Box, Progress

ENTRY = 280
"""Bytes of a region in the catalog, with its indexes."""
TIMED = 2
PICTURES = 2
"""Pictures whose parts are encoded at once, where the encoder says nothing: as many crops as three batches."""


@dataclass
class RegionReport:
    """How many images got regions in a run, how many regions these are, and which images could not be read."""

    images: int = 0
    regions: int = 0
    unreadable: dict[str, str] = field(default_factory=dict, repr=False)

    def to_json(self) -> dict[str, int]:
        """The counts by name."""
        return {"images": self.images, "regions": self.regions, "unreadable": len(self.unreadable)}


@dataclass(frozen=True)
class RegionCost:
    """What the regions of a collection cost at most: `images` that get them, and bytes and seconds for these."""

    images: int
    regions: int
    bytes: int
    seconds: float

    def to_json(self) -> dict[str, float]:
        """The numbers by name."""
        return asdict(self)


def make(place: Path, images: Store, spec: str, dtype: str | None = None) -> None:
    """Make empty regions in `place` for the images of a collection, in the place of those that are there."""
    refuse_links(images.path)
    header = Header(stored.header_name(images.header.encoder, spec), images.header.fingerprint, images.header.dim)
    header = replace(header, dtype=dtype or images.header.dtype)
    if not is_collection(place):
        _create(place, header)
        return
    fresh = beside(place, "new")
    shutil.rmtree(fresh, ignore_errors=True)
    with sole_writer(place):
        _create(fresh, header)
        exchange(place, fresh)


def _create(place: Path, header: Header) -> None:
    with closing(create(place, header)) as new, new.writing():
        new.catalog.add_source(stored.LOCATION, "")


def drop(place: Path) -> None:
    """Delete regions, for good."""
    refuse_links(place.parent)
    with sole_writer(place):
        gone = beside(place, "old")
        shutil.rmtree(gone, ignore_errors=True)
        place.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


def cost(images: Store, regions: Store | None, encoder: RegionEncoder) -> RegionCost:
    """What is still to be paid, by the time that two of the pictures take here."""
    items = chain.from_iterable(stored.missing(images.catalog, regions.catalog if regions is not None else None))
    sample = list(islice(items, TIMED))
    count = len(sample) + sum(1 for _ in items)
    seconds = min((_seconds(images, item, encoder) for item in sample), default=0.0)
    dtype = (images if regions is None else regions).header.dtype
    size = encoder.dim * np.dtype(DTYPES[dtype][1]).itemsize + ENTRY
    return RegionCost(count, count * encoder.most, count * encoder.most * size, round(count * seconds, 1))


def _seconds(images: Store, item: Item, encoder: RegionEncoder) -> float:
    started = time.perf_counter()
    try:
        decoded = decode(Origins(images).read(item), size=encoder.decode_size)
    except ImageError:
        return 0.0
    encoder.encode_batch([encoder.prepare(decoded.image, decoded.image.size)])
    return time.perf_counter() - started


@dataclass(frozen=True)
class _Parts:
    """A region encoder as the pipeline takes encoders: what it gives for a picture stands in place of its vector."""

    encoder: RegionEncoder

    @property
    def batch_size(self) -> int:
        return int(getattr(self.encoder, "batch_size", PICTURES))

    @property
    def decode_size(self) -> int | None:
        return self.encoder.decode_size

    def prepare(self, image: Image, full_size: tuple[int, int] | None = None) -> Any:
        return image.size, self.encoder.prepare(image, full_size)

    def encode_batch(self, prepared: Sequence[Any]) -> list[tuple[tuple[int, int], Regions]]:
        sizes, inputs = zip(*prepared, strict=True)
        return list(zip(sizes, self.encoder.encode_batch(inputs), strict=True))


def embed_regions(
    images: Store,
    regions: Store,
    encoder: Callable[[], RegionEncoder],
    progress: Progress | None = None,
    first: int = 0,
) -> RegionReport:
    """Give regions to the images from row `first` on whose content has none; `encoder` is called where there are any.

    Takes the lock of `regions`. May be interrupted at any moment, and goes on from there.
    """
    report, total = RegionReport(), sum(map(len, stored.missing(images.catalog, regions.catalog, first)))
    if not total:
        return report
    refuse_links(images.path)
    loaded = _Parts(encoder())
    with regions.writing():
        try:
            run = _Run(regions, report, progress, total)
            entries = _entries(images, regions, first)
            with closing(embed_batches(entries, loaded, partial(_known, regions))) as batches:
                for batch in batches:
                    run.take(batch)
        except KeyboardInterrupt:
            regions.commit()
            raise
    return report


def _known(regions: Store, contents: Sequence[str]) -> set[str]:
    return set(regions.catalog.live_contents(contents))


def _entries(images: Store, regions: Store, first: int) -> Iterator[SourceEntry]:
    origins = Origins(images)
    for block in stored.missing(images.catalog, regions.catalog, first):
        for item in block:
            yield SourceEntry(item.key, item.size, item.mtime_ns, partial(_read, origins, item))


def _read(origins: Origins, item: Item) -> bytes:
    return origins.read(item)


@dataclass
class _Run:
    regions: Store
    report: RegionReport
    progress: Progress | None
    total: int
    done: int = 0
    committed_at: float = field(default_factory=time.monotonic)

    def take(self, batch: Sequence[EmbeddedImage]) -> None:
        """Write the regions of a batch of pictures, all of each picture or none."""
        for embedded in batch:
            with self.regions.whole():
                self._take_one(embedded)
            self.done += 1
            if self.progress:
                self.progress(self.done, self.total)
        if time.monotonic() - self.committed_at > COMMIT_SECONDS:
            self.regions.commit()
            self.committed_at = time.monotonic()

    def _take_one(self, embedded: EmbeddedImage) -> None:
        if embedded.reason is not None:
            self.report.unreadable[embedded.entry.key] = embedded.reason
            return
        # A copy of a picture of this run is read, but need not be written.
        if embedded.vector is None or _known(self.regions, [embedded.sha256]):
            return
        size, (boxes, vectors) = cast("tuple[tuple[int, int], Regions]", embedded.vector)
        names = _names(embedded, size, boxes)
        items = [_item(embedded, key) for key in names]
        self.regions.add_many(items, vectors[list(names.values())], new_keys=True)
        self.report.images += 1
        self.report.regions += len(items)


def _names(embedded: EmbeddedImage, size: tuple[int, int], boxes: Sequence[Box]) -> dict[str, int]:
    """Keys of regions and their places; of those that are one in whole pixels, the first."""
    names: dict[str, int] = {}
    scale = embedded.width / size[0], embedded.height / size[1]
    for place, box in enumerate(boxes):
        whole = _whole(box.scaled(*scale), embedded.width, embedded.height)
        names.setdefault(stored.key_of(embedded.sha256, whole), place)
    return names


def _whole(box: Box, width: int, height: int) -> Box:
    """A box in whole pixels of a picture, with at least one."""
    left, top = min(max(0, round(box.left)), width - 1), min(max(0, round(box.top)), height - 1)
    return Box(left, top, min(width, max(left + 1, round(box.right))), min(height, max(top + 1, round(box.bottom))))


def _item(embedded: EmbeddedImage, key: str) -> Item:
    size, mtime_ns = embedded.entry.size, embedded.entry.mtime_ns
    return Item(-1, stored.SOURCE, key, size, mtime_ns, embedded.sha256, embedded.width, embedded.height)
