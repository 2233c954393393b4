"""What images say of themselves, by their content: kept in the catalog, tested by filters, summed up for people.

Kept as facts, so every collection of format 2 can have them, and earlier releases ignore them. What the catalog knows
of every item (its size, its folder) is not kept a second time. What a sidecar says counts more (`storage.sidecars`).
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from lookalike.images.facts import PhotoFacts
from lookalike.images.xmp import Xmp
from lookalike.storage import sidecars
from lookalike.storage.catalog import Catalog, Item, to_blob
from lookalike.storage.store import Store

PREFIX = "photo:"
"""Before the SHA-256 of a content: the name of the fact with what it says of itself, as JSON."""
OF_ITEM = {"width": "items.width", "height": "items.height", "bytes": "items.size"}
"""Facts that the catalog has of every item, and their columns."""
FOLDER = "folder"
TEXTS = ("camera", "lens", "software", "format", "label")
LISTS = ("keywords",)
"""Several texts, of which one is enough for a filter."""
NUMBERS = ("focal_length", "iso", "exposure", "latitude", "longitude", "orientation", "rating", *OF_ITEM)
FLAGS = ("has_alpha",)
DATES = ("taken",)
SAID = ("rating", "label", "keywords")
"""What a person said of a picture, which stands in its file or beside it."""
PLACES = ("latitude", "longitude")
"""Where a photo was taken: told to nobody but its owner, unless they say so."""
NAMES = (*(field.name for field in fields(PhotoFacts)), *OF_ITEM, FOLDER)
JOIN = "FROM items JOIN facts ON facts.name = 'photo:' || lower(hex(items.sha256))"
"""Items with what their content says of itself."""
JOIN_BOTH = f"FROM items LEFT {JOIN.partition('items ')[2]} LEFT JOIN {sidecars.TABLE}"
"""Items with that, and with what their sidecars say; either may be missing."""
COMMONEST = 5
"""Values of a text that are listed."""
BLOCK = 4096


def put(catalog: Catalog, known: Mapping[str, PhotoFacts]) -> None:
    """Keep the facts of some contents, by their SHA-256."""
    rows = [(PREFIX + sha256, _text(facts)) for sha256, facts in known.items() if sha256]
    catalog.put_many("facts", rows, verb="INSERT OR REPLACE")


def _text(facts: PhotoFacts) -> str:
    return json.dumps(facts.to_json(), separators=(",", ":"))


def of_contents(catalog: Catalog, contents: Sequence[str]) -> dict[str, PhotoFacts]:
    """The facts of those of some contents that were read, by their SHA-256."""
    stored = catalog.facts([PREFIX + sha256 for sha256 in contents if sha256])
    return {name.removeprefix(PREFIX): PhotoFacts.of_json(json.loads(text)) for name, text in stored.items()}


def of_item(catalog: Catalog, item: Item) -> dict[str, Any]:
    """All facts of an item that are known, by name."""
    return whole(item, of_items(catalog, [item])[0])


def of_items(catalog: Catalog, items: Sequence[Item]) -> list[PhotoFacts | None]:
    """What the file of each item says, and its sidecar; None where neither was read."""
    known = of_contents(catalog, [item.sha256 for item in items])
    beside = sidecars.of_keys(catalog, [item.key for item in items])
    return [_with_sidecar(known.get(item.sha256), beside.get(to_blob(item.key))) for item in items]


def _with_sidecar(facts: PhotoFacts | None, said: Xmp | None) -> PhotoFacts | None:
    return facts if said is None else (facts or PhotoFacts()).with_xmp(said)


def whole(item: Item, facts: PhotoFacts | None) -> dict[str, Any]:
    """What the content of an item says, with what the catalog knows; nothing where the bytes were never read."""
    if not item.sha256:
        return {}
    sizes = {"width": item.width, "height": item.height, "bytes": item.size, FOLDER: folder(item.key)}
    return (facts.to_json() if facts else {}) | sizes


def folder(key: str) -> str:
    """The folder of a key; empty for an image that lies in none."""
    return key.rpartition("/")[0]


def missing(catalog: Catalog, again: bool = False) -> list[Item]:
    """Live items whose content has no facts yet, one of each content; with `again` of all contents."""
    unread = "AND NOT EXISTS (SELECT 1 FROM facts WHERE name = 'photo:' || lower(hex(sha256)))"
    which = f"removed = 0 AND sha256 != x'' {'' if again else unread}"
    rows = catalog.database.numbers(f"SELECT MIN(row) FROM items WHERE {which} GROUP BY sha256 ORDER BY 1")  # noqa: S608 - constants
    return [catalog.item(row) for row in rows.tolist()]


def carry(old: Store, new: Store, again: bool = False) -> None:
    """Copy the facts of `old` that `new` does not have, inside `new.writing()`; with `again` all of them."""
    for name, text in old.catalog.facts_named(PREFIX):
        new.catalog.put("facts", name, text, verb="INSERT OR REPLACE" if again else "INSERT OR IGNORE")


def prune(store: Store) -> None:
    """Delete the facts of contents that no row has, inside `store.writing()`."""
    names = [name for name, _ in store.catalog.facts_named(PREFIX)]
    contents = [bytes.fromhex(name.removeprefix(PREFIX)) for name in names]
    there = store.catalog.among("SELECT DISTINCT sha256 FROM items WHERE sha256 IN ({}) AND sha256 != x''", contents)
    kept = {PREFIX + sha256.hex() for (sha256,) in there}
    store.catalog.forget_facts([name for name in names if name not in kept])
    sidecars.prune(store)


def has_any(catalog: Catalog) -> bool:
    """Whether any image's facts were read."""
    sql = "SELECT 1 FROM facts WHERE name > 'photo:' AND name < 'photo;' LIMIT 1"
    return bool(catalog.database.query(sql)) or sidecars.has_any(catalog)


