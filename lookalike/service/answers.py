"""What the library found, as it is sent."""

import time
from collections.abc import Sequence
from typing import Any

from lookalike.service.errors import ApiError
from lookalike.service.ids import shown, to_id
from lookalike.service.queries import Resolver, Search, checked_depth, needs_pixels, search_options
from lookalike.service.served import Served
from lookalike.storage.store import Item
from lookalike.types import Hit


def search(served: Served, asked: Search) -> dict[str, Any]:
    """One search from beginning to end, in a working thread; URLs have been fetched."""
    start = time.perf_counter()
    options = asked.options
    checked_depth(options, served.settings)
    query = Resolver(served, needs_pixels(options)).question(asked)
    collection = served.collection
    if (options.text or options.negative_text) and not collection.reads_text:
        # Said here, as the library's own words name the folder to be indexed.
        hint = "add vectors of an encoder that reads: lookalike index FOLDER --encoder siglip2-base"
        raise ApiError(422, "no_text", "this collection cannot be searched with words", hint)
    hits = collection.find(query, search_options(options))
    return {
        "encoder": collection.store.header.encoder,
        "k": options.k,
        "offset": options.offset,
        "took_ms": round(1000 * (time.perf_counter() - start), 3),
        "results": found(served, hits),
    }


def found(served: Served, hits: Sequence[Hit]) -> list[dict[str, Any]]:
    """Hits with the size of their pictures; one that was removed a moment ago is left out."""
    results, store = [], served.collection.store
    with store.catalog.database.snapshot():
        for hit in hits:
            item = store.catalog.live_item(hit.key)
            if item:
                size = {"width": item.width, "height": item.height}
                names = {"id": to_id(hit.key), "key": shown(hit.key)}
                results.append({"rank": hit.rank, **names, "score": round(hit.score, 6), **size})
    return results


def entry(item: Item) -> dict[str, Any]:
    """One image of the collection."""
    names = {"id": to_id(item.key), "key": shown(item.key)}
    return {**names, "bytes": item.size, "width": item.width, "height": item.height}
