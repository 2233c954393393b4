"""Bytes or a path to an upright RGB picture: the only place where hostile image data is decoded."""

import io
import math
import os
import stat
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms

from lookalike.errors import ImageError
from lookalike.images import depth, effort
from lookalike.images import facts as photo_facts
from lookalike.images.facts import PhotoFacts
from lookalike.images.ground import on_ground
from lookalike.images.killable import Processes, TooSlow, answer_all
from lookalike.images.kinds import EXTENSIONS
from lookalike.images.opening import DRAFTED, FORMATS, Opened, is_risky, open_picture, reasons, short_reason, sniff
from lookalike.types import Box, Encoder, Picture, Preparation, Vectors
from lookalike.utils.cores import cores

__all__ = [
    "DRAFTED", "EXTENSIONS", "FORMATS", "LIMITS", "PROGRAM", "REDUCING_GAP", "SECONDS", "Decoded", "Facts", "Limits",
    "clip", "decode", "encode_images", "examine", "is_risky", "load", "prepare", "read", "sniff", "thumbnail",
    "to_jpeg", "to_rgb", "trial",
]  # fmt: skip

# Pillow's own default (`reducing_gap`): decoding to twice the target size keeps the later resize free of artefacts.
REDUCING_GAP = 2
SECONDS: ContextVar[float | None] = ContextVar("seconds", default=60.0)
"""How long decoding a picture may take that its header shows to be costly: it is decoded in a process that is killed
then. None decodes everything here, as such a process does itself."""
GDAL_NO_DATA = 42113


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
    `facts` is what a file says of itself; None for an image that was open already.
    """

    image: Image.Image
    width: int
    height: int
    scale: float = 1.0
    facts: PhotoFacts | None = None


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
        raise ImageError(short_reason(error)) from error


def decode(data: bytes, *, size: int | None = None, box: Box | None = None, limits: Limits = LIMITS) -> Decoded:
    """Decode `data` to upright RGB, cut to `box` (pixels of the full upright image).

    A JPEG may be decoded at 1/2, 1/4 or 1/8 as long as the shorter side of what is returned stays at or above
    `REDUCING_GAP` x `size`. Raises ImageError with a short reason for anything that cannot or may not be decoded, and
    for what takes longer than `SECONDS`.
    """
    _check(data, limits)
    is_bounded = SECONDS.get() is not None
    if is_bounded and _is_hidden(data):
        return _apart(data, size, box, limits)
    with reasons(limits.pixels):
        source = open_picture(data, limits.pixels)
        with source.image as image:
            is_costly = effort.cost(str(image.format), *image.size, source.passes) > effort.TRIED_COST
            if not is_bounded or not is_costly or image.width * image.height > limits.pixels:
                decoded = _decode(source, size, box, limits)
                return replace(decoded, facts=photo_facts.of_image(data, image))
    return _apart(data, size, box, limits)


def _check(data: bytes, limits: Limits) -> None:
    if not data:
        raise ImageError("empty file")
    if len(data) > limits.bytes:
        raise ImageError(f"{len(data):,} bytes, over the limit of {limits.bytes:,}")


def _is_hidden(data: bytes) -> bool:
    """Whether reading the header alone could take long, or runs a large decoder."""
    return sniff(data[:32]) and (effort.is_crowded(data) or is_risky(data))


# Costly pictures are decoded by this module in processes of their own. Their answers are facts and plain pixels.

PROGRAM = f"from {__name__} import serve; serve()"
"""What a process runs that decodes for this one."""
_PROCESSES = Processes(PROGRAM, cores())
STRIPE = 16 * 1024 * 1024


def _apart(data: bytes, size: int | None, box: Box | None, limits: Limits) -> Decoded:
    corners = [box.left, box.top, box.right, box.bottom] if box else None
    facts, pixels = _asked({"size": size, "box": corners}, data, limits)
    image = Image.frombytes("RGB", (facts["columns"], facts["rows"]), pixels)
    answer = facts.get("photo")
    photo = PhotoFacts.of_json(answer) if isinstance(answer, dict) else None
    return Decoded(image, facts["width"], facts["height"], facts["scale"], photo)


def _asked(question: dict[str, Any], data: bytes, limits: Limits) -> tuple[dict[str, Any], bytes]:
    seconds = SECONDS.get() or 0.0
    message = {**question, "pixels": limits.pixels}
    try:
        facts, pixels = _PROCESSES.ask(message, data, seconds, 3 * LIMITS.pixels)
    except TooSlow as error:
        raise ImageError(f"takes more than {seconds:g} seconds to decode") from error
    except (OSError, ValueError) as error:
        raise ImageError("cannot be decoded: the process that tried ended") from error
    if "reason" in facts:
        raise ImageError(str(facts["reason"]))
    return facts, pixels


def trial(size: int | None, limits: Limits) -> dict[str, Any]:
    """The question to a process whether a picture can be decoded at `size`; its answer has no pixels."""
    return {"size": size, "box": None, "pixels": limits.pixels, "trial": True}


def serve() -> None:
    """The loop of a process that decodes."""
    SECONDS.set(None)
    answer_all(_answer)


def _answer(question: dict[str, Any], data: bytes) -> tuple[dict[str, Any], int, Iterator[bytes]]:
    limits = Limits(question["pixels"], len(data))
    try:
        if question.get("examine"):
            return vars(examine(data, limits)), 0, iter(())
        box = Box(*question["box"]) if question["box"] else None
        decoded = decode(data, size=question["size"], box=box, limits=limits)
        if question.get("trial"):
            return {}, 0, iter(())
    except ImageError as error:
        return {"reason": str(error)}, 0, iter(())
    columns, rows = decoded.image.size
    facts: dict[str, Any] = {"width": decoded.width, "height": decoded.height}
    facts |= {"columns": columns, "rows": rows, "photo": decoded.facts.to_json() if decoded.facts else None}
    return {**facts, "scale": decoded.scale}, 3 * columns * rows, _stripes(decoded.image)


def _stripes(image: Image.Image) -> Iterator[bytes]:
    """The pixels of an RGB image in parts: as a whole they would be in memory twice."""
    rows = max(1, STRIPE // (3 * image.width))
    for top in range(0, image.height, rows):
        yield image.crop((0, top, image.width, min(image.height, top + rows))).tobytes()


@dataclass(frozen=True)
class Facts:
    """The header of an image: format, width and height as stored, and the number of passes that decoding takes."""

    format: str
    width: int
    height: int
    passes: int


def examine(data: bytes, limits: Limits = LIMITS) -> Facts:
    """Read the header without decoding; raises ImageError for bytes that are no image or are over the limits."""
    _check(data, limits)
    if SECONDS.get() is not None and _is_hidden(data):
        return Facts(**_asked({"examine": True}, data, limits)[0])
    with reasons(limits.pixels):
        source = open_picture(data, limits.pixels)
        with source.image as image:
            width, height = image.size
            if width * height > limits.pixels:
                raise ImageError(f"{width} x {height} pixels, over the limit of {limits.pixels:,}")
            return Facts(str(image.format), width, height, source.passes if image.format in DRAFTED else 1)


def load(source: bytes | Picture, *, size: int | None = None, box: Box | None = None) -> Decoded:
    """`decode` for every source that the Python API takes: bytes, a path, or an image that is already open."""
    if isinstance(source, Image.Image):
        with reasons(LIMITS.pixels):
            return _decode(Opened(source, b""), None, box, LIMITS)
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


def _decode(source: Opened, size: int | None, box: Box | None, limits: Limits) -> Decoded:
    image = source.image
    width, height = image.size
    if not width * height:
        raise ImageError("no pixels")
    if width * height > limits.pixels:
        raise ImageError(f"{width} x {height} pixels, over the limit of {limits.pixels:,}")
    mode = depth.raw_mode(image) if source.data else ""
    if image.format not in DRAFTED:
        image.load()  # turns a TIFF upright; a PNG's orientation may follow its pixels
    orientation, (width, height) = _orientation(source), image.size
    if orientation in (5, 6, 7, 8):
        width, height = height, width
    region = clip(box, width, height) if box else Box(0, 0, width, height)
    if size:
        _reduce(image, min(region.right - region.left, region.bottom - region.top), size)
    if depth.is_deep(mode):
        image = depth.of_high_bytes(image, mode, partial(Opened.reread, source))
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


def _orientation(source: Opened) -> int:
    image = source.image
    if not source.data:
        return _of_pillow(image)
    # A TIFF was turned when it was loaded.
    own = None if image.format == "TIFF" else photo_facts.turned(image)
    return source.orientation if own is None else own


def _of_pillow(image: Image.Image) -> int:
    """Of an image that somebody else opened, and perhaps changed."""
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
    """Any Pillow mode to RGB: alpha on a ground that shows the picture, 16 and 32 bits by `depth.to_bytes`."""
    image.load()
    if image.mode.startswith(("I", "F")):
        return _from_deep(image)
    if image.has_transparency_data:
        return on_ground(_rgba(image))
    if image.mode == "RGB":
        return image if type(image) is Image.Image else image.copy()
    if image.mode == "LAB":
        return ImageCms.applyTransform(image, _lab_to_srgb()) or image
    return image.convert("RGB")


def _rgba(image: Image.Image) -> Image.Image:
    straight = image.convert("LA") if image.mode == "La" else image
    return straight if straight.mode == "RGBA" else straight.convert("RGBA")


@cache
def _lab_to_srgb() -> ImageCms.ImageCmsTransform:
    """CIE L*a*b*, which Pillow itself does not convert, to sRGB."""
    profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    return ImageCms.buildTransform(*profiles, "LAB", "RGB")


def _from_deep(image: Image.Image) -> Image.Image:
    """One channel of more than 8 bits; a TIFF may say which value is no data, and that 0 is white."""
    values, tags = np.asarray(image), getattr(image, "tag_v2", {})
    grey = depth.to_bytes(values, _number(tags.get(GDAL_NO_DATA)))
    if tags.get(ExifTags.Base.PhotometricInterpretation) == 0:
        grey = 255 - grey
    key = image.info.get("transparency")
    if not isinstance(key, int):
        return Image.fromarray(grey).convert("RGB")
    opaque = np.where(values == key, 0, 255).astype(np.uint8)
    return on_ground(Image.fromarray(np.dstack((grey, opaque))).convert("RGBA"))


def _number(text: object) -> float | None:
    try:
        return float(str(text).strip("\0 ")) if text is not None else None
    except ValueError:
        return None
