"""Bytes or a path to an upright RGB picture: the only place where hostile image data is decoded."""

import functools
import importlib.util
import io
import logging
import math
import os
import re
import stat
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from lookalike.errors import ImageError
from lookalike.types import Box, Encoder, Picture, Preparation, Vectors
from lookalike.utils.files import reason

# Formats with a real signature that Pillow decodes without a helper program (EPS runs Ghostscript).
FORMATS = ("JPEG", "MPO", "PNG", "GIF", "WEBP", "TIFF", "BMP", "DIB", "PPM", "JPEG2000", "AVIF", "HEIF", "QOI", "PCX")
DRAFTED = ("JPEG", "MPO")
"""Formats that can be decoded at a reduced size."""
EXTENSIONS = frozenset(
    ".jpg .jpeg .jpe .jfif .mpo .png .apng .gif .webp .tif .tiff .bmp .dib .ppm .pgm .pbm .pnm .jp2 .j2k .jpx .avif "
    ".heic .heif .hif .qoi .pcx".split()
)
HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"mif1", b"msf1")
# Pillow's own default (`reducing_gap`): decoding to twice the target size keeps the later resize free of artefacts.
REDUCING_GAP = 2
# Each scan of a JPEG is a pass over all its pixels: a small file with a million scans would take hours. Real files have
# about ten; 500 is the limit of libjpeg-turbo's own fuzzers.
JPEG_SCANS = 500
SCAN = b"\xff\xda"
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd8]")


@dataclass(frozen=True)
class Limits:
    """Images over these limits are refused before they are decoded; the defaults admit panoramas.

    `pixels` above the default has no effect: Pillow refuses such images. Decoding takes 8 to 17 bytes a pixel.
    """

    pixels: int = 178_956_970  # Pillow's own decompression-bomb limit: 0.5 GB of RGB
    bytes: int = 256 * 1024 * 1024


LIMITS = Limits()


@dataclass(frozen=True)
class Decoded:
    """An upright RGB `image`, perhaps reduced and cut to a box, of a picture of `width` x `height` upright pixels.

    `scale` is the side of `image` over that of the picture: 1, or about 1/2, 1/4, 1/8 where it was decoded reduced.
    """

    image: Image.Image
    width: int
    height: int
    scale: float = 1.0


def read(path: str | Path, limits: Limits = LIMITS) -> bytes:
    """The bytes of a regular file of at most `limits.bytes`; raises ImageError with a short reason."""
    try:
        status = os.stat(path)  # noqa: PTH116 - a Path of every file takes as long as reading it
        if stat.S_ISDIR(status.st_mode):
            raise ImageError("is a directory")
        if not stat.S_ISREG(status.st_mode):
            raise ImageError("not a regular file")
        if status.st_size > limits.bytes:
            raise ImageError(f"{status.st_size:,} bytes, over the limit of {limits.bytes:,}")
        with open(path, "rb") as file:  # noqa: PTH123
            # Room for the limit of every file would take longer to get than the file to read.
            data = file.read(status.st_size + 1)
            return data if len(data) <= status.st_size else data + file.read(limits.bytes + 1 - len(data))
    except (OSError, ValueError) as error:
        raise ImageError(_reason(error)) from error


def decode(data: bytes, *, size: int | None = None, box: Box | None = None, limits: Limits = LIMITS) -> Decoded:
    """Decode `data` to upright RGB, cut to `box` (pixels of the full upright image).

    A JPEG may be decoded at 1/2, 1/4 or 1/8 as long as the shorter side of what is returned stays at or above
    `REDUCING_GAP` x `size`. Raises ImageError with a short reason for anything that cannot or may not be decoded.
    """
    if not data:
        raise ImageError("empty file")
    if len(data) > limits.bytes:
        raise ImageError(f"{len(data):,} bytes, over the limit of {limits.bytes:,}")
    with _reasons(limits), _open(data) as image:
        return _decode(image, size, box, limits)


@dataclass(frozen=True)
class Facts:
    """The header of an image: format, width and height as stored, and the number of passes that decoding takes."""

    format: str
    width: int
    height: int
    passes: int


def examine(data: bytes, limits: Limits = LIMITS) -> Facts:
    """Read the header without decoding; raises ImageError for bytes that are no image or are over the limits."""
    if not data:
        raise ImageError("empty file")
    if len(data) > limits.bytes:
        raise ImageError(f"{len(data):,} bytes, over the limit of {limits.bytes:,}")
    with _reasons(limits), _open(data) as image:
        width, height = image.size
        if width * height > limits.pixels:
            raise ImageError(f"{width} x {height} pixels, over the limit of {limits.pixels:,}")
        passes = _scans(data) if image.format in DRAFTED else 1
        return Facts(str(image.format), width, height, max(1, passes))


