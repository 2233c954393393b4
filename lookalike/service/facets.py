"""What filters can be about here: columns and facts with their commonest values, each as a test of a filter."""

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from lookalike.search.searched import SearchedGallery
from lookalike.storage import photo_facts
from lookalike.storage.catalog import Catalog
from lookalike.storage.photo_facts import FOLDER

MOST = 6
"""Values of a column that are listed."""
COLUMNS = 8
LARGEST = 200_000
"""Images: counting the values of more would take seconds, so none are listed."""
FEW = 2
"""Values that a column must have: one that is the same everywhere tells nothing apart."""


class Facets:
    """Counted once for each state of the collection."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counted: tuple[tuple[object, ...], list[dict[str, Any]]] | None = None

    def of(self, gallery: SearchedGallery, prefixes: Sequence[str] = ("",)) -> list[dict[str, Any]]:
        """The facets of the last committed state; the keys of each store begin with its prefix."""
        with self._lock:
            if self._counted is None or self._counted[0] != gallery.version:
                catalogs = [store.catalog for store in gallery.stores]
                self._counted = gallery.version, list(_facets(list(zip(catalogs, prefixes, strict=True))))
            return self._counted[1]


def _facets(catalogs: Sequence[tuple[Catalog, str]]) -> Iterator[dict[str, Any]]:
    if sum(catalog.count_rows() for catalog, _ in catalogs) > LARGEST:
        return
    own, facts = dict[str, Counter[Any]](), dict[str, Counter[Any]]()
    for catalog, prefix in catalogs:
        for number, name in catalog.columns()[:COLUMNS]:
            own.setdefault(name, Counter()).update(_column(catalog, number))
        for name, counter in _facts(catalog, prefix).items():
            facts.setdefault(name, Counter()).update(counter)
    for name, counter in own.items():
        if name.isidentifier() and len(counter) >= FEW:
            yield _facet(name, counter)
    for name, counter in facts.items():
        if name not in own and len(counter) >= FEW:
            yield _facet(name, counter)


def _facet(name: str, counter: Counter[Any]) -> dict[str, Any]:
    commonest = sorted(counter.items(), key=lambda pair: (-pair[1], str(pair[0])))[:MOST]
    values = [{"value": str(value), "count": count, "test": _test(name, value)} for value, count in commonest]
    return {"name": name, "values": values}


def _test(name: str, value: str | int | float) -> str:
    if not isinstance(value, str):
        return f"{name} = {value}"
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    return f"{name} = {value}" if name == "taken" else f'{name} = "{quoted}"'


def _column(catalog: Catalog, number: int) -> Counter[Any]:
    sql = (
        'SELECT value, COUNT(*) FROM meta JOIN items USING (row) WHERE removed = 0 AND "column" = ? '
        "GROUP BY value ORDER BY 2 DESC LIMIT ?"
    )
    rows = catalog.database.query(sql, (number, MOST + FEW))
    return Counter({value: count for value, count in rows if isinstance(value, str | int | float)})


def _facts(catalog: Catalog, prefix: str) -> dict[str, Counter[str]]:
    """Years, cameras, lenses, formats and top folders with their counts."""
    counters: dict[str, Counter[str]] = {name: Counter() for name in ("taken", "camera", "lens", "format")}
    for facts in photo_facts.stored(catalog):
        for name, counter in counters.items():
            if name in facts:
                counter[str(facts[name])[:4] if name == "taken" else facts[name]] += 1
    folders = Counter(folder for (key,) in catalog.database.query(KEYS) if (folder := _folder(prefix, key)))
    return {**counters, FOLDER: folders}


KEYS = "SELECT key FROM items WHERE removed = 0"


def _folder(prefix: str, key: bytes) -> str:
    return photo_facts.folder(prefix + key.decode("utf-8", "replace"))
