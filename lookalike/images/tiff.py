"""The directories of a TIFF, or of a camera's raw file that is built like one, to the one that is the picture.

The first page of many files is a small preview of another page, of a subdirectory, or of a JPEG that one of them names.
Nothing is decoded here, and what a hostile file claims is bounded: directories, their entries, and every offset.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace

DIRECTORIES = 64
ENTRIES = 1000
VALUES = 64
"""Numbers that are read of one entry: subdirectories, or strips."""
MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
RAW_MAGICS = (b"IIU\0", b"IIRO", b"IIRS", b"MMOR")
"""Panasonic and Olympus, who changed the number 42 of TIFF."""
MUCH = 2
"""A later page is the picture where it has so many times the pixels of the first; pages of a scan differ less."""
SENSOR = (32803, 34892)
"""Photometric interpretations of a sensor's mosaic, and of its linear colours: no picture yet."""
SIZES = {1: "B", 3: "H", 4: "I", 7: "B", 9: "i", 13: "I", 16: "Q", 18: "Q"}
WIDTH, HEIGHT, COMPRESSION, PHOTOMETRIC, STRIPS, ORIENTATION, LENGTHS = 256, 257, 259, 262, 273, 274, 279
TILES, SUBFILE, SUBFILES, JPEG, JPEG_LENGTH, DNG, PANASONIC_JPEG = 324, 254, 330, 513, 514, 50706, 46
KINDS = {"reduced": 1, "mask": 4}


@dataclass(frozen=True)
class Page:
    """A directory at `offset`, or a JPEG of `length` bytes there; `is_sensor` where its pixels are a sensor's."""

    width: int
    height: int
    offset: int
    length: int = 0
    is_reduced: bool = False
    is_sensor: bool = False
    orientation: int = 0

    @property
    def pixels(self) -> int:
        """Width times height."""
        return self.width * self.height


@dataclass(frozen=True)
class Layout:
    """What a file holds: all its `pages`, the first directory's first; `is_raw` where it is a camera's raw file."""

    pages: tuple[Page, ...]
    is_raw: bool

    @property
    def sensor(self) -> Page | None:
        """The largest page of a sensor's own pixels."""
        return max((page for page in self.pages if page.is_sensor), key=lambda page: page.pixels, default=None)

    @property
    def picture(self) -> Page | None:
        """The page to show: the first, where none is much larger. None where there is none but a sensor's."""
        pages = [page for page in self.pages if not page.is_sensor and page.pixels]
        largest = max(pages, key=lambda page: (page.pixels, not page.length), default=None)
        first = self.pages[0] if self.pages else None
        if largest is None or first is None or first not in pages or self.is_raw:
            return largest
        is_preview = first.is_reduced and not largest.is_reduced and largest.pixels > first.pixels
        return largest if is_preview or largest.pixels >= MUCH * first.pixels else first


def is_tiff(data: bytes) -> bool:
    """Whether the file begins like a TIFF or one of its variants."""
    return data[:4] in MAGICS or data[:4] in RAW_MAGICS


def layout(data: bytes) -> Layout:
    """The pages of a file that begins like a TIFF; what is damaged or outside the file is left out."""
    reader = _Reader(data)
    pages: list[Page] = []
    is_raw, orientation = data[:4] in RAW_MAGICS or data[8:10] == b"CR", 0
    for number, (offset, tags) in enumerate(reader.directories()):
        orientation = orientation or (reader.number(tags, ORIENTATION) if not number else 0)
        is_raw = is_raw or DNG in tags or reader.number(tags, PHOTOMETRIC) in SENSOR
        pages.extend(replace(page, orientation=page.orientation or orientation) for page in reader.pages(offset, tags))
    return Layout(tuple(pages), is_raw)


def starting_at(data: bytes, offset: int) -> bytes:
    """The same TIFF with the directory at `offset` as its first."""
    end, big = ("<" if data[:2] == b"II" else ">"), data[2:4] in (b"+\0", b"\0+")
    if big:
        return data[:8] + struct.pack(end + "Q", offset) + data[16:]
    return data[:4] + struct.pack(end + "I", offset) + data[8:]


def jpeg_size(data: bytes, start: int, length: int) -> tuple[int, int]:
    """(width, height) of a JPEG that a viewer can show; (0, 0) for a lossless one, which holds a sensor's pixels."""
    at, end = start + 2, min(len(data), start + length)
    if start < 0 or data[start:at] != b"\xff\xd8":
        return 0, 0
    for _ in range(ENTRIES):
        if at + 9 > end or data[at] != 0xFF:
            return 0, 0
        marker, size = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker in (0xC0, 0xC1, 0xC2):
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        if marker in (0xC3, 0xD9, 0xDA) or size < 2:
            return 0, 0
        at += 2 + size
    return 0, 0


