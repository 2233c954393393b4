"""Names of images as people have them at hand: the paths that `search` prints, or keys."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from lookalike.cli.output import note, printable

if TYPE_CHECKING:
    from lookalike.collection.collection import Collection
    from lookalike.collection.united import Collections


def as_key(name: str, collection: "Collection | Collections") -> str:
    """The key of an image by its key or by the path of its file; any other name as it is, for whoever refuses it."""
    gallery = collection.gallery
    if gallery.row(name) is None and (rows := gallery.rows_of_file(Path(name).expanduser())):
        return gallery.item(rows[0]).key
    return name


def known(names: Iterable[str], collection: "Collection | Collections") -> frozenset[str]:
    """The keys of images that are left out of a search; a note says which names are of no image."""
    keys = [as_key(name, collection) for name in names]
    for key in keys:
        if collection.gallery.row(key) is None:
            note(f"--exclude {printable(key)}: no such image here")
    return frozenset(keys)
