"""Cameras' raw files to pictures, by LibRaw where the extra `raw` is installed: the preview inside, or developed."""

import importlib.util
import io
from typing import Any

from PIL import Image

from lookalike.errors import ImageError
from lookalike.images import kinds

LARGE = 1000
"""Pixels of the longer side from which a preview is as good as the picture; no encoder reads more."""
FLIPS = {0: 1, 3: 3, 5: 8, 6: 6}
"""How LibRaw says that a camera was turned, as an orientation of EXIF."""
STARTS = (b"FUJIFILMCCD-RAW ", b"FOVb", b"\0MRM", b"IIU\0", b"IIRO", b"IIRS", b"MMOR")


def is_raw(head: bytes) -> bool:
    """Whether a file's first bytes are those of a raw file that is not plain TIFF."""
    return head.startswith(STARTS) or head[4:12] == b"ftypcrx "


def is_installed() -> bool:
    """Whether the extra `raw` is."""
    return importlib.util.find_spec("rawpy") is not None


def develop(data: bytes, pixels: int) -> tuple[Image.Image, int]:
    """The picture of a raw file of at most `pixels`, and the orientation it still has to be given.

    The embedded preview where it is large, else the sensor's pixels developed at half the size, which is four times as
    fast. Raises ImageError. LibRaw reads hostile bytes in C: call it only in a process that may die.
    """
    if not is_installed():
        raise ImageError(kinds.NEEDS_RAW)
    import rawpy

    try:
        with rawpy.imread(io.BytesIO(data)) as raw:
            width, height = int(raw.sizes.raw_width), int(raw.sizes.raw_height)
            if width * height > pixels:
                raise ImageError(f"{width} x {height} pixels, over the limit of {pixels:,}")
            preview = _preview(raw, rawpy)
            if preview and max(preview.size) >= min(LARGE, max(width, height) / 2):
                return preview, FLIPS.get(int(raw.sizes.flip), 1)
            colours = raw.postprocess(half_size=True, use_camera_wb=True, output_bps=8)
            return Image.fromarray(colours), 1
    except rawpy.LibRawError as error:
        detail = error.args[0] if error.args else ""
        text = detail.decode("utf-8", "replace") if isinstance(detail, bytes) else str(detail)
        raise ImageError(f"damaged or unsupported raw file ({text[:60]})") from error


def _preview(raw: Any, rawpy: Any) -> Image.Image | None:
    try:
        thumb = raw.extract_thumb()
    except rawpy.LibRawError:
        return None
    if thumb.format == rawpy.ThumbFormat.BITMAP:
        return Image.fromarray(thumb.data)
    try:
        return Image.open(io.BytesIO(thumb.data), formats=("JPEG",))
    except (OSError, SyntaxError, ValueError):
        return None
