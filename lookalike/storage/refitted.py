"""The confidence of one collection, fitted to its user's labels: a fact of its catalog, for vectors of one fingerprint.

It lies in the table of facts, so every collection of format 2 can have it, `verify` checks it and older releases ignore
it. Where the vectors change without it, the fingerprint no longer fits, and it counts for nothing.
"""

import json
from collections.abc import Mapping
from typing import Any

from lookalike.storage.catalog import HasCatalog
from lookalike.storage.store import Store

NAME = "confidence"
Confidence = Mapping[str, Any]
"""What is stored: `model` (see `search.confidence.Model`) and `figures`, what it reached on held-out groups."""


def read(store: HasCatalog, fingerprint: str) -> Confidence | None:
    """The confidence for vectors of a fingerprint; None where there is none, or where it is damaged."""
    try:
        document = json.loads(store.catalog.facts([NAME]).get(NAME, "{}"))
        return document if document.get("fingerprint") == fingerprint else None
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None


def put(store: Store, confidence: Confidence | None) -> None:
    """Store it for the vectors of this collection in place of the former one, inside `store.writing()`."""
    store.catalog.forget_facts([NAME])
    if confidence is not None:
        document = {**confidence, "fingerprint": store.header.fingerprint}
        store.catalog.put("facts", NAME, json.dumps(document))


def carry(old: HasCatalog, new: Store) -> None:
    """Give a collection that has none the confidence of another with the same vectors, inside `new.writing()`."""
    fingerprint = new.header.fingerprint
    if read(new, fingerprint) is None and (confidence := read(old, fingerprint)) is not None:
        put(new, confidence)
