"""Rows of a gallery to photos: the image of a key, and a few images that show what a collection is of."""

from typing import Any

import numpy as np

from lookalike.errors import UnknownKey
from lookalike.images.cards import Card, address
from lookalike.search.searched import SearchedGallery
from lookalike.types import Photo

SHOWN = 12
"""Images that a notebook shows of a collection."""


def photo(gallery: SearchedGallery, key: Any, place: str) -> Photo:
    """The image of a key; raises UnknownKey, which names `place`."""
    row = gallery.row(key) if isinstance(key, str) else None
    if row is None:
        raise UnknownKey(f"{key!r}: no such key in {place}; list(collection) has all of them")
    return _of_row(gallery, row)


def _of_row(gallery: SearchedGallery, row: int) -> Photo:
    item = gallery.item(row)
    return Photo(item.key, gallery.path_of(item), item.width, item.height, opener=gallery.opener(item))


def sampled(gallery: SearchedGallery, lead: str) -> str:
    """A few images from all over a gallery, for a notebook."""
    from lookalike.images import html

    photos = [_of_row(gallery, row) for row in np.sort(gallery.sample(SHOWN)).tolist()]
    return html.gallery(lead, [_card(each) for each in photos])


def _card(each: Photo) -> Card:
    return Card(each.key, each.thumbnail, f"{each.width} x {each.height}", link=address(each.path, each.key))
