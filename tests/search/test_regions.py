"""Images that count with their best part, against plain numpy on made-up vectors."""

import hashlib
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lookalike.collection import regions
from lookalike.collection.collection import Collection
from lookalike.search import searcher
from lookalike.search.regions import Sample
from lookalike.storage.regions import folder, key_of
from lookalike.storage.store import Header, Item, Store, create
from lookalike.types import Box, Vectors

DIM = 12


@dataclass(frozen=True)
class Made:
    """A collection in `path`: `whole` (n, dim), and the parts (m, dim) of each image."""

    path: Path
    whole: Vectors
    parts: list[Vectors]

    def scores(self, query: Vectors) -> Vectors:
        """The score of each image (n,), by the formula in the module's docstring; the sample is all images."""
        whole = self.whole @ query
        best = np.array([(parts @ query).max() for parts in self.parts])
        factor = max(1.0, (1 - np.median(whole)) / (1 - np.median(best)))
        return np.asarray(np.maximum(whole, 1 - (1 - best) * factor), np.float32)


def unit(rng: np.random.Generator, count: int) -> Vectors:
    rows = rng.normal(size=(count, DIM))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def box(number: int) -> Box:
    return Box(number, 0, number + 10, 10)


def sha256(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def write(store: Store, keys: Sequence[str], contents: Sequence[str], vectors: Vectors) -> None:
    with store.writing():
        items = [Item(-1, 1, key, 1, 1, content, 100, 100) for key, content in zip(keys, contents, strict=True)]
        store.add_many(items, vectors)


def make(path: Path, images: int, seed: int, most: int = 5, dtype: str = "float32") -> Made:
    rng = np.random.default_rng(seed)
    whole, parts = unit(rng, images), [unit(rng, int(rng.integers(1, most + 1))) for _ in range(images)]
    with closing(create(path, Header("made", "f", DIM, dtype))) as store:
        with store.writing():
            store.catalog.add_source("..", "")
        write(store, [f"{number:04}.jpg" for number in range(images)], [*map(sha256, range(images))], whole)
        regions.make(folder(path), store, "made")
    numbers = [(image, part) for image in range(images) for part in range(len(parts[image]))]
    keys = [key_of(sha256(image), box(part)) for image, part in numbers]
    with closing(Store(folder(path))) as store:
        write(store, keys, [sha256(image) for image, _ in numbers], np.concatenate(parts))
    return Made(path, whole, parts)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10_000), st.integers(2, 60), st.integers(1, 70))
def test_scores_and_order_are_those_of_numpy(
    tmp_path_factory: pytest.TempPathFactory, seed: int, images: int, k: int
) -> None:
    made = make(tmp_path_factory.mktemp("made") / "c", images, seed)
    query = unit(np.random.default_rng(seed + 1), 1)[0]
    expected = made.scores(query)
    with Collection(made.path) as collection:
        hits = collection.search(query, k=k)
    numbers = [int(hit.key[:4]) for hit in hits]
    assert len(set(numbers)) == min(k, images)
    # Scores that differ in the last digit alone may change places.
    assert [hit.score for hit in hits] == pytest.approx(np.sort(expected)[::-1][:k], abs=1e-5)
    assert [hit.score for hit in hits] == pytest.approx(expected[numbers], abs=1e-5)
    for hit, number in zip(hits, numbers, strict=True):
        gain = expected[number] - made.whole[number] @ query
        part = box(int(np.argmax(made.parts[number] @ query)))
        assert hit.box == (part if gain > 5e-5 else None) or 0 < gain < 5e-5


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(tmp_path_factory.mktemp("many") / "c", 600, 0, most=16)


def test_pages_are_the_list_in_parts_without_repeats(many: Made) -> None:
    query = many.parts[3][0]
    with Collection(many.path) as collection:
        whole = [hit.key for hit in collection.search(query, k=100)]
        pages = [hit.key for offset in range(0, 100, 20) for hit in collection.search(query, k=20, offset=offset)]
        assert [hit.rank for hit in collection.search(query, k=2, offset=5)] == [6, 7]
    assert pages == whole
    assert len(set(whole)) == 100


