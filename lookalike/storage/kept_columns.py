"""The columns of images whose rows are gone: an image that comes back, by its content or its key, has them again.

A removed row still has its values. Where the row is dropped too (`compact`, a rebuild, `merge`), they are kept as
facts: one for the content, one for the key.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from typing import Any

from lookalike.storage.catalog import HasCatalog, Item, from_blob, to_blob
from lookalike.storage.metadata import BLOCK, COMMIT_EVERY, columns_in, put_row
from lookalike.storage.names import fold
from lookalike.storage.rekey import KeyOf, same
from lookalike.storage.store import Store

BY_CONTENT, BY_KEY = "columns of:", "columns at:"
"""Before the SHA-256 of a content, or a key in hexadecimal digits: the name of the fact with the values, as JSON."""
Values = Mapping[str, Any]
HAS_VALUES = "EXISTS (SELECT 1 FROM meta WHERE meta.row = items.row)"


class Returning:
    """What gives images that come back their columns during a run, inside `store.writing()`."""

    def __init__(self, store: Store) -> None:
        self._store, self._catalog, self._first = store, store.catalog, store.count()
        self._has_columns, self._is_listed = bool(self._catalog.columns()), False

    def give(self, items: Sequence[Item]) -> None:
        """Give new items what the last image of their content, or else of their key, had."""
        if not items or not self._has_columns:
            return
        if not self._is_listed:
            _list_removed(self._store)
            self._is_listed = True
        donors = self._donors(items)
        for item in items:
            if item.row in donors:
                self._catalog.inherit({donors[item.row]: item.row})
        self._give_facts([item for item in items if item.row not in donors])

    def _donors(self, items: Sequence[Item]) -> dict[int, int]:
        """Rows of items to removed rows with values: of the same content, those of the same key first; else the key."""
        keys = dict(self._catalog.among(*_of_keys(items)))
        contents: dict[bytes, dict[bytes, int]] = {}
        for row, key, sha256 in self._catalog.among(*_of_contents([item.sha256 for item in items], "removed > 0")):
            contents.setdefault(sha256, {})[key] = row
        donors: dict[int, int | None] = {}
        for item in items:
            key, rows = to_blob(item.key), contents.get(bytes.fromhex(item.sha256), {})
            donors[item.row] = rows.get(key, max(rows.values())) if rows else keys.get(key)
        return {row: donor for row, donor in donors.items() if donor is not None}

    def _give_facts(self, items: Sequence[Item]) -> None:
        facts = self._catalog.facts([name for item in items for name in _names(item.sha256, item.key)])
        for item in items:
            names = [name for name in _names(item.sha256, item.key) if name in facts]
            if names:
                put_row(self._store, item.row, _read(facts[names[0]]))
        # From now on the row has them, and what is changed there holds.
        self._catalog.forget_facts(list(facts))

    def pass_on(self, gone: Sequence[int]) -> None:
        """Give the values of rows that this run removed to what it added of the same content: their new names.

        Where names differ in case alone, to some file systems the old one is still there until the end of the run.
        """
        if not gone or not self._has_columns:
            return
        sql = f"SELECT row, key, sha256 FROM items WHERE row IN ({{}}) AND {HAS_VALUES}"  # noqa: S608 - constants
        donors = self._catalog.among(sql, gone)
        heirs: dict[bytes, list[tuple[int, bytes]]] = {}
        contents = [sha256.hex() for _, _, sha256 in donors]
        for row, key, sha256 in self._catalog.among(*_of_contents(contents, "removed = 0", "NOT")):
            heirs.setdefault(sha256, []).append((row, key))
        for row, key, sha256 in donors:
            among = heirs.get(sha256, [])
            heir = next((pair for pair in among if pair[0] >= self._first or _is_spelled_like(pair[1], key)), None)
            if heir:
                among.remove(heir)
                self._catalog.inherit({row: heir[0]})


def clear(store: Store) -> None:
    """Delete all facts about columns, before `keep` writes newer ones."""
    for prefix in (BY_CONTENT, BY_KEY):
        store.catalog.forget_facts([name for name, _ in store.catalog.facts_named(prefix)])


def keep(old: Store, new: Store, key_of: KeyOf = same) -> None:
    """Keep as facts of `new` the values of rows that `old` removed, and its facts, inside `new.writing()`."""
    for number, given in enumerate(_removed_rows(old), 1):
        _remember(new, given, key_of)
        _commit_sometimes(new, number)


def carry(old: HasCatalog, new: Store, key_of: KeyOf = same) -> None:
    """Copy the values of `old` to the images of `new`, by key and else by content, inside `new.writing()`.

    What no image of `new` has is kept as facts.
    """
    columns_in(new, old)
    for number, given in enumerate(chain(_rows(old, "removed = 0"), _removed_rows(old)), 1):
        heir = _heir(old, new, given, key_of)
        if heir is None:
            _remember(new, given, key_of)
        else:
            put_row(new, heir, given.values)
        _commit_sometimes(new, number)


@dataclass(frozen=True)
class _Given:
    """The values of an image, and what it is recognised by: content, key, or only one of them."""

    sha256: str
    key: str | None
    values: Values
    is_live: bool = False


def _heir(old: HasCatalog, new: Store, given: _Given, key_of: KeyOf) -> int | None:
    """The row of `new` that gets the values: of the key; else one without values that was not live in `old`."""
    key = key_of(given.key) if given.key is not None else None
    item = new.catalog.live_item(key) if key is not None else None
    if item and given.is_live:
        return item.row
    live = {key_of(other.key) for other in old.catalog.items_of_content(given.sha256) if not other.removed}
    others = [other for other in new.catalog.items_of_content(given.sha256) if not other.removed]
    is_free = given.key is not None and old.catalog.live_item(given.key) is None
    candidates = [*([item] if item and is_free else []), *(other for other in others if other.key not in live)]
    return next((other.row for other in candidates if not new.catalog.values_between(other.row, other.row)), None)


def _removed_rows(store: HasCatalog) -> Iterator[_Given]:
    """What removed rows and facts say, the facts last, which are older."""
    yield from _rows(store, "removed > 0")
    for name, text in store.catalog.facts_named(BY_CONTENT):
        yield _Given(name.removeprefix(BY_CONTENT), None, _read(text))
    for name, text in store.catalog.facts_named(BY_KEY):
        yield _Given("", from_blob(bytes.fromhex(name.removeprefix(BY_KEY))), _read(text))


def _rows(store: HasCatalog, which: str) -> Iterator[_Given]:
    """Rows with values, the last first, since those are newer."""
    names = dict(store.catalog.columns())
    sql = (
        'SELECT row, key, sha256, "column", value FROM meta JOIN items USING (row) '  # noqa: S608 - constants
        f"WHERE {which} AND meta.row >= ? AND meta.row < ? ORDER BY row DESC"
    )
    for start in range(store.catalog.count_rows() // BLOCK * BLOCK, -1, -BLOCK) if names else ():
        rows = store.catalog.database.query(sql, (start, start + BLOCK))
        for (_, key, sha256), values in groupby(rows, lambda entry: entry[:3]):
            given = {names[entry[3]]: entry[4] for entry in values if entry[3] in names}
            yield _Given(sha256.hex(), from_blob(key), given, which == "removed = 0")


def _remember(new: Store, given: _Given, key_of: KeyOf) -> None:
    """Keep values as facts, unless newer ones are kept already."""
    text = json.dumps({name: _jsoned(value) for name, value in given.values.items()})
    key = key_of(given.key) if given.key is not None else None
    for name in _names(given.sha256, key):
        new.catalog.put("facts", name, text, verb="INSERT OR IGNORE")


def _names(sha256: str, key: str | None) -> list[str]:
    by_content = [BY_CONTENT + sha256] if sha256 else []
    return by_content + ([] if key is None else [BY_KEY + to_blob(key).hex()])


def _jsoned(value: Any) -> Any:
    return {"hex": value.hex()} if isinstance(value, bytes) else value


def _read(text: object) -> Values:
    values = json.loads(str(text))
    return {name: bytes.fromhex(value["hex"]) if isinstance(value, dict) else value for name, value in values.items()}


def _list_removed(store: Store) -> None:
    """A temporary table of the keys of removed rows with values, which have no index: the last row of each."""
    store.catalog.database.execute("DROP TABLE IF EXISTS temp.removed_values")
    store.catalog.database.execute(
        "CREATE TEMP TABLE removed_values AS SELECT key, MAX(row) AS row FROM items "  # noqa: S608 - constants
        f"WHERE removed > 0 AND {HAS_VALUES} GROUP BY key"
    )
    store.catalog.database.execute("CREATE INDEX temp.removed_keys ON removed_values (key)")


def _of_keys(items: Sequence[Item]) -> tuple[str, list[bytes]]:
    return "SELECT key, row FROM temp.removed_values WHERE key IN ({})", [to_blob(item.key) for item in items]


def _of_contents(contents: Sequence[str], which: str, negated: str = "") -> tuple[str, list[bytes]]:
    """A query for (row, key, sha256) of rows of some contents with values, or without."""
    sql = (
        f"SELECT row, key, sha256 FROM items WHERE sha256 IN ({{}}) AND {which} AND {negated} {HAS_VALUES} ORDER BY row"  # noqa: S608 - constants
    )
    return sql, [bytes.fromhex(sha256) for sha256 in contents if sha256]


def _is_spelled_like(key: bytes, other: bytes) -> bool:
    folded = fold(from_blob(key))
    return folded == fold(from_blob(other))


def _commit_sometimes(new: Store, number: int) -> None:
    if number % (BLOCK * COMMIT_EVERY) == 0:
        new.commit()
