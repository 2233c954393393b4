"""Keys of one collection to those of another that has the same sources under other prefixes."""

import os
from collections.abc import Callable

from lookalike.images.remote import located
from lookalike.storage.catalog import HasCatalog

KeyOf = Callable[[str], str | None]
"""The key that an image has in the other collection; None where that does not have its source."""


def rekeyed(old: HasCatalog, new: HasCatalog) -> KeyOf:
    """From `old` to `new`. A key whose source is not recorded is of the source with the longest prefix of it."""
    places = {_place(new, location): prefix for _, location, prefix in new.catalog.sources()}
    pairs = [(prefix, places.get(_place(old, location))) for _, location, prefix in old.catalog.sources()]
    pairs.sort(key=lambda pair: len(pair[0]), reverse=True)

    def key_of(key: str) -> str | None:
        before, after = next((pair for pair in pairs if key.startswith(pair[0])), ("", None))
        return None if after is None else after + key.removeprefix(before)

    return key_of


def same(key: str) -> str:
    """Of collections whose keys are the same."""
    return key


def _place(store: HasCatalog, location: str) -> str:
    return os.path.realpath(located(store.path, location))
