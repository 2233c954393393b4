"""What the files beside images say of them, by key: kept as facts, with what tells whether such a file has changed.

By key, since a sidecar is of a file and not of its content: of two copies, each may have its own.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from lookalike.images.sidecars import Sidecar
from lookalike.images.xmp import Xmp
from lookalike.storage.catalog import Catalog, from_blob, to_blob
from lookalike.storage.rekey import KeyOf
from lookalike.storage.store import Store

PREFIX = "sidecar:"
"""Before a key in hexadecimal digits: the name of the fact with what its sidecar says, as JSON."""
TABLE = "facts AS sidecars ON sidecars.name = 'sidecar:' || lower(hex(items.key))"
Stamp = tuple[str, int, int]
"""The name, size and time of a sidecar."""


def _name(key: bytes) -> str:
    return PREFIX + key.hex()


def _documents(catalog: Catalog, keys: Sequence[str]) -> dict[bytes, dict[str, Any]]:
    stored = catalog.facts([_name(to_blob(key)) for key in keys])
    return {bytes.fromhex(name.removeprefix(PREFIX)): json.loads(text) for name, text in stored.items()}


def stamps(catalog: Catalog, keys: Sequence[str]) -> dict[str, Stamp]:
    """What the sidecars of some keys were when they were read."""
    documents = _documents(catalog, keys)
    return {from_blob(key): (each["file"], each["size"], each["mtime"]) for key, each in documents.items()}


def of_keys(catalog: Catalog, keys: Sequence[str]) -> dict[bytes, Xmp]:
    """What the sidecars of some keys say."""
    return {key: _xmp(document) for key, document in _documents(catalog, keys).items()}


def said(text: str) -> dict[str, Any]:
    """What a stored sidecar says, by name."""
    document: dict[str, Any] = json.loads(text)
    return {name: document[name] for name in ("rating", "label", "keywords") if name in document}


def _xmp(document: Mapping[str, Any]) -> Xmp:
    return Xmp(document.get("rating"), document.get("label"), tuple(document.get("keywords", ())))


def put(catalog: Catalog, found: Mapping[str, Sidecar]) -> None:
    """Keep what sidecars say, by the keys of their images."""
    rows = [(_name(to_blob(key)), _text(sidecar)) for key, sidecar in found.items()]
    catalog.put_many("facts", rows, verb="INSERT OR REPLACE")


def _text(sidecar: Sidecar) -> str:
    content = sidecar.content()
    document: dict[str, Any] = {"file": sidecar.name, "size": sidecar.size, "mtime": sidecar.mtime_ns}
    values = {"rating": content.rating, "label": content.label, "keywords": list(content.keywords) or None}
    document |= {name: value for name, value in values.items() if value is not None}
    return json.dumps(document, separators=(",", ":"))


def forget(catalog: Catalog, keys: Sequence[str]) -> None:
    """Forget the sidecars of some keys, which are gone."""
    catalog.forget_facts([_name(to_blob(key)) for key in keys])


def has_any(catalog: Catalog) -> bool:
    """Whether any image has one."""
    return bool(catalog.database.query("SELECT 1 FROM facts WHERE name > 'sidecar:' AND name < 'sidecar;' LIMIT 1"))


def carry(old: Store, new: Store, key_of: KeyOf) -> None:
    """Copy those that `new` does not have, under the keys that images have there, inside `new.writing()`."""
    for name, text in old.catalog.facts_named(PREFIX):
        key = key_of(from_blob(bytes.fromhex(name.removeprefix(PREFIX))))
        if key is not None:
            new.catalog.put("facts", _name(to_blob(key)), text, verb="INSERT OR IGNORE")


def prune(store: Store) -> None:
    """Delete those of keys that no live row has, inside `store.writing()`."""
    keys = [bytes.fromhex(name.removeprefix(PREFIX)) for name, _ in store.catalog.facts_named(PREFIX)]
    there = store.catalog.among("SELECT key FROM items WHERE key IN ({}) AND removed = 0", keys)
    live = {key for (key,) in there}
    store.catalog.forget_facts([_name(key) for key in keys if key not in live])
