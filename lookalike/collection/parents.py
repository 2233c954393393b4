"""A folder to the indexed folder that it lies in: its images are in that collection already."""

import os
import re
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from lookalike.errors import CollectionError
from lookalike.images.remote import is_remote, located
from lookalike.images.sources import Folder
from lookalike.storage.catalog import Catalog
from lookalike.storage.manifest import is_collection

FOLDER = ".lookalike"
"""The name of a collection beside its photos."""


@dataclass(frozen=True)
class Parent:
    """The indexed folder that another lies in, and what the keys of that one begin with."""

    folder: Path
    prefix: str

    @property
    def where(self) -> str:
        """A filter for the images of the inner folder, whatever its name consists of."""
        pattern = re.sub(r"([*?\[])", r"[\1]", self.prefix)
        return 'key:"' + re.sub(r'(["\\])', r"\\\1", pattern) + '*"'


def parent_of(folder: Path) -> Parent | None:
    """The nearest indexed folder that `folder` lies in; None where there is none, or it has a collection of its own.

    It may lie there by a link. What is in a hidden or ignored folder is not indexed with the others.
    """
    folder = folder.expanduser()
    if not folder.is_dir() or is_collection(folder) or folder.name == FOLDER or is_collection(folder / FOLDER):
        return None
    # Not `absolute`, which keeps `..`; and not `resolve` alone, which follows links.
    places = dict.fromkeys((Path(os.path.abspath(folder)), folder.resolve()))  # noqa: PTH100
    candidates = ((place, outer) for place in places for outer in place.parents if is_collection(outer / FOLDER))
    return next((parent for place, outer in candidates if (parent := _in(place, outer))), None)


def _in(place: Path, outer: Path) -> Parent | None:
    try:
        with closing(Catalog(outer / FOLDER)) as catalog:
            sources = [(*source[1:], catalog.ignored(source[0])) for source in catalog.sources()]
    except CollectionError:
        return None
    for location, prefix, ignored in sources:
        root = Path(located(outer / FOLDER, location))
        roots = [] if is_remote(location) else [base for base in (root, root.resolve()) if place.is_relative_to(base)]
        if roots and root.is_dir() and place != roots[0]:
            inner = f"{place.relative_to(roots[0]).as_posix()}/"
            if Folder(root, ignored).looks_into(inner):
                return Parent(outer, prefix + inner)
    return None
