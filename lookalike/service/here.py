"""An upload to the image of the collection that it is: the same bytes, or the same pixels."""

from typing import Any

import numpy as np

from lookalike.errors import ImageError
from lookalike.images import decode as images
from lookalike.search.searched import SearchedGallery
from lookalike.service.ids import key_text, to_id
from lookalike.storage.store import Item
from lookalike.types import Probe

NEAREST = 3
CLOSE = 0.98
"""Pictures of the same pixels have nearly the same vector, however they were decoded; only such are compared."""


def of_upload(gallery: SearchedGallery, data: bytes, own: Item | None, probe: Probe) -> dict[str, Any] | None:
    """Its item and how it is known to be that; None where it is none."""
    if own:
        return _entry(own, "bytes")
    scores, rows = gallery.search(probe.vectors[:1], NEAREST)
    for score, row in zip(scores[0].tolist(), rows[0].tolist(), strict=True):
        if row >= 0 and score >= CLOSE and _has_pixels(data, gallery, row):
            return _entry(gallery.item(row), "pixels")
    return None


def _has_pixels(data: bytes, gallery: SearchedGallery, row: int) -> bool:
    try:
        item, facts = gallery.item(row), images.examine(data)
        if {facts.width, facts.height} != {item.width, item.height}:
            return False
        stored = images.decode(gallery.read(row)).image
        return np.array_equal(np.asarray(images.decode(data).image), np.asarray(stored))
    except ImageError:
        return False


def _entry(item: Item, by: str) -> dict[str, Any]:
    return {"id": to_id(item.key), "key": key_text(item.key), "by": by}
