"""Pictures of the collection as they are served: upright JPEG without EXIF or GPS, small ones kept in memory."""

import threading
from collections import OrderedDict

from PIL import Image

from lookalike.images import decode as images

QUALITY, FULL_QUALITY = 82, 92
LONGEST = 65_500
"""The longest side that libjpeg writes."""


class ThumbnailCache:
    """The thumbnails asked for last, up to a number of bytes; safe in several threads."""

    def __init__(self, most: int) -> None:
        self._most, self._held = most, 0
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, int], bytes] = OrderedDict()

    def get(self, sha256: str, size: int) -> bytes | None:
        """The thumbnail of this content at this size, if it is still here."""
        with self._lock:
            found = self._kept.get((sha256, size))
            if found is not None:
                self._kept.move_to_end((sha256, size))
            return found

    def put(self, sha256: str, size: int, data: bytes) -> None:
        """Keep it, and let go of what was not asked for longest."""
        with self._lock:
            self._held += len(data) - len(self._kept.pop((sha256, size), b""))
            self._kept[sha256, size] = data
            while self._held > self._most and self._kept:
                _, dropped = self._kept.popitem(last=False)
                self._held -= len(dropped)


def thumbnail(data: bytes, size: int) -> bytes:
    """A JPEG whose longer side is at most `size`; raises ImageError."""
    # A draft decode keeps twice the shorter side it is asked for; a panorama's may be a small part of its longer one.
    image = images.decode(data, size=_shorter(data, size)).image
    return images.to_jpeg(images.thumbnail(image, size), QUALITY)


def full(data: bytes) -> bytes:
    """The whole picture, encoded anew, smaller only where JPEG has no room for it; raises ImageError."""
    image = images.decode(data).image
    return images.to_jpeg(image if max(image.size) <= LONGEST else images.thumbnail(image, LONGEST), FULL_QUALITY)


def preview(image: Image.Image, size: int = 480) -> bytes:
    """Of an upload whose format the browser cannot show."""
    return images.to_jpeg(images.thumbnail(image, size), QUALITY)


def _shorter(data: bytes, size: int) -> int:
    """The shorter side of a thumbnail whose longer side is `size`; half of it suffices, as draft mode keeps double."""
    facts = images.examine(data)
    shorter, longer = sorted((facts.width, facts.height))
    return max(1, round(size * shorter / max(1, longer) / 2))
