"""The bytes of an image file to what a comparison with another needs: upright pixels, and facts about its quality."""

import hashlib
import io
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lookalike.errors import ImageError
from lookalike.images.decode import LIMITS, decode, examine
from lookalike.images.facts import PhotoFacts

Raster = NDArray[np.float32]
"""(height, width) grey values from 0 to 255."""

SIDE = 1024
"""Pictures are compared at this longest side in pixels at most: a digit of a scanned page still has 9 pixels."""
LOSSLESS = frozenset({"PNG", "BMP", "DIB", "PPM", "TIFF", "QOI", "PCX", "GIF"})
MIDDLE = 512
FLOOR, BANDS = 2.5, 48
"""Grey levels that compression adds to every frequency, and the number of bands that frequencies are put into."""
SHARP = 0.6
"""Photos that were never enlarged have detail up to this share of the highest frequency, or more."""
BASE_LUMINANCE = 3672
"""The sum of the luminance table of Annex K of the JPEG standard, less its constant term: quality 50."""


@dataclass(frozen=True)
class Rendition:
    """A decoded file: `image` is upright RGB of at most `SIDE` pixels, of a picture of `width` x `height`.

    `pixels` is a digest of all decoded pixels with their transparency: equal for two files of the same pixels.
    `cover` is the transparency (height, width), 0 to 255, at the size of `image`; None where all is opaque. `centre` is
    the grey middle of the picture at its full size, at most `MIDDLE` pixels a side.
    """

    image: Image.Image
    width: int
    height: int
    pixels: bytes
    cover: NDArray[np.uint8] | None
    format: str
    quality: int | None
    centre: NDArray[np.uint8]
    camera: str
    taken: str

    @cached_property
    def grey(self) -> Raster:
        """The grey values of `image`; a transparent picture's shape is seen, also where it is white on white."""
        values = np.asarray(self.image.convert("L"), np.float32)
        # Against white, white art on a transparent ground would be a blank page.
        return values if self.cover is None else values * 0.5 + self.cover.astype(np.float32) * 0.5

    @property
    def lossless(self) -> bool:
        """Whether the format keeps every pixel as it was given."""
        return self.format in LOSSLESS

    @cached_property
    def filled(self) -> float:
        """The longest side in pixels that the detail of `image` would fill; less than its own where it was enlarged."""
        return max(self.image.size) * min(1.0, finest(self.grey) / SHARP)


def render(data: bytes, side: int = SIDE) -> Rendition:
    """Decode a file for comparison; raises ImageError."""
    facts, decoded = examine(data), decode(data)
    upright = decoded.image
    cover, quality = _unseen(data)
    photo = decoded.facts or PhotoFacts()
    digest = hashlib.sha256(f"{upright.size}".encode() + upright.tobytes())
    if cover is not None:
        digest.update(cover.tobytes())
    middle = _middle(upright)
    factor = side / max(upright.size)
    if factor < 1:
        size = max(1, round(upright.width * factor)), max(1, round(upright.height * factor))
        upright = upright.resize(size, Image.Resampling.BOX)
        cover = None if cover is None else cover.resize(size, Image.Resampling.BOX)
    return Rendition(
        upright,
        decoded.width,
        decoded.height,
        digest.digest(),
        None if cover is None else np.asarray(cover),
        facts.format,
        quality,
        middle,
        photo.camera or "",
        photo.taken or "",
    )


def _middle(image: Image.Image) -> NDArray[np.uint8]:
    left, top = (max(0, (length - MIDDLE) // 2) for length in image.size)
    return np.asarray(
        image.crop((left, top, min(image.width, left + MIDDLE), min(image.height, top + MIDDLE))).convert("L")
    )


def _unseen(data: bytes) -> tuple[Image.Image | None, int | None]:
    """What decoding to RGB leaves out: transparency, and JPEG quality."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.width * image.height > LIMITS.pixels:
                raise ImageError("too many pixels")
            quality = jpeg_quality(image)
            cover = None
            if image.has_transparency_data:
                from PIL import ImageOps

                channel = image.convert("RGBA").getchannel("A")
                if channel.getextrema() != (255, 255):
                    channel.info["exif"] = image.info.get("exif", b"")
                    cover = ImageOps.exif_transpose(channel)
            return cover, quality
    except ImageError:
        raise
    except Exception as error:  # the file decoded, but this reading of it is as hostile as the first
        raise ImageError("damaged or unsupported image") from error


def quality_of(data: bytes) -> int | None:
    """The JPEG quality of a file, from its header alone; None for other formats. Raises ImageError."""
    if examine(data).format not in ("JPEG", "MPO"):
        return None
    try:
        with Image.open(io.BytesIO(data)) as image:
            return jpeg_quality(image)
    except Exception as error:  # its header was read, but this reading of it is as hostile as the first
        raise ImageError("damaged or unsupported image") from error


def jpeg_quality(image: Image.Image) -> int | None:
    """libjpeg's quality setting, 1 to 100, estimated from the quantisation of luminance; None for other formats."""
    table = getattr(image, "quantization", None)
    if not table or 0 not in table:
        return None
    scale = 100 * sum(table[0][1:]) / BASE_LUMINANCE
    quality = 100 - scale / 2 if scale <= 100 else 5000 / scale
    return int(min(100, max(1, round(quality))))


def finest(grey: Raster) -> float:
    """The share of the highest frequency, 0 to 1, above which there is only what compression adds."""
    top, left = (max(0, (length - MIDDLE) // 2) for length in grey.shape)
    grey = grey[top : top + MIDDLE, left : left + MIDDLE]
    if min(grey.shape) < 8 or float(grey.std()) < 1:
        return 1.0
    window = np.outer(np.hanning(grey.shape[0]), np.hanning(grey.shape[1])).astype(np.float32)
    power = np.abs(np.fft.rfft2((grey - grey.mean()) * window)) ** 2 / float((window**2).sum())
    down, across = np.fft.fftfreq(grey.shape[0])[:, None], np.fft.rfftfreq(grey.shape[1])[None]
    # Per axis: a picture that was enlarged has nothing beyond its old highest frequency in either direction.
    band = np.minimum(np.maximum(np.abs(down), across) * 2 * BANDS, BANDS - 1).astype(np.int64)
    counts = np.maximum(np.bincount(band.ravel(), minlength=BANDS), 1)
    means = np.bincount(band.ravel(), power.ravel(), BANDS) / counts
    above = np.flatnonzero(means > FLOOR**2)
    return float((above[-1] + 1) / BANDS) if len(above) else 1.0
