"""Collections of made-up vectors: clustered as pictures are, and there in a moment."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from lookalike.encoders.whitening import Whitening
from lookalike.storage.maintenance import build_index as optimizing
from lookalike.storage.maintenance import compact as compacting
from lookalike.storage.maintenance import whiten as whitening
from lookalike.storage.manifest import Header
from lookalike.storage.metadata import Line, put_row
from lookalike.storage.store import Item, Store, create
from lookalike.types import Progress, Vectors

FINGERPRINT = "f" * 64


def clustered(count: int, dim: int = 32, seed: int = 0, centres: int = 64) -> Vectors:
    """Unit rows around some centres, in no order."""
    rng = np.random.default_rng(seed)
    middle = rng.standard_normal((centres, dim)).astype(np.float32)
    rows = middle[rng.integers(0, centres, count)] + 0.7 * rng.standard_normal((count, dim)).astype(np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def put_values(store: Store, key: str, values: Line) -> None:
    """Columns of the image of this key, inside `store.writing()`."""
    item = store.catalog.live_item(key)
    assert item is not None
    put_row(store, item.row, values)


def items(keys: Sequence[str], source: int = 1) -> list[Item]:
    return [Item(-1, source, key, 10, 20, f"{abs(hash(key)):064x}", 3, 2) for key in keys]


def make(
    path: Path, vectors: Vectors, dtype: str = "float32", keys: Sequence[str] | None = None, encoder: str = "thumb"
) -> Store:
    """A collection whose images lie, as far as it knows, in the folder beside it."""
    store = create(path, Header(encoder, FINGERPRINT, vectors.shape[1], dtype))
    names = keys or [f"{number % 10}/{number:06}.jpg" for number in range(len(vectors))]
    with store.writing():
        store.catalog.add_source("..", "")
        store.add_many(items(names), vectors, new_keys=True)
    return store


def planted(path: Path, noise: bool = False, dtype: str = "float32", encoder: str = "thumb") -> Store:
    """Twelve things in folders, four times each: eight numbers say which, eight larger ones vary among the four."""
    random = np.random.default_rng(0)
    groups = np.arange(48) // 4
    things = random.standard_normal((12, 8))[groups] + 0.3 * random.standard_normal((48, 8))
    rows = np.hstack([0 * things if noise else things, 2 * random.standard_normal((48, 8))])
    vectors = np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)
    keys = [f"{group}/{number}.jpg" for number, group in enumerate(groups.tolist())]
    return make(path, vectors, dtype, keys, encoder)


def labelled(path: Path, varying: float = 0.0, noise: bool = False, seed: int = 0) -> Store:
    """24 things in folders, six times each, and 1,500 images in none; `varying` is as of `things`."""
    vectors = things(24, seed, varying, noise)
    others = things(1500, seed + 1, varying, noise=True, times=1)
    keys = [f"{number // 6}/{number}.jpg" for number in range(144)] + [f"{number}.jpg" for number in range(1500)]
    return make(path, np.vstack([vectors, others]), keys=keys)


def things(count: int, seed: int, varying: float = 0.0, noise: bool = False, times: int = 6) -> Vectors:
    """Unit rows of some things, `times` each: sixteen numbers say which, but not of noise, and vary a little.

    Eight further numbers, which vary so much, have nothing to do with what is shown.
    """
    random = np.random.default_rng(seed)
    centres = random.standard_normal((count, 16)).repeat(times, axis=0)
    shown = random.standard_normal(centres.shape) if noise else centres + 0.3 * random.standard_normal(centres.shape)
    rows = np.hstack([shown, varying * random.standard_normal((len(shown), 8))])
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def optimize(path: Path, spec: str = "auto", progress: Progress | None = None) -> optimizing.IndexBuild:
    """As another process would do it, with a store of its own."""
    with closing(Store(path)) as store:
        return optimizing.optimize(store, spec, progress)


def compact(path: Path, dtype: str | None = None) -> compacting.Compaction:
    """Likewise."""
    with closing(Store(path)) as store:
        return compacting.compact(store, dtype)


def whiten(path: Path, dim: int | None = None, power: float = 1.0, source: Path | None = None) -> Whitening:
    """Likewise."""
    with closing(Store(path)) as store:
        return whitening.whiten(store, dim, power, source=source)


def cosines(queries: Vectors, vectors: Vectors, k: int, live: np.ndarray | None = None) -> np.ndarray:
    """The ids of the true nearest."""
    scores = queries @ vectors.T
    if live is not None:
        scores[:, ~live] = -2
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]