def told(catalog: Catalog) -> set[str]:
    """The names of facts that images may have here: what a person said only where there is some of it."""
    sql = "SELECT 1 FROM facts WHERE name > ? AND name < ? AND json_extract(value, ?) IS NOT NULL LIMIT 1"
    ranges = (("photo:", "photo;"), ("sidecar:", "sidecar;"))
    unsaid = {name for name in SAID if not any(catalog.database.query(sql, (*ends, f"$.{name}")) for ends in ranges)}
    return set(NAMES) - unsaid


def summary(catalog: Catalog) -> dict[str, Any]:
    """How many live images have facts, ranges of dates and numbers, and the commonest texts with their counts."""
    count, ranges = 0, dict[str, list[Any]]()
    texts = {name: Counter[str]() for name in (*TEXTS, *LISTS)}
    numbers = [*DATES, *(name for name in NUMBERS if name not in OF_ITEM)]
    # SQLite would parse each text anew for every number of it.
    for facts in stored(catalog):
        count += 1
        for name in numbers:
            if (number := facts.get(name)) is not None:
                least, most = ranges.setdefault(name, [number, number])
                ranges[name] = [min(least, number), max(most, number)]
        for name, counter in texts.items():
            if name in facts:
                counter.update(facts[name] if name in LISTS else [facts[name]])
    if not count:
        return {}
    bounds = {name: ranges[name] for name in numbers if name in ranges}
    counted = {name: _commonest(counter) for name, counter in texts.items() if counter or name not in SAID}
    return {"images": count, **bounds, **counted}


def stored(catalog: Catalog) -> Iterator[dict[str, Any]]:
    """The facts of every live image that has any, read block by block."""
    columns, tables = (
        ("facts.value, sidecars.value", JOIN_BOTH) if sidecars.has_any(catalog) else ("facts.value, NULL", JOIN)
    )
    sql = f"SELECT {columns} {tables} WHERE items.removed = 0 AND items.row >= ? AND items.row < ?"
    for start in range(0, catalog.count_rows(), BLOCK):
        for text, beside in catalog.database.query(sql, (start, start + BLOCK)):
            if text is not None or beside is not None:
                yield (json.loads(text) if text else {}) | (sidecars.said(beside) if beside else {})


def _commonest(counter: Counter[str]) -> dict[str, int]:
    return dict(sorted(counter.items(), key=lambda pair: (-pair[1], pair[0]))[:COMMONEST])


def value(name: str) -> str:
    """A fact in SQL, where items are joined with their facts."""
    own = OF_ITEM.get(name) or f"json_extract(facts.value, '$.{name}')"
    return f"coalesce(json_extract(sidecars.value, '$.{name}'), {own})" if name in SAID else own


def joined(name: str) -> str:
    """The tables that `value` needs, in SQL."""
    return JOIN_BOTH if name in SAID else JOIN
