"""Bytes to an open image, not decoded yet: the format by its content, and of several pictures the right one."""

import functools
import importlib.util
import io
import logging
import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from PIL import Image, ImageFile, UnidentifiedImageError

from lookalike.errors import ImageError
from lookalike.images import exif, facts, jpeg_xl, kinds, raw, tiff
from lookalike.utils.files import reason

# Formats with a real signature that Pillow decodes without a helper program (EPS runs Ghostscript).
FORMATS = ("JPEG", "MPO", "PNG", "GIF", "WEBP", "TIFF", "BMP", "DIB", "PPM", "JPEG2000", "AVIF", "HEIF", "QOI", "PCX")
DRAFTED = ("JPEG", "MPO")
"""Formats that can be decoded at a reduced size."""
HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"mif1", b"msf1")
# Each scan of a JPEG is a pass over all its pixels: a small file with a million scans would take hours. Real files have
# about ten; 500 is the limit of libjpeg-turbo's own fuzzers.
JPEG_SCANS = 500
SCAN = b"\xff\xda"
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd8]")


@dataclass(frozen=True)
class Opened:
    """An image whose header is read, the bytes that it is read from, and the passes that decoding takes.

    `orientation` is that of the file around it, for a picture that has none of its own.
    """

    image: Image.Image
    data: bytes
    passes: int = 1
    orientation: int = 1

    def reread(self, mode: str) -> Image.Image:
        """The same pixels, loaded as if they lay in the file in another raw mode."""
        again = _identified(self.data)
        tile = again.tile[0]
        again.tile = [
            each._replace(args=(mode, *each.args[1:]) if isinstance(each.args, tuple) else mode) for each in again.tile
        ]
        if mode == "RGBA" and tile.codec_name == "zip":
            again._mode = mode
        again.load()
        return again


def open_picture(data: bytes, pixels: int) -> Opened:
    """The picture in a file; of a raw file or JPEG XL of at most `pixels`. Raises ImageError and Pillow's errors."""
    if jpeg_xl.is_jpeg_xl(data[:32]):
        return _jpeg_xl(data, pixels)
    if raw.is_raw(data[:32]) and not tiff.is_tiff(data):
        return _developed(data, pixels)
    return _page(data, pixels) if tiff.is_tiff(data) else _of_pillow(data)


def is_risky(data: bytes) -> bool:
    """Whether even opening it runs a large decoder: only a process that may die does that."""
    if jpeg_xl.is_jpeg_xl(data[:32]):
        return _reads_jpeg_xl()
    is_tiff = tiff.is_tiff(data)
    needs_raw = _needs_raw(tiff.layout(data)) if is_tiff else raw.is_raw(data[:32])
    return needs_raw and raw.is_installed()


def _reads_jpeg_xl() -> bool:
    return importlib.util.find_spec("pillow_jxl") is not None


def _page(data: bytes, pixels: int) -> Opened:
    """Of a TIFF, or a raw file that is like one."""
    layout = tiff.layout(data)
    if _needs_raw(layout):
        return _developed(data, pixels)
    page = layout.picture
    if page is None or (page is layout.pages[0] and not page.length and data[:4] in tiff.MAGICS):
        return _of_pillow(data)
    inner = data[page.offset : page.offset + page.length] if page.length else tiff.starting_at(data, page.offset)
    # An orientation of the page itself is applied by Pillow.
    return _with_orientation(_of_pillow(inner), page.orientation)


def _needs_raw(layout: tiff.Layout) -> bool:
    """Whether a raw file holds no preview that is as good as the picture."""
    page, sensor = layout.picture, layout.sensor
    if not layout.is_raw:
        return False
    enough = min(raw.LARGE, max(sensor.width, sensor.height) / 2) if sensor else raw.LARGE
    return page is None or max(page.width, page.height) < enough


