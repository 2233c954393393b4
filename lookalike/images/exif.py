"""A block of EXIF, or a whole TIFF, to the values of its tags; whatever a hostile block claims, little is read.

Pillow's reader copies every value of every directory, whatever its length. Here the values of a few tags are read, each
only up to a bound, of three directories that are each read once: there is nothing that could be gone round in circles.
Maker notes are not read.
"""

import math
import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

MAKE, MODEL, ORIENTATION, SOFTWARE, XMP, EXIF, GPS = 271, 272, 274, 305, 700, 34665, 34853
EXPOSURE, ISO, RECOMMENDED_ISO, ISO_SPEED, TAKEN, OFFSET = 33434, 34855, 34866, 34867, 36867, 36881
FOCAL_LENGTH, FRACTION, LENS_MAKE, LENS = 37386, 37521, 42035, 42036
LATITUDE_SIDE, LATITUDE, LONGITUDE_SIDE, LONGITUDE, GPS_TIME, GPS_DATE = 1, 2, 3, 4, 7, 29

OF_PHOTO = frozenset(
    (EXPOSURE, ISO, RECOMMENDED_ISO, ISO_SPEED, TAKEN, OFFSET, FOCAL_LENGTH, FRACTION, LENS_MAKE, LENS)
)
OF_GPS = frozenset((LATITUDE_SIDE, LATITUDE, LONGITUDE_SIDE, LONGITUDE, GPS_TIME, GPS_DATE))
# Raw files built by the older standard TIFF/EP have the tags of the photo in the first directory.
OF_FILE = frozenset((MAKE, MODEL, ORIENTATION, SOFTWARE, EXIF, GPS)) | OF_PHOTO

ENTRIES = 1000
"""Entries that are read of one directory."""
LONGEST = 1024
"""Bytes that are read of a text."""
NUMBERS = 4
"""Numbers that are read of one value."""
HEAD = b"Exif\0\0"
TEXTS = (2, 7, 129)
"""ASCII, bytes of no type, and UTF-8, which EXIF 3 added."""
BYTES = (1, *TEXTS)
FORMS = {1: "B", 3: "H", 4: "I", 5: "II", 6: "b", 8: "h", 9: "i", 10: "ii", 11: "f", 12: "d", 13: "I", 16: "Q", 17: "q"}
RATIOS = (5, 10)
SIZES = {kind: struct.calcsize(f"={form}") for kind, form in FORMS.items()} | dict.fromkeys(TEXTS, 1)
Value = str | tuple[float, ...]
"""Text without what comes after a NUL, or some numbers; NaN for a fraction whose denominator is 0."""
Tags = dict[int, Value]


@dataclass(frozen=True)
class Exif:
    """The tags of the file and of the photo, and those of its place."""

    photo: Tags
    place: Tags


def read(block: bytes) -> Exif:
    """The tags of a block; what is damaged is left out."""
    data = block[len(HEAD) :] if block.startswith(HEAD) else block
    directories = _Directories.of(data)
    if directories is None:
        return Exif({}, {})
    tags = directories.read(directories.first(), OF_FILE)
    photo = directories.read(_number(tags, EXIF), OF_PHOTO)
    return Exif(tags | photo, directories.read(_number(tags, GPS), OF_GPS))


def orientation(block: bytes) -> Value | None:
    """The value of that tag alone; None where there is none."""
    directories = _Directories.of(block[len(HEAD) :] if block.startswith(HEAD) else block)
    return directories.read(directories.first(), (ORIENTATION,)).get(ORIENTATION) if directories else None


def packet(data: bytes, most: int) -> bytes:
    """The block of XMP in the first directory of a TIFF, up to `most` bytes of it; empty where there is none."""
    directories = _Directories.of(data)
    if directories is None:
        return b""
    for tag, kind, length, place in directories.entries(directories.first()):
        if tag == XMP and kind in BYTES:
            at = 0 if length <= len(place) else directories.offset.unpack(place)[0]
            return (place if length <= len(place) else data)[at : at + min(length, most)]
    return b""


def _number(tags: Tags, tag: int) -> int:
    value = tags.get(tag)
    return int(value[0]) if isinstance(value, tuple) and value and math.isfinite(value[0]) else 0


@dataclass(frozen=True)
class _Directories:
    """The directories of a block in one order of bytes; those of a BigTIFF have longer numbers."""

    data: bytes
    order: str
    entry: struct.Struct
    head: struct.Struct
    offset: struct.Struct

    @classmethod
    def of(cls, data: bytes) -> "_Directories | None":
        order = {b"II": "<", b"MM": ">"}.get(bytes(data[:2]), "")
        return cls(data, order, *FORMS_OF_FILES[order, data[2:4] in (b"+\0", b"\0+")]) if order else None

    def first(self) -> int:
        """The offset of the first directory."""
        at = self.offset.size
        return int(self.offset.unpack_from(self.data, at)[0]) if len(self.data) >= 2 * at else 0

    def read(self, at: int, wanted: Collection[int]) -> Tags:
        """The values of some tags of a directory; of a tag that comes twice, the first that can be read."""
        tags: Tags = {}
        for tag, kind, length, place in self.entries(at):
            if tag in wanted and tag not in tags and kind in SIZES and (value := self._value(kind, length, place)):
                tags[tag] = value
        return tags

    def entries(self, at: int) -> Iterator[tuple[int, int, int, bytes]]:
        """Tag, kind of value, count and the value or its offset, of each entry of a directory."""
        start = at + self.head.size
        if not 0 < at <= len(self.data) - self.head.size:
            return iter(())
        count = min(ENTRIES, self.head.unpack_from(self.data, at)[0], (len(self.data) - start) // self.entry.size)
        return self.entry.iter_unpack(self.data[start : start + count * self.entry.size])

    def _value(self, kind: int, count: int, place: bytes) -> Value:
        size, data, at = SIZES[kind] * count, place, 0
        if size > len(place):
            data, at = self.data, self.offset.unpack(place)[0]
            if at + size > len(data):
                return ""
        if kind in TEXTS:
            return _text(data[at : at + size] if size < LONGEST else data[at : at + LONGEST])
        numbers = PARSED[self.order][kind][count if count < NUMBERS else NUMBERS].unpack_from(data, at)
        return _ratios(numbers) if kind in RATIOS else numbers


FORMS_OF_FILES = {
    (order, big): [struct.Struct(order + form) for form in (("HHQ8s", "Q", "Q") if big else ("HHI4s", "H", "I"))]
    for order in "<>"
    for big in (False, True)
}
"""Of an entry, of the number of entries, and of an offset, by the order of bytes and whether it is a BigTIFF."""
PARSED = {
    order: {kind: [struct.Struct(order + form * count) for count in range(NUMBERS + 1)] for kind, form in FORMS.items()}
    for order in "<>"
}
"""Of so many values of a kind, by the order of bytes."""


def _text(raw: bytes) -> str:
    raw = raw.partition(b"\0")[0].strip()
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _ratios(numbers: tuple[Any, ...]) -> tuple[float, ...]:
    if len(numbers) == 2:
        return (numbers[0] / numbers[1] if numbers[1] else math.nan,)
    pairs = zip(numbers[::2], numbers[1::2], strict=True)
    return tuple(above / below if below else math.nan for above, below in pairs)
