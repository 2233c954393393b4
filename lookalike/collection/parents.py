"""A folder to the indexed folder that it lies in: its images are in that collection already."""

import os
import re
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from lookalike.errors import CollectionError
from lookalike.images.remote import is_remote, located
from lookalike.images.sources import SYSTEM_FOLDERS
from lookalike.storage.manifest import is_collection
from lookalike.storage.store import Store

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

    What lies in a hidden folder, or in one of the system's, is not indexed with the folder around it.
    """
    place = folder.expanduser().resolve()
    if not place.is_dir() or is_collection(place) or place.name == FOLDER or is_collection(place / FOLDER):
        return None
    return next((parent for outer in place.parents if (parent := _in(place, outer))), None)


def _in(place: Path, outer: Path) -> Parent | None:
    if not is_collection(outer / FOLDER):
        return None
    try:
        with closing(Store(outer / FOLDER)) as store:
            sources = store.catalog.sources()
    except CollectionError:
        return None
    for _, location, prefix in sources:
        root = Path(os.path.realpath(located(outer / FOLDER, location)))
        if not is_remote(location) and root.is_dir() and place != root and place.is_relative_to(root):
            parts = place.relative_to(root).parts
            if not any(part.startswith(".") or part in SYSTEM_FOLDERS for part in parts):
                return Parent(outer, f"{prefix}{'/'.join(parts)}/")
    return None
