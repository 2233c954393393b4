"""What can be asked of a collection at once: several images, weights, negatives, copies, re-ranking, pages."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lookalike.collection.collection import Collection
from lookalike.errors import QueryError
from lookalike.types import Box
from tests.support.pictures import PixelEncoder, picture


@pytest.fixture
def collection(photos: Path, encoder: PixelEncoder) -> Collection:
    new = Collection(photos / ".lookalike", encoder, [photos])
    new.index()
    return new


def row(encoder: PixelEncoder, path: Path) -> NDArray[np.float32]:
    return np.asarray(encoder.encode([path])[0])


def test_weights_move_the_mean_towards_an_image(collection: Collection, photos: Path, encoder: PixelEncoder) -> None:
    two = [photos / "01.jpg", photos / "02.jpg"]
    mean = 3 * row(encoder, two[0]) + row(encoder, two[1])
    scores = {hit.key: hit.score for hit in collection.search(two, 12, weights=[3, 1])}
    for key in ("04.jpg", "05.jpg"):
        expected = mean @ row(encoder, photos / key) / np.linalg.norm(mean)
        assert scores[key] == pytest.approx(expected, abs=1e-5)


def test_the_maximum_finds_what_is_near_to_any(collection: Collection, photos: Path) -> None:
    hits = collection.search([photos / "01.jpg", photos / "02.jpg"], 12, combine="max")
    single = [{hit.key: hit.score for hit in collection.search(photos / name, 12)} for name in ("01.jpg", "02.jpg")]
    for hit in hits:
        assert hit.score == pytest.approx(max(scores[hit.key] for scores in single), abs=1e-6)


def test_a_negative_pushes_its_like_away(collection: Collection, photos: Path) -> None:
    plain = {hit.key: hit.rank for hit in collection.search(photos / "01.jpg", 12)}
    pushed = {hit.key: hit.rank for hit in collection.search(photos / "01.jpg", 12, negatives=photos / "05.jpg")}
    assert pushed["05.jpg"] > plain["05.jpg"] or pushed["05.jpg"] == 12


def test_a_turned_and_mirrored_copy_is_found(collection: Collection, photos: Path) -> None:
    turned = picture(4).transpose(Image.Transpose.ROTATE_90).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    (first, *_) = collection.search(turned, 1, invariant=("flip", "rotate"))
    assert first.key == "04.jpg"
    assert first.score == pytest.approx(1, abs=0.01)
    assert collection.search(turned, 1)[0].score < 0.9


def test_a_thing_that_is_larger_in_the_photos_is_found_by_the_middle_of_the_query(collection: Collection) -> None:
    inner = picture(4)
    framed = Image.new("RGB", (round(inner.width / 0.7), round(inner.height / 0.7)), "magenta")
    framed.paste(inner, ((framed.width - inner.width) // 2, (framed.height - inner.height) // 2))
    (first, *_) = collection.search(framed, 1, invariant=("scale",))
    assert first.key == "04.jpg"
    assert first.score > collection.search(framed, 1)[0].score + 0.02


def test_copies_of_several_images_are_averaged_copy_by_copy(collection: Collection, photos: Path) -> None:
    mirrored = [picture(number).transpose(Image.Transpose.FLIP_LEFT_RIGHT) for number in (1, 2)]
    upright = collection.search([picture(1), picture(2)], 2)
    turned = collection.search(mirrored, 2, invariant=("flip",))
    assert [hit.key for hit in turned] == [hit.key for hit in upright]
    assert [hit.score for hit in turned] == pytest.approx([hit.score for hit in upright], abs=1e-3)


def test_methods_are_named_with_their_parameters(collection: Collection, photos: Path) -> None:
    hits = collection.search(photos / "01.jpg", 5, rerank=["alpha-qe,k=2", "spatial,top=4"])
    assert (hits[0].key, hits[0].score) == ("01.jpg", 1.0)
    assert len({hit.key for hit in hits}) == 5
    with pytest.raises(QueryError, match="is no re-ranking method"):
        collection.search(photos / "01.jpg", rerank=["magic"])


def test_keypoints_are_kept_beside_the_collection(collection: Collection, photos: Path) -> None:
    collection.search(photos / "01.jpg", 3, rerank=["spatial,top=12"])
    assert (collection.path / "cache" / "features.sqlite").exists()


def test_patches_with_an_encoder_that_has_none_is_one_line(collection: Collection, photos: Path) -> None:
    with pytest.raises(QueryError, match="pixels has none"):
        collection.search(photos / "01.jpg", rerank=["patches"])


def test_pages_go_on_where_the_last_one_ended(collection: Collection, photos: Path) -> None:
    whole = collection.search(photos / "03.jpg" if (photos / "03.jpg").exists() else photos / "01.jpg", 12)
    query = whole[0].key
    pages = [hit for offset in (0, 5, 10, 15) for hit in collection.search(query, 5, offset=offset)]
    assert pages == whole


def test_what_does_not_go_together_is_refused(collection: Collection, photos: Path) -> None:
    box = Box(0, 0, 10, 10)
    two = [photos / "01.jpg", photos / "02.jpg"]
    with pytest.raises(QueryError, match="a box goes with one query image"):
        collection.search(two, box=box)
    with pytest.raises(QueryError, match="weights go with the mean"):
        collection.search(two, weights=[1, 2], combine="max")
    with pytest.raises(QueryError, match="2 queries need as many weights"):
        collection.search(two, weights=[1])
    with pytest.raises(QueryError, match="nothing that a query can be invariant to"):
        collection.search(two, invariant=("turn",))
    with pytest.raises(QueryError, match="a vector has no picture"):
        collection.search(np.ones(192, np.float32), invariant=("flip",))
    with pytest.raises(QueryError, match="offset at least 0"):
        collection.search(two, offset=-1)


def test_a_query_of_unwanted_things_that_cancel_is_refused(collection: Collection, photos: Path) -> None:
    with pytest.raises(QueryError, match="taken away"):
        collection.search(photos / "01.jpg", negatives=photos / "01.jpg")


def test_an_explanation_names_the_map_between_two_views(collection: Collection, photos: Path) -> None:
    explanation = collection.explain(photos / "01.jpg", "01.jpg")
    assert explanation.to_json()["of"] == "keypoints"
    with pytest.raises(QueryError, match="no such key"):
        collection.explain(photos / "01.jpg", "nothing.jpg")
    with pytest.raises(QueryError, match="a vector has no picture"):
        collection.explain(np.ones(192, np.float32), "01.jpg")


def test_a_whitened_collection_answers_and_goes_on_growing(
    collection: Collection, photos: Path, encoder: PixelEncoder
) -> None:
    before = collection.store.header.fingerprint
    learned = collection.whiten(dim=6, power=0.5)
    assert collection.store.header.fingerprint != before
    assert (learned.dim, collection.info()["dim"], collection.info()["whitened"]) == (6, 6, True)
    picture(99).save(photos / "99.png")
    assert collection.index().added == 1
    assert collection.search(photos / "99.png", 1)[0].key == "99.png"
    assert collection.search(picture(7), 1)[0].key == "07.jpg"
    again = Collection(collection.path, encoder)
    assert again.search(picture(7), 1)[0].key == "07.jpg"
