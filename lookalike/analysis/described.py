"""Contents of a collection to what finds their copies, whatever the encoder: computed once, kept in its cache."""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

from lookalike.analysis.local_features import SIDE, LocalFeatures, describe
from lookalike.encoders.thumb import Thumbnail
from lookalike.errors import ImageError
from lookalike.images.decode import decode, prepare
from lookalike.storage.features import FeatureCache
from lookalike.types import Progress, Vectors
from lookalike.utils.cores import cores

T = TypeVar("T")
CACHE, BUDGET = "copies.sqlite", 16 * 1024**3
"""Bytes: a million pictures with their local features."""
BLOCK = 256


@dataclass(frozen=True)
class Description(Generic[T]):
    """A kind of feature: its name, made of a picture's bytes, and as bytes and back (None where they are damaged)."""

    name: str
    make: Callable[[bytes], T]
    to_bytes: Callable[[T], bytes]
    from_bytes: Callable[[bytes], T | None]


def _thumbnail(data: bytes) -> Vectors:
    encoder = Thumbnail()
    return np.asarray(encoder.encode_batch([prepare(encoder, decode(data, size=encoder.decode_size))])[0], np.float32)


def _vector(data: bytes) -> Vectors | None:
    if len(data) != 4 * Thumbnail().dim:
        return None
    vector = np.frombuffer(data, np.float32)
    # The cache may be of a folder that somebody handed over.
    return vector if abs(float(vector @ vector) - 1) < 1e-3 else None


THUMBNAIL = Description[Vectors](
    f"thumbnail-{Thumbnail().fingerprint[:12]}", _thumbnail, lambda vector: vector.tobytes(), _vector
)
LOCAL = Description[LocalFeatures](
    "local-1", lambda data: describe(decode(data, size=SIDE).image), LocalFeatures.to_bytes, LocalFeatures.from_bytes
)


def described(
    kind: Description[T],
    digests: Sequence[str],
    read: Callable[[int], bytes],
    folder: Path,
    progress: Progress | None = None,
) -> list[T | None]:
    """The feature of each content, from the cache in `folder` or from `read(position)`; None where it has none.

    What is computed is stored block by block, so an interrupted run goes on where it was.
    """
    import cv2

    cache = FeatureCache(folder, BUDGET, CACHE)
    features: list[T | None] = []
    block: list[T | None]
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # Pictures are described in parallel; threads inside each would only wait for one another.
    try:
        with ThreadPoolExecutor(cores(), thread_name_prefix="lookalike-describe") as pool:
            for start in range(0, len(digests), BLOCK):
                block = _block(kind, digests[start : start + BLOCK], start, read, cache, pool)
                features += block
                if progress:
                    progress(len(features), len(digests))
    finally:
        cv2.setNumThreads(threads)
    return features


def _block(
    kind: Description[T],
    digests: Sequence[str],
    start: int,
    read: Callable[[int], bytes],
    cache: FeatureCache,
    pool: ThreadPoolExecutor,
) -> list[T | None]:
    keys = [f"{kind.name}:{digest}".encode() for digest in digests]
    stored = {key: kind.from_bytes(data) for key, data in cache.get(keys).items()}
    missing = [offset for offset, key in enumerate(keys) if stored.get(key) is None]
    made = dict(zip(missing, pool.map(lambda offset: _made(kind, read, start + offset), missing), strict=True))
    fresh = {keys[offset]: kind.to_bytes(feature) for offset, feature in made.items() if feature is not None}
    if fresh:
        cache.put({key: data for key, data in fresh.items() if digests[keys.index(key)]})
    return [made[offset] if offset in made else stored[key] for offset, key in enumerate(keys)]


def _made(kind: Description[T], read: Callable[[int], bytes], position: int) -> T | None:
    try:
        return kind.make(read(position))
    except ImageError as error:
        logging.getLogger(__name__).debug("%d: %s", position, error)
        return None