@pytest.mark.parametrize("spec", ["IVF16,Flat", "HNSW16"])
def test_an_approximate_index_of_many_rows_an_image_gives_as_many_images(
    many: Made, spec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searcher, "FEW", 100)
    query = many.parts[3][0]
    with Collection(many.path) as collection:
        exact = [hit.key for hit in collection.search(query, k=10, recall=1)]
        collection.optimize(spec)
        assert collection.info()["regions"]["index"]["spec"] == spec
        hits = collection.search(query, k=10)
        narrowed = collection.search(query, k=10, where="key >= 0300")
    assert (hits[0].key, hits[0].box) == ("0003.jpg", box(0))
    keys = [hit.key for hit in hits]
    assert len(set(keys)) == 10
    assert len(set(keys) & set(exact)) >= 8
    assert len({hit.key for hit in narrowed}) == 10
    assert min(hit.key for hit in narrowed) >= "0300"


def test_rows_behind_an_index_are_searched_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searcher, "FEW", 100)
    made = make(tmp_path / "c", 300, 1)
    new = unit(np.random.default_rng(5), 2)
    with Collection(made.path) as collection:
        collection.optimize("IVF4,Flat")
        write(collection.store, ["new.jpg"], [sha256(9999)], new[:1])
        with closing(Store(folder(made.path))) as store:
            write(store, [key_of(sha256(9999), box(7))], [sha256(9999)], new[1:])
        hit = collection.search(new[1], k=1)[0]
    assert (hit.key, hit.box) == ("new.jpg", box(7))


def test_equal_scores_are_in_the_order_of_the_rows_whatever_k_is(tmp_path: Path) -> None:
    made = make(tmp_path / "c", 30, 2, most=1)
    same = np.repeat(made.parts[0], 30, axis=0)
    with closing(Store(folder(made.path))) as store:
        with store.writing():
            store.catalog.remove(range(30))
        write(store, [key_of(sha256(number), box(1)) for number in range(30)], [*map(sha256, range(30))], same)
    with Collection(made.path) as collection:
        lists = [[hit.key for hit in collection.search(made.parts[0][0], k=k)] for k in (1, 7, 30)]
    assert lists[2] == sorted(lists[2])
    assert lists[0] == lists[2][:1]
    assert lists[1] == lists[2][:7]


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_regions_of_every_type_of_store_are_searched(tmp_path: Path, dtype: str) -> None:
    made = make(tmp_path / "c", 50, 3, dtype=dtype)
    with Collection(made.path) as collection:
        hit = collection.search(made.parts[7][0], k=1)[0]
        assert collection.info()["regions"]["dtype"] == dtype
    assert (hit.key, hit.box) == ("0007.jpg", box(0))
    assert hit.score == pytest.approx(1, abs=0.02)


def test_the_best_of_many_random_parts_does_not_count_for_more_than_a_whole_picture(many: Made) -> None:
    """Of ten random parts the best is nearer than a whole picture is; after the stretch both are as usual."""
    shares = []
    with Collection(many.path) as collection:
        for query in unit(np.random.default_rng(8), 40):
            shares.append(sum(hit.box is not None for hit in collection.search(query, k=300)) / 300)
    plain = np.mean([(many.whole @ query < best(many, query)).mean() for query in unit(np.random.default_rng(8), 40)])
    assert plain > 0.75
    assert 0.35 < np.mean(shares) < 0.65


def best(made: Made, query: Vectors) -> Vectors:
    return np.array([(parts @ query).max() for parts in made.parts], np.float32)


def test_a_sample_without_any_difference_stretches_nothing() -> None:
    one = np.eye(1, DIM, dtype=np.float32)
    assert Sample(one, one, np.array([0])).stretch(one[0]) == 1
    assert Sample(one[:0], one[:0], np.empty(0, np.int64)).stretch(one[0]) == 1
