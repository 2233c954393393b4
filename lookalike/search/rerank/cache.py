"""Local features of the candidates: from the gallery's cache, or computed in parallel and stored there."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

from lookalike.errors import ImageError
from lookalike.storage.features import FeatureCache
from lookalike.types import Gallery, Ids


class Feature(Protocol):
    """A feature that can be stored."""

    def to_bytes(self) -> bytes:
        """Everything needed to make it again."""
        ...


FeatureT = TypeVar("FeatureT", bound=Feature)


def remembered(
    ids: Ids,
    gallery: Gallery,
    settings: str,
    pool: ThreadPoolExecutor,
    make: Callable[[int], FeatureT],
    read: Callable[[bytes], FeatureT | None],
) -> dict[int, FeatureT]:
    """`make(row)` for each of `ids`, from the gallery's cache where it is there; unreadable pictures are left out.

    `settings` is part of the cache key. `read` is the inverse of `to_bytes`, None for damaged bytes.
    """
    features: dict[int, FeatureT] = {}
    rows, keys, cache = ids.tolist(), {}, None
    if gallery.cache_dir is not None:
        cache = FeatureCache(gallery.cache_dir)
        keys = {row: bytes.fromhex(gallery.content(row)) + settings.encode() for row in rows}
        stored = cache.get(keys.values())
        unpacked = {row: read(stored[key]) for row, key in keys.items() if key in stored}
        features = {row: feature for row, feature in unpacked.items() if feature is not None}
    missing = [row for row in rows if row not in features]
    computed = zip(missing, pool.map(_or_none(make), missing), strict=True)
    fresh = {row: feature for row, feature in computed if feature is not None}
    if cache and fresh:
        cache.put({keys[row]: feature.to_bytes() for row, feature in fresh.items()})
    return features | fresh


def _or_none(make: Callable[[int], FeatureT]) -> Callable[[int], FeatureT | None]:
    def feature(row: int) -> FeatureT | None:
        try:
            return make(row)
        except ImageError:
            return None

    return feature
