"""Arguments as people write them: what is meant is understood, what is wrong is told in Python's words."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lookalike.collection.collection import Collection
from lookalike.collection.united import Collections
from lookalike.errors import QueryError, UnknownKey
from lookalike.search import options, query
from lookalike.types import Box
from tests.support.pictures import PixelEncoder, picture

SearchOptions: Any = options.SearchOptions
Query: Any = query.Query
"""Called as people do who have not read the types."""


@pytest.fixture
def collection(photos: Path, encoder: PixelEncoder) -> Collection:
    new = Collection(photos / ".lookalike", encoder, [photos])
    new.index(progress=False)
    return new


def test_four_numbers_are_a_box_at_every_door(collection: Collection) -> None:
    box = Box(8, 4, 40, 36)
    assert collection.search("01.jpg", box=(8, 4, 40, 36)) == collection.search("01.jpg", box=box)
    assert collection.search("01.jpg", box=[8.0, 4.0, 40.0, 36.0]) == collection.search("01.jpg", box=box)
    assert Query("01.jpg", box=[8, 4, 40, 36]).box == box
    assert collection.picture("01.jpg", (8, 4, 40, 36)).size == (32, 32)
    assert collection.explain("01.jpg", "02.jpg", (8, 4, 40, 36)).text()


def test_one_item_stands_for_a_list_of_one(collection: Collection) -> None:
    plain = collection.search("01.jpg", rerank=["alpha-qe,k=2"], invariant=["flip"], negatives=["02.jpg"])
    assert collection.search("01.jpg", rerank="alpha-qe,k=2", invariant="flip", negatives="02.jpg") == plain
    assert "02.jpg" not in [hit.key for hit in collection.search("01.jpg", 12, exclude="02.jpg")]
    assert SearchOptions(rerank="spatial") == SearchOptions(rerank=("spatial",))
    assert SearchOptions(exclude=[Path("trip/a.jpg")]).exclude == {"trip/a.jpg"}
    reverse = SearchOptions(rerank=lambda probe, ranking, gallery: ranking)
    assert len(reverse.rerankers) == 1
    assert Query("01.jpg", invariant="flip,rotate").invariant == ("flip", "rotate")
    assert Query("01.jpg", weights=2).weights == (2.0,)


def test_one_path_stands_for_a_list_of_one_where_a_collection_is_written(photos: Path, encoder: PixelEncoder) -> None:
    collection = Collection(photos / ".lookalike", encoder)
    assert collection.index(str(photos), ignore="trip/").added == 8
    assert collection.index(photos, ignore=()).added == 4
    assert collection.remove("01.jpg") == 1
    assert collection.restore("01.jpg") == 1
    assert collection.refresh(photos / "01.jpg").added == 1
    assert len(collection) == 12


def test_pixels_are_a_picture_and_numbers_a_vector(collection: Collection, encoder: PixelEncoder) -> None:
    pixels = np.asarray(picture(4))
    assert collection.search(pixels) == collection.search(picture(4))
    bgr = pixels[..., ::-1]
    assert collection.search(bgr[..., ::-1])[0].key == "04.jpg"
    vector = encoder.encode([picture(4)])
    assert collection.search(vector[0]) == collection.search(vector)
    assert collection.search(np.asarray(vector[0], np.float64))[0].key == "04.jpg"
    assert collection.picture(pixels).size == (64, 48)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        (42, r"the query 42 \(int\) is no picture"),
        ([0.1, 0.2], r"the query 0.1 \(float\) is no picture"),
        ({"a": 1}, r"\(dict\) is no picture"),
        (np.zeros((48, 64, 3)), r"an array \(48, 64, 3\) of float64: a picture is .* uint8 in RGB \(of BGR give"),
        (np.zeros((48, 64), np.uint8), "a picture is"),
        (np.zeros((3, 48, 64), np.uint8), "a picture is"),
        (np.zeros(0), "a vector"),
        (np.array("text"), "a picture is"),
        (np.array(["a", "b"]), "a picture is"),
        (np.array([1j, 2]), "a picture is"),
        (np.array([{}, None]), "a picture is"),
    ],
)
def test_what_is_no_query_is_refused_with_what_is_one(collection: Collection, query: Any, said: str) -> None:
    with pytest.raises(QueryError, match=said) as refused:
        collection.search(query)
    assert "\n" not in str(refused.value)
    with pytest.raises(QueryError, match=said):
        collection.search("01.jpg", negatives=query)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"k": "5"}, r"k is '5' \(str\): give a whole number"),
        ({"k": 2.5}, "k is 2.5"),
        ({"k": True}, "k is True"),
        ({"k": None}, "k is None"),
        ({"offset": "1"}, "offset is '1'"),
        ({"min_score": "0.5"}, r"min_score is '0.5' \(str\): give a number"),
        ({"min_score": float("nan")}, "min_score is nan"),
        ({"recall": [1]}, "recall is"),
        ({"exclude_self": "no"}, r"exclude_self is 'no' \(str\): give True or False"),
        ({"where": 42}, r"where is 42 \(int\): give text"),
        ({"exclude": 42}, "exclude is 42"),
        ({"exclude": [1]}, "exclude is 1"),
        ({"rerank": 42}, "rerank is 42"),
        ({"rerank": [42]}, "rerank is 42"),
        ({"fuse": []}, "rankings are fused by"),
        ({"sort": np.zeros(2)}, r"results are sorted by score or taken, not array\(\[0., 0.\]\) \(ndarray\)"),
        ({"combine": np.zeros(2)}, "several queries are combined by"),
        ({"exclude": np.zeros((2, 2))}, "exclude is array"),
        ({"weights": np.array("a")}, "weights is array"),
        ({"weights": 1j}, "weights is 1j"),
        ({"invariant": [b"flip"]}, "invariant is b'flip'"),
        ({"text": 42}, r"text is 42 \(int\): give text"),
        ({"negative_text": b"x"}, "negative_text is"),
        ({"box": "1,2,3,4"}, "box is '1,2,3,4'"),
        ({"box": (1, 2, 3)}, r"box is \(1, 2, 3\) \(tuple\): give four numbers, left, top, right, bottom"),
        ({"box": 42}, "box is 42"),
        ({"weights": "a"}, "weights is 'a'"),
        ({"weights": ["a"]}, "weights is 'a'"),
        ({"combine": "sum"}, "combined by mean or max"),
        ({"invariant": 42}, "invariant is 42"),
    ],
)
def test_a_wrong_option_is_one_line_in_the_words_of_the_caller(
    collection: Collection, wrong: dict[str, Any], said: str
) -> None:
    with pytest.raises(QueryError, match=said) as refused:
        collection.search("01.jpg", **wrong)
    assert "\n" not in str(refused.value)


def test_numbers_of_numpy_are_numbers(collection: Collection) -> None:
    options = SearchOptions(k=np.int32(3), min_score=np.float32(-1), exclude_self=np.bool_(True))
    assert (type(options.k), type(options.min_score), type(options.exclude_self)) == (int, float, bool)
    assert len(collection.find(Query("01.jpg"), options)) == 3


@pytest.mark.parametrize(
    "call",
    [
        lambda collection: collection.index(42),
        lambda collection: collection.remove(42),
        lambda collection: collection.refresh(42),
        lambda collection: collection.remove(["01.jpg", 42]),
        lambda collection: collection.restore(b"01.jpg"),
        lambda collection: collection.facts(42),
        lambda collection: collection.not_duplicates(42, "01.jpg"),
        lambda collection: collection.duplicates("near", threshold="0.9"),
        lambda collection: collection.forget_source(42),
        lambda collection: collection.picture(42),
        lambda collection: collection.explain(42, "01.jpg"),
        lambda collection: collection.picture("01.jpg", box="all"),
    ],
)
def test_other_doors_refuse_alike(collection: Collection, call: Callable[[Collection], object]) -> None:
    with pytest.raises(QueryError):
        call(collection)


def test_a_collection_is_asked_for_its_keys_as_a_dictionary(collection: Collection, photos: Path) -> None:
    assert "01.jpg" in collection
    assert "none.jpg" not in collection
    assert 42 not in collection
    assert list(collection) == collection.keys()
    photo = collection["trip/00.png"]
    assert (photo.key, photo.path, photo.width, photo.height) == ("trip/00.png", photos / "trip/00.png", 64, 48)
    assert photo.image.size == (64, 48)
    for wrong in ("none.jpg", 0):
        with pytest.raises(UnknownKey, match="no such key in") as refused:
            _ = collection[wrong]  # type: ignore[index]
        assert isinstance(refused.value, KeyError)
        assert not str(refused.value).startswith('"')


def test_several_collections_are_asked_for_keys_alike(collection: Collection, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    picture(40).save(other / "forty.png")
    second = Collection(other / ".lookalike", PixelEncoder(), [other])
    second.index()
    with Collections({"photos": collection, "other": second}, {}) as both:
        assert repr(both) == "Collections('photos': 12 images, 'other': 1 image)"
        assert "other/forty.png" in both
        assert len(list(both)) == 13
        assert both["other/forty.png"].image.size == (64, 48)
        assert both._repr_html_().count("data:image/jpeg") == 12
        (hit,) = both.search(both["other/forty.png"].image, 1)
        assert (hit.key, hit.thumbnail(16).size) == ("other/forty.png", (16, 12))