Tags = dict[int, tuple[int, int, int]]
"""Tag number to the type of its values, their count, and where they begin."""


class _Reader:
    """Numbers out of the directories of one file."""

    def __init__(self, data: bytes) -> None:
        self._data, self._end = data, "<" if data[:2] == b"II" else ">"
        self._big = data[2:4] in (b"+\0", b"\0+")

    def directories(self) -> Iterator[tuple[int, Tags]]:
        """(offset, tags) of the directories, each followed by its subdirectories; no offset comes twice."""
        word, visited = ("Q" if self._big else "I"), set[int]()
        waiting = self._unpack(word, 8 if self._big else 4)
        while waiting and len(visited) < DIRECTORIES:
            offset = waiting.pop(0)
            if offset in visited or not 0 < offset < len(self._data):
                continue
            visited.add(offset)
            tags, after = self._directory(offset)
            if tags:
                yield offset, tags
                waiting = [*self.numbers(tags, SUBFILES), *waiting, *self._unpack(word, after)]

    def pages(self, offset: int, tags: Tags) -> Iterator[Page]:
        """The page of a directory itself, then the JPEGs that it names."""
        kind, photometric = self.number(tags, SUBFILE), self.number(tags, PHOTOMETRIC)
        width, height = self.number(tags, WIDTH), self.number(tags, HEIGHT)
        turned = self.number(tags, ORIENTATION)
        strip = self._jpeg_strip(tags)
        is_lossless = bool(strip) and not any(jpeg_size(self._data, *strip[0]))
        if not kind & KINDS["mask"] and (STRIPS in tags or TILES in tags) and (is_lossless or not strip):
            is_sensor = photometric in SENSOR or is_lossless
            yield Page(width, height, offset, 0, bool(kind & KINDS["reduced"]), is_sensor, turned)
        for start, length in [*strip, *self._named_jpegs(tags)]:
            inner = jpeg_size(self._data, start, length)
            if all(inner):
                yield Page(*inner, start, length, is_reduced=True, orientation=turned)

    def _jpeg_strip(self, tags: Tags) -> list[tuple[int, int]]:
        """Where the only strip lies, if it is a whole JPEG: Canon's picture, or the sensor's pixels."""
        starts, lengths = self.numbers(tags, STRIPS), self.numbers(tags, LENGTHS)
        is_one = self.number(tags, COMPRESSION) == 6 and JPEG not in tags and len(starts) == len(lengths) == 1
        return [(starts[0], lengths[0])] if is_one and self._data[starts[0] : starts[0] + 2] == b"\xff\xd8" else []

    def _named_jpegs(self, tags: Tags) -> Iterator[tuple[int, int]]:
        """Where the JPEGs lie that a directory names."""
        if JPEG in tags:
            yield self.number(tags, JPEG), self.number(tags, JPEG_LENGTH)
        if PANASONIC_JPEG in tags and self._data[:4] == b"IIU\0":
            yield tags[PANASONIC_JPEG][2], tags[PANASONIC_JPEG][1]

    def number(self, tags: Tags, tag: int) -> int:
        """The first value of a tag; 0 where it has none."""
        return next(iter(self.numbers(tags, tag)), 0)

    def numbers(self, tags: Tags, tag: int) -> list[int]:
        """The first values of a tag."""
        kind, count, at = tags.get(tag, (0, 0, 0))
        if kind not in SIZES or not count:
            return []
        return self._unpack(f"{min(count, VALUES)}{SIZES[kind]}", at)

    def _directory(self, offset: int) -> tuple[Tags, int]:
        """The tags of a directory, and where the offset of the next one lies."""
        word, size, head = ("Q", 20, 8) if self._big else ("H", 12, 2)
        count = next(iter(self._unpack(word, offset)), 0)
        tags: Tags = {}
        for at in range(offset + head, offset + head + size * min(count, ENTRIES), size):
            entry = self._unpack("HHQ" if self._big else "HHI", at)
            if not entry:
                break
            tag, kind, length = entry
            inline = at + (12 if self._big else 8)
            fits = struct.calcsize(f"={SIZES.get(kind, 'Q')}") * length <= (8 if self._big else 4)
            place = [inline] if fits else self._unpack("Q" if self._big else "I", inline)
            tags[tag] = kind, length, next(iter(place), 0)
        return tags, offset + head + size * count

    def _unpack(self, form: str, at: int) -> list[int]:
        """Numbers at an offset; none where they are not within the file."""
        size = struct.calcsize(f"={form}")
        return list(struct.unpack_from(self._end + form, self._data, at)) if 0 <= at <= len(self._data) - size else []