def load(source: bytes | Picture, *, size: int | None = None, box: Box | None = None) -> Decoded:
    """`decode` for every source that the Python API takes: bytes, a path, or an image that is already open."""
    if isinstance(source, Image.Image):
        with _reasons(LIMITS):
            return _decode(source, None, box, LIMITS)
    return decode(source if isinstance(source, bytes) else read(source), size=size, box=box)


def encode_images(encoder: Encoder, images: Sequence[Picture]) -> Vectors:
    """What every encoder's `encode` does: load, prepare, and encode as one batch; (n, dim) unit rows."""
    if not images:
        return np.empty((0, encoder.dim), np.float32)
    return encoder.encode_batch([prepare(encoder, load(image, size=encoder.decode_size)) for image in images])


def prepare(encoder: Preparation, decoded: Decoded) -> NDArray[Any]:
    """`encoder.prepare` for a decoded picture, with the size of the whole picture at that scale."""
    whole = max(1, round(decoded.width * decoded.scale)), max(1, round(decoded.height * decoded.scale))
    return encoder.prepare(decoded.image, whole)


def sniff(head: bytes) -> bool:
    """Whether the first bytes of a file (32 suffice) are an image's signature; PPM and PCX have no reliable one."""
    if head[:4] == b"RIFF":
        return head[8:12] == b"WEBP"
    if head[4:8] == b"ftyp":
        return head[8:12] in (b"avif", b"avis", b"jp2 ", *HEIC_BRANDS)
    if head[:2] == b"BM":
        return head[14:18] in {struct.pack("<I", size) for size in (12, 16, 40, 52, 56, 64, 108, 124)}
    tiffs = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
    starts = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"qoif", *tiffs)
    return head.startswith((*starts, b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"))


def thumbnail(image: Image.Image, size: int) -> Image.Image:
    """A copy whose longest side is at most `size`."""
    copy = image.copy()
    copy.thumbnail((size, size), Image.Resampling.LANCZOS)
    return copy


def to_jpeg(image: Image.Image, quality: int = 85) -> bytes:
    """JPEG bytes of the pixels alone: no EXIF, no GPS, no profile, no comment."""
    buffer, plain = io.BytesIO(), image.convert("RGB")
    plain.info = {}  # Pillow would write a comment that is in it
    plain.save(buffer, "JPEG", quality=quality, optimize=True)
    return buffer.getvalue()


def clip(box: Box, width: int, height: int) -> Box:
    """`box` cut to an image of `width` x `height`; raises ImageError where it does not overlap the image."""
    corners = (box.left, box.top, box.right, box.bottom)
    if not all(map(math.isfinite, corners)):
        raise ImageError(f"box {_numbers(box)} is not four finite numbers")
    clipped = Box(max(0, box.left), max(0, box.top), min(width, box.right), min(height, box.bottom))
    if clipped.left >= clipped.right or clipped.top >= clipped.bottom:
        raise ImageError(f"box {_numbers(box)} has no area inside the image of {width} x {height} pixels")
    return clipped


def _numbers(box: Box) -> str:
    return ",".join(f"{value:g}" for value in (box.left, box.top, box.right, box.bottom))


@contextmanager
def _reasons(limits: Limits) -> Iterator[None]:
    """Turns any error of a decoder into an ImageError with a short reason."""
    try:
        yield
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(f"over the limit of {limits.pixels:,} pixels") from error
    # A dozen decoders get hostile bytes here; any of their errors means "cannot be decoded".
    except (OSError, ValueError, SyntaxError, TypeError, ArithmeticError, LookupError, AttributeError) as error:
        raise ImageError(_reason(error)) from error
    except (EOFError, struct.error, zlib.error, MemoryError, BufferError, RuntimeError, AssertionError) as error:
        raise ImageError(_reason(error)) from error


def _open(data: bytes) -> Image.Image:
    # Counting all bytes that look like a scan takes a tenth of the time, and never gives fewer.
    if data.startswith(b"\xff\xd8") and data.count(SCAN) > JPEG_SCANS and _scans(data) > JPEG_SCANS:
        raise ImageError(f"JPEG with more than {JPEG_SCANS} scans")
    try:
        return Image.open(io.BytesIO(data), formats=_readable_formats())
    except UnidentifiedImageError as error:
        if not sniff(data[:32]):
            raise ImageError("not an image") from error
        if data[8:12] in HEIC_BRANDS and "HEIF" not in _readable_formats():
            raise ImageError("HEIC needs `pip install lookalike[heic]`") from error
        raise ImageError("damaged or unsupported image") from error


def _scans(data: bytes) -> int:
    """The number of scans in a JPEG's first picture; counting stops one above the limit."""
    scans, position = 0, 2
    while scans <= JPEG_SCANS and (marker := _JPEG_MARKER.search(data, position)):
        if marker[0] == b"\xff\xd9":
            break
        scans += marker[0] == SCAN
        position = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
    return scans


@functools.cache
def _readable_formats() -> tuple[str, ...]:
    """Pillow's formats, and HEIC where the extra `heic` is installed."""
    # Pillow also warns of faults in a file; here a file is either readable or refused with a reason.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    Image.init()
    if importlib.util.find_spec("pillow_heif"):
        import pillow_heif

        pillow_heif.register_heif_opener()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _decode(image: Image.Image, size: int | None, box: Box | None, limits: Limits) -> Decoded:
    width, height = image.size
    if not width * height:
        raise ImageError("no pixels")
    if width * height > limits.pixels:
        raise ImageError(f"{width} x {height} pixels, over the limit of {limits.pixels:,}")
    if image.format not in DRAFTED:
        image.load()  # turns a TIFF upright; a PNG's orientation may follow its pixels
    orientation, (width, height) = _orientation(image), image.size
    if orientation in (5, 6, 7, 8):
        width, height = height, width
    region = clip(box, width, height) if box else Box(0, 0, width, height)
    if size:
        _reduce(image, min(region.right - region.left, region.bottom - region.top), size)
    upright = _upright(to_rgb(image), orientation)
    scale = upright.width / width
    if box:
        scaled = region.scaled(scale, upright.height / height)
        upright = upright.crop(_whole_pixels(scaled, upright.width, upright.height))
    return Decoded(upright, width, height, scale)


def _whole_pixels(box: Box, width: int, height: int) -> tuple[int, int, int, int]:
    """Round to pixels as Pillow's crop does, keeping at least one."""
    left, top = min(round(box.left), width - 1), min(round(box.top), height - 1)
    return left, top, max(left + 1, round(box.right)), max(top + 1, round(box.bottom))


def _reduce(image: Image.Image, shorter: float, size: int) -> None:
    """Decode a JPEG reduced, by the largest of 8, 4 and 2 that leaves a shorter side of REDUCING_GAP x `size`."""
    factor = next((f for f in (8, 4, 2) if shorter / f >= REDUCING_GAP * size), None)
    if factor and image.format in DRAFTED:
        image.draft(image.mode, (image.width // factor, image.height // factor))


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # noqa: BLE001 - EXIF is hostile too, and an image is usable without it
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_TRANSPOSE[orientation]) if orientation in _TRANSPOSE else image


def to_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow mode to RGB: alpha on white, 16 and 32 bits scaled to 8."""
    image.load()
    if image.mode.startswith(("I", "F")):
        return _from_deep(image)
    if image.has_transparency_data:
        rgba = image if image.mode == "RGBA" else image.convert("RGBA")
        white = Image.new("RGB", rgba.size, "white")
        white.paste(rgba, mask=rgba)
        return white
    if image.mode == "RGB":
        return image if type(image) is Image.Image else image.copy()
    return image.convert("RGB")


def _from_deep(image: Image.Image) -> Image.Image:
    """16-bit integers by their high byte; other depths are scaled by their range, as no scale is recorded."""
    values = np.asarray(image)
    if values.dtype.kind == "f":
        values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    values = np.maximum(values, 0)
    highest = float(values.max(initial=0))
    if image.mode.startswith("I;16") or (image.mode == "I" and 255 < highest <= 65535):
        values = values >> 8
    elif highest > 255:
        values = values * (255 / highest)
    elif image.mode == "F" and highest <= 1:
        values = values * 255
    return Image.fromarray(np.rint(np.minimum(values, 255)).astype(np.uint8)).convert("RGB")


def _reason(error: BaseException) -> str:
    """The reason of an error in one short line, for the list of skipped files."""
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, PermissionError):
        return "permission denied"
    if isinstance(error, MemoryError):
        return "too large to decode in memory"
    text = "".join(letter for letter in " ".join(str(error).split()) if letter.isprintable())
    if "truncated" in text.lower() or isinstance(error, EOFError):
        return "truncated image"
    if isinstance(error, OSError) and error.strerror:
        return reason(error)
    return f"damaged image ({text[:80]})" if text else "damaged image"
