"""The sidecars of a source to what a collection keeps of them; nothing is read but what has changed."""

from collections.abc import Sequence

from lookalike.images.sources import SourceEntry
from lookalike.storage import sidecars
from lookalike.storage.catalog import Catalog


class Sidecars:
    """Brings what is kept of sidecars into step; the store must be open for writing."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._has_any = sidecars.has_any(catalog)

    def follow(self, keys: Sequence[str], entries: Sequence[SourceEntry]) -> int:
        """Read the new and changed ones of some images, and forget those that are gone; how many that were."""
        now = {key: entry.sidecar for key, entry in zip(keys, entries, strict=True) if entry.sidecar}
        if not now and not self._has_any:
            return 0
        before = sidecars.stamps(self._catalog, keys)
        changed = {key: each for key, each in now.items() if before.get(key) != (each.name, each.size, each.mtime_ns)}
        gone = [key for key in before if key not in now]
        sidecars.put(self._catalog, changed)
        sidecars.forget(self._catalog, gone)
        self._has_any = self._has_any or bool(changed)
        return len(changed) + len(gone)
