"""Small pictures, and files put together byte by byte where no library would write them."""

import io
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

SIZE = (96, 64)


def scene(seed: int, mode: str = "RGB", size: tuple[int, int] = SIZE) -> Image.Image:
    """A picture of coarse colours, different for every seed, in a Pillow mode."""
    blocks = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), np.uint8)
    return Image.fromarray(blocks).resize(size, Image.Resampling.BICUBIC).convert(mode)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The file that Pillow writes."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    """One PNG chunk with a right checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *, before: bytes = b"") -> bytes:
    """A PNG of raw `rows` (each with its filter byte); `before` goes between the header and the pixels."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(rows)) if rows else b""
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + pixels + chunk(b"IEND", b"")


def tiff(tags: Sequence[tuple[int, int, int, int]], data: bytes, next_ifd: int = 0) -> bytes:
    """A little-endian TIFF of one directory; tags are (tag, type, count, value) and `data` begins at byte 8."""
    ifd = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
    data += b"\0" * (len(data) % 2)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + ifd + struct.pack("<I", next_ifd)


def bmp(width: int, height: int, pixels: bytes) -> bytes:
    """A 24-bit BMP; a negative height means that the first row is at the top."""
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, len(pixels), 2835, 2835, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(pixels), 0, 0, 54) + info + pixels


def jpeg_with_exif(seed: int, exif: bytes) -> bytes:
    """A JPEG with these bytes as its EXIF block."""
    return saved(scene(seed), "JPEG", exif=b"Exif\0\0" + exif, quality=92)


def orientation(value: int, kind: int = 3) -> bytes:
    """An EXIF block that says nothing but the orientation; kind 3 is a short number, 2 is text."""
    return b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHIHH", 0x0112, kind, 1, value, 0) + b"\0\0\0\0"


def jpeg_frame_header(data: bytes, width: int, height: int) -> bytes:
    """The JPEG with other dimensions in its frame header."""
    at = next(data.index(marker) for marker in (b"\xff\xc0", b"\xff\xc2") if marker in data)
    return data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]
