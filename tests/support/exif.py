"""EXIF blocks and whole TIFF files by their entries, in both byte orders, right or wrong."""

import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

BYTE, ASCII, SHORT, LONG, RATIO, UNDEFINED, SIGNED_RATIO = 1, 2, 3, 4, 5, 7, 10
FORMS = {BYTE: "B", SHORT: "H", LONG: "I", RATIO: "II", SIGNED_RATIO: "ii", 9: "i", 11: "f", 12: "d"}
Entry = tuple[int, int, Any]
"""Tag, type, and text or numbers (a pair for each fraction)."""
HEAD = 8
SIDE = 16


@dataclass(frozen=True)
class Block:
    """The entries of the directories of the file, the photo, the place, and a thumbnail chained behind the first."""

    file: Sequence[Entry] = ()
    photo: Sequence[Entry] = ()
    place: Sequence[Entry] = ()
    chained: Sequence[Entry] = field(default=())

    def bytes(self, order: str) -> bytes:
        """The block in an order of bytes, "<" or ">"."""
        sub = [(34665, LONG, [0])] * bool(self.photo) + [(34853, LONG, [0])] * bool(self.place)
        at = HEAD + size([*self.file, *sub], order)
        pointers: list[Entry] = []
        body = b""
        for tag, entries in ((34665, self.photo), (34853, self.place)):
            if entries:
                pointers.append((tag, LONG, [at + len(body)]))
                body += directory(entries, order, at + len(body))
        following = at + len(body) if self.chained else 0
        body += directory(self.chained, order, at + len(body)) if self.chained else b""
        first = directory([*self.file, *pointers], order, HEAD, following)
        return header(order) + first + body


def header(order: str, first: int = HEAD) -> bytes:
    """The first bytes of a TIFF."""
    return (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, first)


def directory(entries: Sequence[Entry], order: str, at: int, following: int = 0) -> bytes:
    """A directory at an offset, with its values behind it."""
    ordered = sorted(entries, key=lambda entry: entry[0])
    head, tail = struct.pack(f"{order}H", len(ordered)), b""
    after = at + 2 + 12 * len(ordered) + 4
    for tag, kind, values in ordered:
        data, count = packed(kind, values, order)
        place = data.ljust(4, b"\0")
        if len(data) > 4:
            place = struct.pack(f"{order}I", after + len(tail))
            tail += data + b"\0" * (len(data) % 2)
        head += struct.pack(f"{order}HHI", tag, kind, count) + place
    return head + struct.pack(f"{order}I", following) + tail


def size(entries: Sequence[Entry], order: str) -> int:
    """How long a directory is."""
    return len(directory(entries, order, 0))


def packed(kind: int, values: Any, order: str) -> tuple[bytes, int]:
    """Bytes of a value, and how many there are of its type."""
    if isinstance(values, str | bytes):
        data = values if isinstance(values, bytes) else values.encode() + b"\0" * (kind == ASCII)
        return data, len(data)
    flat = [number for value in values for number in (value if isinstance(value, tuple) else (value,))]
    form = FORMS[kind]
    return struct.pack(order + form[0] * len(flat), *flat), len(flat) // len(form)


def image_file(block: Block, order: str, kind: str) -> bytes:
    """A small picture of a kind with the block in it: JPEG, PNG, WEBP, HEIF or TIFF."""
    if kind == "TIFF":
        return tiff_file(block, order)
    buffer = io.BytesIO()
    # Many programs write the head of JPEG in WebP too, and exifread looks for it; Pillow takes one head off.
    heads = {"HEIF": 0, "WEBP": 2}.get(kind, 1)
    Image.new("RGB", (64, 64), (200, 90, 30)).save(buffer, kind, exif=b"Exif\0\0" * heads + block.bytes(order))
    return buffer.getvalue()


def tiff_file(block: Block, order: str) -> bytes:
    """A grey picture of 16 x 16 pixels, whose first directory is the block's."""
    strip = len(Block([*block.file, *picture(0)], block.photo, block.place, block.chained).bytes(order))
    whole = Block([*block.file, *picture(strip)], block.photo, block.place, block.chained)
    return whole.bytes(order) + bytes(range(256))


def picture(strip: int) -> list[Entry]:
    """The tags of 16 x 16 grey pixels at an offset."""
    return [
        (256, SHORT, [SIDE]), (257, SHORT, [SIDE]), (258, SHORT, [8]), (259, SHORT, [1]), (262, SHORT, [1]),
        (273, LONG, [strip]), (277, SHORT, [1]), (278, SHORT, [SIDE]), (279, LONG, [SIDE * SIDE]),
    ]  # fmt: skip
