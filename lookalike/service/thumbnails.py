"""Images of the collection as they are served: upright JPEG without EXIF or GPS; small ones stay in memory."""

import threading
from collections import OrderedDict

from PIL import Image

from lookalike.images import decode as images

QUALITY, FULL_QUALITY = 82, 92
LONGEST = 65_500
"""The longest side that libjpeg writes."""


class ThumbnailCache:
    """The thumbnails used last, up to a number of bytes; safe in several threads."""

    def __init__(self, most: int) -> None:
        self._most, self._bytes = most, 0
        self._lock = threading.Lock()
        self._thumbnails: OrderedDict[tuple[str, int], bytes] = OrderedDict()

    def get(self, sha256: str, size: int) -> bytes | None:
        """The thumbnail of this content at this size, if it is in memory."""
        with self._lock:
            data = self._thumbnails.get((sha256, size))
            if data is not None:
                self._thumbnails.move_to_end((sha256, size))
            return data

    def put(self, sha256: str, size: int, data: bytes) -> None:
        """Keep a thumbnail, and drop those that were not used for longest."""
        with self._lock:
            self._bytes += len(data) - len(self._thumbnails.pop((sha256, size), b""))
            self._thumbnails[sha256, size] = data
            while self._bytes > self._most and self._thumbnails:
                _, dropped = self._thumbnails.popitem(last=False)
                self._bytes -= len(dropped)


def thumbnail(data: bytes, size: int) -> bytes:
    """A JPEG whose longer side is at most `size`; raises ImageError."""
    # A draft decode keeps twice the shorter side that it is given, which in a panorama is a small part of the longer.
    image = images.decode(data, size=_shorter(data, size)).image
    return images.to_jpeg(images.thumbnail(image, size), QUALITY)


def full(data: bytes) -> bytes:
    """The whole picture, encoded anew; made smaller only where it is too large for JPEG. Raises ImageError."""
    image = images.decode(data).image
    return images.to_jpeg(image if max(image.size) <= LONGEST else images.thumbnail(image, LONGEST), FULL_QUALITY)


def preview(image: Image.Image, size: int = 480) -> bytes:
    """A JPEG of an upload whose format the browser cannot show."""
    return images.to_jpeg(images.thumbnail(image, size), QUALITY)


def _shorter(data: bytes, size: int) -> int:
    """Half the shorter side of a thumbnail whose longer side is `size`; draft mode keeps twice of it."""
    facts = images.examine(data)
    shorter, longer = sorted((facts.width, facts.height))
    return max(1, round(size * shorter / max(1, longer) / 2))
