"""Results of the library as JSON."""

import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from lookalike.collection.collection import Collection
from lookalike.search.rerank import points
from lookalike.service.errors import ApiError
from lookalike.service.ids import key_text, to_id
from lookalike.service.queries import (
    Resolver,
    Search,
    checked_depth,
    checked_total,
    needs_pixels,
    refuse_places,
    search_options,
    shows_points,
)
from lookalike.service.served import Served
from lookalike.service.subject import Searched
from lookalike.storage import photo_facts
from lookalike.storage.store import Item
from lookalike.types import Hit


def search(served: Served, requested: Search) -> dict[str, Any]:
    """One whole search, in a worker thread; its URLs have been fetched before."""
    start = time.perf_counter()
    options = requested.options
    checked_depth(options, served.settings)
    checked_total([options], served.settings)
    refuse_places(options, served)
    query = Resolver(served, needs_pixels(options)).question(requested)
    collection = served.collection
    if (options.text or options.negative_text) and not collection.reads_text:
        # Not left to the library, whose message names a folder of this machine.
        hint = "add vectors of an encoder that reads: lookalike index FOLDER --encoder siglip2-base"
        raise ApiError(422, "no_text", "this collection cannot be searched with words", hint)
    if options.regions and not collection.has_regions:
        hint = "add them: lookalike index FOLDER --regions"
        raise ApiError(422, "no_regions", "this collection has no regions of its vectors", hint)
    with points.noted() as inliers:
        hits = collection.find(query, search_options(options))
    return {
        "encoder": encoder_names(collection),
        "k": options.k,
        "offset": options.offset,
        "took_ms": round(1000 * (time.perf_counter() - start), 3),
        "found": hits.found,
        "results": as_results(served, hits, inliers if shows_points(options) else {}),
        "damaged": list(map(key_text, collection.damaged)),
        **together(collection),
    }


def encoder_names(collection: Searched) -> str:
    """The encoder, or those of several collections, as the command line names them."""
    return " and ".join(dict.fromkeys(store.header.encoder for store in collection.gallery.stores))


def together(collection: Searched) -> dict[str, Any]:
    """What there is to say of an answer of several collections; nothing of one."""
    if isinstance(collection, Collection):
        return {}
    away = [{"name": name, "reason": reason} for name, reason in collection.away.items()]
    return {"mixes_encoders": collection.mixes_encoders, "away": away}


def as_results(
    served: Served, hits: Sequence[Hit], inliers: Mapping[str, int] = MappingProxyType({})
) -> list[dict[str, Any]]:
    """Hits with the sizes of their images and, by content, their inliers; one that was removed since is left out."""
    results = []
    with served.subject.lookup() as find:
        for hit in hits:
            item = find(hit.key)
            if item:
                size = {"width": item.width, "height": item.height}
                names = {"id": to_id(hit.key), "key": key_text(hit.key)}
                confidence = None if hit.confidence is None else round(hit.confidence, 4)
                scores = {"score": round(hit.score, 6), "confidence": confidence, "inliers": inliers.get(item.sha256)}
                results.append({"rank": hit.rank, **names, **scores, "box": hit.box and hit.box.corners(), **size})
    return results


def described(served: Served, item: Item) -> dict[str, Any]:
    """One image with what its file says of itself; without its place, unless the service may tell that."""
    facts = served.subject.details(item)
    hidden = () if served.settings.show_places else photo_facts.PLACES
    return entry(item) | {"facts": {name: value for name, value in facts.items() if name not in hidden}}


def entry(item: Item) -> dict[str, Any]:
    """One image of the collection."""
    names = {"id": to_id(item.key), "key": key_text(item.key)}
    return {**names, "bytes": item.size, "width": item.width, "height": item.height}
