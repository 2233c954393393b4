"""Looking again finds where in a candidate the query's thing is, and so ranks it before others."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lookalike import Collection
from lookalike.encoders import load_encoder
from lookalike.encoders.maps import MapHead
from lookalike.errors import QueryError
from lookalike.search.rerank import parse
from lookalike.search.rerank.region import CellMap, Region, around, best_window, heaviest
from lookalike.types import Box, Probe, Ranking
from tests.support.pictures import picture

THING, WHERE = 40, Box(180, 90, 340, 250)


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    """Five photos, of which the fourth has a thing in a corner."""
    folder = tmp_path_factory.mktemp("photos")
    for seed in range(5):
        image = picture(seed, (400, 300))
        if seed == 3:
            image.paste(thing(), (int(WHERE.left), int(WHERE.top)))
        image.save(folder / f"{seed}.png")
    collection = Collection(folder / ".lookalike", load_encoder("efficientnet-lite0"), [folder])
    collection.index([folder])
    return collection


def thing() -> Image.Image:
    return textured(THING, 160)


def textured(seed: int, side: int) -> Image.Image:
    """Blocks of random colours, of several sizes: corners enough for keypoints."""
    random = np.random.default_rng(seed)
    blocks = [random.integers(0, 256, (n, n, 3), dtype=np.uint8) for n in (side // 16, side // 8)]
    images = [np.asarray(Image.fromarray(each).resize((side, side), Image.Resampling.NEAREST)) for each in blocks]
    return Image.fromarray((images[0] // 2 + images[1] // 2).astype(np.uint8))


def overlap(a: Box, b: Box) -> float:
    across, down = min(a.right, b.right) - max(a.left, b.left), min(a.bottom, b.bottom) - max(a.top, b.top)
    shared = max(0.0, across) * max(0.0, down)
    return shared / sum([(box.right - box.left) * (box.bottom - box.top) for box in (a, b)], -shared)


def test_the_photo_with_the_thing_comes_first_and_the_box_is_around_it(collection: Collection) -> None:
    hits = collection.search(thing(), 5, rerank=["region"])
    assert hits[0].key == "3.png"
    assert hits[0].box is not None
    assert overlap(hits[0].box, WHERE) > 0.9


def test_scores_stay_those_of_the_first_ranking(collection: Collection) -> None:
    plain = {hit.key: hit.score for hit in collection.search(thing(), 5)}
    again = {hit.key: hit.score for hit in collection.search(thing(), 5, rerank=["region,top=3"])}
    assert again == plain


def test_boxes_stay_with_their_images_through_an_offset_and_a_further_method(collection: Collection) -> None:
    boxes = {hit.key: hit.box for hit in collection.search(thing(), 5, rerank=["region"])}
    later = collection.search(thing(), 4, offset=1, rerank=["region"])
    assert {hit.key: hit.box for hit in later} == {hit.key: boxes[hit.key] for hit in later}
    chained = collection.search(thing(), 5, rerank=["region", "alpha-qe,k=2"])
    assert {hit.key: hit.box for hit in chained} == boxes


def test_the_best_window_is_where_the_cells_are_like_the_query() -> None:
    cells = np.zeros((8, 10, 3), np.float32)
    cells[..., 0] = 1
    cells[2:5, 3:7] = (0, 1, 0)
    sight = best_window(CellMap.of(cells, 100, 80), MapHead(), np.array([[0, 1, 0]], np.float32))
    assert sight.cosine == pytest.approx(1)
    assert sight.box is not None
    assert sight.box == Box(30, 20, 70, 50)


@pytest.mark.parametrize("seed", range(5))
def test_the_heaviest_rectangle_is_that_of_an_exhaustive_search(seed: int) -> None:
    values = np.random.default_rng(seed).normal(-0.2, 1, (5, 6))
    every = [
        (values[top:bottom, left:right].sum(), [top, left, bottom, right])
        for top, bottom in combinations(range(6), 2)
        for left, right in combinations(range(7), 2)
    ]
    assert heaviest(values).tolist() == max(every)[1]


def test_a_picture_that_is_all_like_the_query_has_no_box() -> None:
    cells = np.random.default_rng(0).random((6, 6, 4)).astype(np.float32)
    mean = cells.reshape(-1, 4).mean(axis=0)
    mean /= np.linalg.norm(mean)
    sight = best_window(CellMap.of(cells, 60, 60), MapHead(), mean[None])
    assert sight.box is None
    assert sight.cosine == pytest.approx(1, abs=1e-4)


def test_a_map_survives_its_bytes_and_damage_is_noticed() -> None:
    cells = np.random.default_rng(0).normal(size=(3, 5, 7)).astype(np.float32)
    stored = CellMap.of(cells, 50, 30)
    data = stored.to_bytes()
    again = CellMap.from_bytes(data)
    assert again is not None
    np.testing.assert_array_equal(again.cells(), stored.cells())
    np.testing.assert_allclose(again.cells(), cells, atol=np.abs(cells).max() / 254 + 1e-6)
    assert CellMap.from_bytes(data[:-1]) is None
    assert CellMap.from_bytes(b"") is None
    flipped = bytearray(data)
    flipped[40] ^= 1
    assert CellMap.from_bytes(bytes(flipped)) is None


def test_the_area_around_a_box_stays_within_the_picture() -> None:
    assert around(Box(10, 10, 30, 20), (100, 100)) == (0, 5, 41, 26)
    assert around(Box(10, 10, 30, 20), (35, 22)) == (0, 5, 35, 22)
    assert around(None, (35, 22)) == (0, 0, 35, 22)


def test_a_query_without_a_picture_is_refused(collection: Collection) -> None:
    with pytest.raises(QueryError, match="region compares pictures"):
        collection.search(np.ones(1280, np.float32), rerank=["region"])


@pytest.mark.parametrize("spec", ["region,top=0", "region,features=3", "region,ratio=2", "region,encoder=x"])
def test_parameters_out_of_bounds_are_refused(spec: str) -> None:
    with pytest.raises(QueryError):
        parse(spec)


def test_a_picture_that_is_gone_keeps_its_score_and_the_others_are_looked_at(tmp_path: Path) -> None:
    for seed in range(3):
        picture(seed, (200, 150)).save(tmp_path / f"{seed}.png")
    with Collection(tmp_path / ".lookalike", load_encoder("efficientnet-lite0"), [tmp_path]) as collection:
        collection.index()
        (tmp_path / "1.png").unlink()
        hits = collection.search(picture(0, (200, 150)).crop((50, 40, 150, 120)), 3, rerank=["region"])
    assert sorted(hit.key for hit in hits) == ["0.png", "1.png", "2.png"]
    assert next(hit.box for hit in hits if hit.key == "1.png") is None


def test_without_keypoints_the_box_is_that_of_the_cells(collection: Collection) -> None:
    (hit, *_) = collection.search(thing(), 5, rerank=["region,verified=0"])
    assert hit.key == "3.png"
    assert hit.box is not None
    assert overlap(hit.box, WHERE) > 0.4


def test_an_encoder_without_a_map_leaves_it_to_the_keypoints(collection: Collection, tmp_path: Path) -> None:
    gallery = collection.gallery
    ids = np.arange(5)
    ranking = Ranking(ids, np.zeros(5, np.float32))
    probe = Probe(np.zeros((1, 1280), np.float32), thing)
    again = Region(encoder=load_encoder("thumbnail"))(probe, ranking, gallery)
    assert gallery.item(int(again.ids[0])).key == "3.png"
    assert overlap(again.boxes[int(again.ids[0])], WHERE) > 0.8
