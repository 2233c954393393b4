"""Which images a user took out by hand: by key, size and time, and by their content, which outlives the rows.

The table `dismissed` has the files as they were. A fact for each content has the keys that it was taken out under, so
that the file stays out when it is copied, moved, or embedded anew. A row of an older release has no such fact, but is
marked as taken out itself.
"""

import json
from collections.abc import Iterator, Sequence

from lookalike.images.remote import is_remote
from lookalike.storage.catalog import HasCatalog, Item, from_blob, to_blob
from lookalike.storage.names import fold
from lookalike.storage.origins import Origins
from lookalike.storage.rekey import KeyOf, same
from lookalike.storage.store import Store

NAME = "taken out:"
"""Before the SHA-256 of a content: the name of the fact that has its keys, as JSON."""
BY_HAND = 2
"""The value of `removed` for a row that a user took out."""


def take_out(store: Store, items: Sequence[Item]) -> None:
    """Mark items as taken out by hand, inside `store.writing()`: their files stay out until their content changes."""
    store.catalog.dismiss(items)
    for item in items:
        if item.sha256:
            _put(store, item.sha256, [*_keys(store, item.sha256), item.key])


def let_in(store: Store, key: str) -> bool:
    """Forget that a key was taken out, inside `store.writing()`; whether it was."""
    rows = store.catalog.database.query(
        "SELECT row, sha256 FROM items WHERE removed = ? AND key = ?", (BY_HAND, to_blob(key))
    )
    contents = {sha256.hex() for _, sha256 in rows} | {sha256 for sha256, keys in _facts(store) if key in keys}
    store.catalog.remove([row for row, _ in rows])
    for sha256 in contents:
        _put(store, sha256, [other for other in _keys(store, sha256) if other != key])
    return bool(store.catalog.forget_dismissed(key) or contents)


def keys_of(store: Store, contents: Sequence[str]) -> list[str]:
    """The keys that some contents were taken out under."""
    return sorted({key for keys in _marks(store, contents).values() for key in keys})


class TakenOut:
    """The marks of a collection during a run, inside `store.writing()`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._is_any = store.catalog.has_dismissed or next(_facts(store), None) is not None

    def keys(self, contents: Sequence[str]) -> dict[str, set[str]]:
        """The keys that some contents were taken out under."""
        return _marks(self._store, contents) if self._is_any else {}

    def has_moved(self, marked: str, key: str) -> bool:
        """Whether the file that was taken out as `marked` is the one of `key` now: it is not there any more.

        A name in other letters of the same may be the same name to the file system.
        """
        return fold(marked) == fold(key) or not _is_there(self._store, marked)

    def follow(self, sha256: str, marked: str, key: str, size: int, mtime_ns: int) -> None:
        """Let a mark go along with its file to another key, or to another time."""
        self._store.catalog.put("dismissed", to_blob(key), size, mtime_ns, verb="INSERT OR REPLACE")
        _clear(self._store, sha256, marked)
        _put(self._store, sha256, [*(other for other in _keys(self._store, sha256) if other != marked), key])


def carry(old: HasCatalog, new: Store, key_of: KeyOf = same) -> None:
    """Take out of `new` what was taken out of `old`, inside `new.writing()`; what is not there now is remembered."""
    for sha256, keys in _all(old):
        before = {item.key for item in old.catalog.items_of_content(sha256) if not item.removed}
        kept = {key_of(key) for key in before}
        for key in keys - before:
            live = [item for item in new.catalog.items_of_content(sha256) if not item.removed]
            moved = key_of(key) or key
            named = [item for item in live if fold(item.key) == fold(moved)]
            other = [item for item in live if item.key not in kept]
            if named or other:
                take_out(new, (named or other)[:1])
            else:
                _put(new, sha256, [*_keys(new, sha256), moved])


def remember(old: Store, new: Store, key_of: KeyOf = same) -> None:
    """As `carry`, but what is in `new` stays in it."""
    for sha256, keys in _all(old):
        _put(new, sha256, [*_keys(new, sha256), *(key_of(key) or key for key in keys)])


def _is_there(store: Store, key: str) -> bool:
    """Whether a file of this key can be seen; False where its source is away."""
    origins = Origins(store)
    sources = [entry for entry in store.catalog.sources() if key.startswith(entry[2])]
    if not sources:
        return False
    _, location, prefix = max(sources, key=lambda entry: len(entry[2]))
    place = origins.locate(location)
    return is_remote(location) or ((place if place.is_dir() else place.parent) / key.removeprefix(prefix)).is_file()


def _all(store: HasCatalog) -> Iterator[tuple[str, set[str]]]:
    rows = store.catalog.database.query(
        "SELECT DISTINCT sha256 FROM items WHERE removed = ? AND sha256 != x''", (BY_HAND,)
    )
    contents = {sha256.hex() for (sha256,) in rows} | {sha256 for sha256, _ in _facts(store)}
    for sha256 in sorted(contents):
        yield sha256, _marks(store, [sha256]).get(sha256, set())


def _marks(store: HasCatalog, contents: Sequence[str]) -> dict[str, set[str]]:
    marks: dict[str, set[str]] = {}
    for name, text in store.catalog.facts([NAME + sha256 for sha256 in contents if sha256]).items():
        marks[name.removeprefix(NAME)] = set(_listed(text))
    sql = f"SELECT sha256, key FROM items WHERE sha256 IN ({{}}) AND removed = {BY_HAND}"  # noqa: S608 - a constant
    for sha256, key in store.catalog.among(sql, [bytes.fromhex(sha256) for sha256 in contents if sha256]):
        marks.setdefault(sha256.hex(), set()).add(from_blob(key))
    return marks


def _facts(store: HasCatalog) -> Iterator[tuple[str, list[str]]]:
    for name, text in store.catalog.facts_named(NAME):
        yield name.removeprefix(NAME), _listed(text)


def _keys(store: Store, sha256: str) -> list[str]:
    return [key for text in store.catalog.facts([NAME + sha256]).values() for key in _listed(text)]


def _listed(text: object) -> list[str]:
    return [from_blob(bytes.fromhex(key)) for key in json.loads(str(text))]


def _put(store: Store, sha256: str, keys: Sequence[str]) -> None:
    """Write the fact of a content; without keys there is none."""
    if keys:
        text = json.dumps([to_blob(key).hex() for key in dict.fromkeys(keys)])
        store.catalog.put("facts", NAME + sha256, text, verb="INSERT OR REPLACE")
    else:
        store.catalog.forget_facts([NAME + sha256])


def _clear(store: Store, sha256: str, key: str) -> None:
    """Count a row that a user took out under this key as one whose file is gone."""
    sql = "SELECT row FROM items WHERE sha256 = ? AND key = ? AND removed = ?"
    rows = store.catalog.database.query(sql, (bytes.fromhex(sha256), to_blob(key), BY_HAND))
    store.catalog.remove([row for (row,) in rows])