def _developed(data: bytes, pixels: int) -> Opened:
    image, orientation = raw.develop(data, pixels)
    return _with_orientation(Opened(image, data), orientation)


def _with_orientation(inner: Opened, orientation: int) -> Opened:
    is_tiff = inner.image.format == "TIFF"
    has_own = exif.ORIENTATION in exif.read(inner.data).photo if is_tiff else facts.turned(inner.image) is not None
    return inner if has_own else Opened(inner.image, inner.data, inner.passes, orientation)


def _jpeg_xl(data: bytes, pixels: int) -> Opened:
    if not _reads_jpeg_xl():
        raise ImageError(kinds.NEEDS_JXL)
    width, height = jpeg_xl.size(data)
    if width * height > pixels:
        raise ImageError(f"{width} x {height} pixels, over the limit of {pixels:,}")
    import pillow_jxl  # noqa: F401 - adds the format to Pillow

    try:
        image = Image.open(io.BytesIO(data), formats=("JXL",))
    except BaseException as error:
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            raise ImageError("damaged or unsupported JPEG XL") from error
        raise
    if not getattr(image, "jpeg", False):
        # The decoder has turned it upright; what EXIF says was true before.
        image.info.pop("exif", None)
    return Opened(image, data)


def _of_pillow(data: bytes) -> Opened:
    # Counting all bytes that look like a scan takes a tenth of the time, and never gives fewer.
    many = data.startswith(b"\xff\xd8") and data.count(SCAN) > 1
    passes = scans(data) if many else 1
    if passes > JPEG_SCANS:
        raise ImageError(f"JPEG with more than {JPEG_SCANS} scans")
    return Opened(_identified(data), data, max(1, passes))


def _identified(data: bytes) -> ImageFile.ImageFile:
    try:
        return Image.open(io.BytesIO(data), formats=_readable_formats())
    except UnidentifiedImageError as error:
        if not sniff(data[:32]):
            raise ImageError("not an image") from error
        if data[8:12] in HEIC_BRANDS and "HEIF" not in _readable_formats():
            raise ImageError(kinds.NEEDS_HEIC) from error
        raise ImageError("damaged or unsupported image") from error


def scans(data: bytes) -> int:
    """The number of scans in a JPEG's first picture; counting stops one above the limit."""
    count, position = 0, 2
    while count <= JPEG_SCANS and (marker := _JPEG_MARKER.search(data, position)):
        if marker[0] == b"\xff\xd9":
            break
        count += marker[0] == SCAN
        position = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
    return count


def sniff(head: bytes) -> bool:
    """Whether the first bytes of a file (32 suffice) are an image's signature; PPM and PCX have no reliable one."""
    if jpeg_xl.is_jpeg_xl(head) or raw.is_raw(head):
        return True
    if head[:4] == b"RIFF":
        return head[8:12] == b"WEBP"
    if head[4:8] == b"ftyp":
        return head[8:12] in (b"avif", b"avis", b"jp2 ", *HEIC_BRANDS)
    if head[:2] == b"BM":
        return head[14:18] in {struct.pack("<I", size) for size in (12, 16, 40, 52, 56, 64, 108, 124)}
    starts = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"qoif", *tiff.MAGICS)
    return head.startswith((*starts, b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"))


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


@contextmanager
def reasons(pixels: int) -> Iterator[None]:
    """Turns any error of a decoder into an ImageError with a short reason."""
    try:
        yield
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(f"over the limit of {pixels:,} pixels") from error
    # A dozen decoders get hostile bytes here; any of their errors means "cannot be decoded".
    except (OSError, ValueError, SyntaxError, TypeError, ArithmeticError, LookupError, AttributeError) as error:
        raise ImageError(short_reason(error)) from error
    except (EOFError, struct.error, zlib.error, MemoryError, BufferError, RuntimeError, AssertionError) as error:
        raise ImageError(short_reason(error)) from error


def short_reason(error: BaseException) -> str:
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
