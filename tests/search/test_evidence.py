"""The confidence of an answer, from a collection on disk: what it depends on, and what it never depends on."""

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lookalike.collection.collection import Collection
from lookalike.errors import QueryError
from lookalike.search import searcher
from lookalike.search.confidence import Logistic, Model, Tail
from lookalike.search.evidence import around, inliers
from lookalike.search.options import SearchOptions
from lookalike.search.query import Query
from lookalike.types import Box, Probe
from tests.evaluation.angles import AngleEncoder, colour, paint
from tests.service.browsing import textured
from tests.support.confident import MODEL, measured
from tests.support.pictures import PixelEncoder, picture

ANGLES = (0, 20, 40, 60, 90)


@pytest.fixture
def angles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Collection:
    """Five colours at known angles, under a model that can be worked out by hand."""
    measured(monkeypatch)
    return collection_of(tmp_path / "photos", *ANGLES)


def collection_of(folder: Path, *degrees: float) -> Collection:
    folder.mkdir(exist_ok=True)
    for angle in degrees:
        paint(folder / f"{angle:02}.png", angle)
    collection = Collection(folder / ".lookalike", AngleEncoder(), [folder])
    collection.index()
    return collection


def at(degrees: float) -> Image.Image:
    return Image.new("RGB", (32, 24), colour(degrees))


def logistic(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def test_hits_have_the_confidence_of_their_cosines(angles: Collection) -> None:
    hits = angles.search(at(5), k=3)
    assert [hit.key for hit in hits] == ["00.png", "20.png", "40.png"]
    # The nearest by 20 · cosine - 19, the others by 20 · cosine - 18.5.
    expected = [20 * hits[0].score - 19, 20 * hits[1].score - 18.5, 20 * hits[2].score - 18.5]
    assert [hit.confidence for hit in hits] == pytest.approx([logistic(value) for value in expected], abs=1e-5)
    assert hits.found is True


def test_nothing_like_it_is_found_where_the_best_is_less_likely_than_not(angles: Collection) -> None:
    hits = angles.search(at(-60), k=2)
    assert hits[0].score == pytest.approx(0.5, abs=0.02)
    assert hits.found is False
    assert all(hit.confidence is not None and hit.confidence < 0.01 for hit in hits)


def test_with_found_only_what_is_the_same_is_left(angles: Collection) -> None:
    assert [hit.key for hit in angles.search(at(5), found=True)] == ["00.png", "20.png"]
    nothing = angles.search(at(-60), found=True)
    assert (list(nothing), nothing.found) == ([], False)


def test_a_confidence_does_not_depend_on_how_many_results_are_requested(angles: Collection) -> None:
    whole = {hit.key: hit.confidence for hit in angles.search(at(5), k=5)}
    for options in ({"k": 1}, {"k": 2, "offset": 1}, {"k": 3, "offset": 2}, {"k": 1, "min_score": 0.99}):
        hits = angles.search(at(5), **options)
        assert {hit.key: hit.confidence for hit in hits} == {hit.key: whole[hit.key] for hit in hits}
        assert hits.found is True


def test_re_ranking_changes_the_order_and_no_confidence(angles: Collection) -> None:
    plain = {hit.key: hit.confidence for hit in angles.search(at(5), k=5)}
    expanded = {hit.key: hit.confidence for hit in angles.search(at(5), k=5, rerank=["average-qe,k=3"])}
    assert expanded == pytest.approx(plain)


def test_the_query_itself_is_certain_and_does_not_hide_what_is_left(angles: Collection) -> None:
    hits = angles.search("00.png", k=2)
    assert (hits[0].key, hits[0].confidence) == ("00.png", 1.0)
    # 20° away, by the rule of the nearest: the query itself is no evidence.
    assert hits[1].confidence == pytest.approx(logistic(20 * hits[1].score - 19), abs=1e-5)
    others = angles.search("00.png", k=2, exclude_self=True)
    assert others[0].confidence == hits[1].confidence
    assert (hits.found, others.found) == (True, False)


def test_a_filter_and_exclusions_decide_what_is_nearest(angles: Collection) -> None:
    assert angles.search(at(5), where="key:4*").found is False
    far = angles.search(at(5), exclude=["00.png", "20.png"])
    assert far[0].key == "40.png"
    assert far[0].confidence == pytest.approx(logistic(20 * far[0].score - 19), abs=1e-5)


def test_one_image_and_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured(monkeypatch)
    one = collection_of(tmp_path / "one", 10)
    assert one.search(at(10)).found is True
    alone = one.search("10.png", exclude_self=True)
    assert (list(alone), alone.found) == ([], False)
    one.remove(["10.png"])
    nothing = one.search(at(10))
    assert (list(nothing), nothing.found) == ([], False)


def test_an_encoder_without_a_measured_row_claims_nothing(tmp_path: Path) -> None:
    photos = collection_of(tmp_path / "photos", *ANGLES)
    hits = photos.search(at(5))
    assert (hits.found, {hit.confidence for hit in hits}) == (None, {None})
    with pytest.raises(QueryError, match="found: no confidence was measured for angles; cut results off"):
        photos.search(at(5), found=True)


@pytest.mark.parametrize(
    "query",
    [
        Query((at(5), at(10))),
        Query((at(5),), negatives=(at(90),)),
        Query((at(5),), invariant=("flip",)),
        Query((Probe(np.eye(2, dtype=np.float32)),)),
    ],
    ids=["several", "negatives", "mirrored", "several vectors"],
)
def test_queries_of_another_kind_than_was_measured_claim_nothing(angles: Collection, query: Query) -> None:
    hits = angles.find(query, SearchOptions())
    assert (hits.found, {hit.confidence for hit in hits}) == (None, {None})
    with pytest.raises(QueryError, match="a single picture;"):
        angles.find(query, SearchOptions(found=True))


def test_a_vector_and_a_region_are_queries_of_one_picture(angles: Collection) -> None:
    assert angles.search(np.array([1, 0], np.float32)).found is True
    assert angles.search(at(5), box=Box(0, 0, 10, 10)).found is True


WIDE = Model(
    Tail(0, 1, 100), Logistic((0.0, 1.0), 0.0), Logistic((0.0, 1.0, 0.0), 0.0), MODEL.verified, MODEL.verified_further
)
"""A confidence that is the logistic of the surprise alone."""


def test_the_tail_is_that_of_the_images_that_are_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured(monkeypatch, WIDE)
    photos = collection_of(tmp_path / "photos", *ANGLES, *range(100, 150))
    hit = photos.search(at(5), k=1)[0]
    usual = np.array([math.cos(math.radians(angle - 5)) for angle in (*ANGLES, *range(100, 150))])
    tail = Tail.of(usual, 55, WIDE.typical)
    assert hit.confidence == pytest.approx(logistic(tail.surprise(np.array([hit.score]))[0]), abs=0.01)
    filtered = photos.search(at(5), k=1, where="key:?0.png")[0]
    kept = np.array([math.cos(math.radians(angle - 5)) for angle in ANGLES])
    tail = Tail.of(kept, 5, WIDE.typical)
    assert filtered.confidence == pytest.approx(logistic(tail.surprise(np.array([filtered.score]))[0]), abs=0.01)


def many(folder: Path) -> Collection:
    folder.mkdir()
    for number in range(120):
        picture(number, (16, 12)).save(folder / f"{number:03}.png")
    collection = Collection(folder / ".lookalike", PixelEncoder(), [folder])
    collection.index()
    return collection


def test_the_sample_is_the_same_every_time_and_never_has_rows_that_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searcher, "SAMPLED", 40)
    monkeypatch.setattr(searcher, "ENOUGH", 10)
    photos = many(tmp_path / "photos")
    vector, none = photos.gallery.vectors(np.array([3]))[0], np.empty(0, np.int64)
    whole = photos.gallery.usual(vector, none)
    assert len(whole) == 40
    assert (whole == many_again(photos).gallery.usual(vector, none)).all()
    few = photos.gallery.view(where="key:00*")
    assert len(few) == 10
    exact = photos.gallery.vectors(np.arange(10)) @ vector
    assert sorted(few.usual(vector, none)) == pytest.approx(sorted(exact), abs=1e-6)
    assert len(few.usual(vector, np.array([3]))) == 9
    most = photos.gallery.view(exclude=frozenset({"003.png"}))
    assert set(most.usual(vector, none)) <= set(whole)


def many_again(photos: Collection) -> Collection:
    return Collection(photos.path, PixelEncoder())


def test_an_approximate_index_gives_the_confidence_of_exact_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured(monkeypatch)
    photos = many(tmp_path / "photos")
    queries = [picture(number, (24, 18)) for number in range(0, 120, 17)]
    exact = [photos.search(query, k=2, recall=1.0) for query in queries]
    monkeypatch.setattr(searcher, "FEW", 50)
    photos.optimize("HNSW16")
    for query, expected in zip(queries, exact, strict=True):
        hits = photos.search(query, k=2)
        assert hits[0].key == expected[0].key
        assert hits[0].confidence == pytest.approx(expected[0].confidence, abs=1e-5)
        assert hits.found == expected.found


@pytest.fixture
def scenes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Collection:
    """Eight pictures in which points can be found again, whose vectors say little."""
    doubtful = Model(
        MODEL.typical,
        Logistic((0.0, 0.0), -0.1),
        Logistic((0.0, 0.0, 0.0), -0.1),
        MODEL.verified,
        MODEL.verified_further,
    )
    measured(monkeypatch, doubtful)
    folder = tmp_path / "scenes"
    folder.mkdir()
    for number in range(8):
        textured(number).save(folder / f"{number}.jpg", quality=95)
    collection = Collection(folder / ".lookalike", PixelEncoder(), [folder])
    collection.index()
    return collection


def part_of(seed: int) -> Image.Image:
    return textured(seed).crop((60, 40, 420, 320))


def test_in_doubt_pixels_decide(scenes: Collection) -> None:
    plain = scenes.search(part_of(2), k=8)
    assert plain.found is False
    assert [hit.confidence for hit in plain] == [pytest.approx(logistic(-0.1))] * 8
    verified = scenes.search(part_of(2), k=8, verify=True)
    assert verified.found is True
    assert [hit.key for hit in verified if hit.confidence and hit.confidence > 0.5] == ["2.jpg"]
    assert [hit.key for hit in verified] == [hit.key for hit in plain]
    assert [hit.key for hit in scenes.search(part_of(2), k=8, verify=True, found=True)] == ["2.jpg"]


def test_pixels_are_compared_among_the_nearest_whatever_is_requested(scenes: Collection) -> None:
    whole = {hit.key: hit.confidence for hit in scenes.search(part_of(2), k=8, verify=True)}
    one = scenes.search(part_of(2), k=1, verify=True)
    assert one.found is True
    assert one[0].confidence == whole[one[0].key]


@pytest.fixture
def composed(scenes: Collection) -> Collection:
    """The pictures again with the parts that they have, and one with a small picture of 20 in a quarter of it."""
    whole = textured(30, (960, 720))
    whole.paste(textured(20, (480, 360)), (480, 360))
    whole.save(scenes.folder / "composed.jpg", quality=95)
    scenes.index()
    scenes.add_regions("grid")
    return scenes


def test_what_counts_with_a_part_has_no_confidence_by_its_score(composed: Collection) -> None:
    hits = composed.search(textured(20), k=9)
    assert (hits[0].key, hits[0].box) == ("composed.jpg", Box(480, 360, 960, 720))
    assert (hits[0].confidence, hits.found) == (None, None)
    assert composed.search(textured(20), k=9, regions=False).found is False


def test_pixels_decide_of_a_part_and_what_is_around_it(composed: Collection) -> None:
    hits = composed.search(textured(20), k=9, verify=True)
    assert hits.found is True
    assert [hit.key for hit in hits if hit.confidence and hit.confidence > 0.5] == ["composed.jpg"]
    # Nothing else can tell, so these are compared also where only what is the same is wanted.
    assert [hit.key for hit in composed.search(textured(20), k=9, found=True)] == ["composed.jpg"]
    nothing = composed.search(textured(21), k=9, verify=True)
    assert nothing.found is False


def test_the_surroundings_of_a_part_end_with_the_picture() -> None:
    assert around(Box(10, 20, 50, 60), (100, 100)) == (0, 10, 60, 70)
    assert around(Box(0, 0, 100, 90), (100, 90)) == (0, 0, 100, 90)


def test_without_doubt_nothing_is_decoded(scenes: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    sure = Model(
        MODEL.typical,
        Logistic((0.0, 0.0), 5.0),
        Logistic((0.0, 0.0, 0.0), 5.0),
        MODEL.verified,
        MODEL.verified_further,
    )
    measured(monkeypatch, sure)
    for file in scenes.folder.glob("*.jpg"):
        file.unlink()
    assert scenes.search(part_of(2), verify=True).found is True


def test_what_cannot_be_read_is_judged_by_its_score(scenes: Collection) -> None:
    (scenes.folder / "2.jpg").unlink()
    hits = {hit.key: hit.confidence for hit in scenes.search(part_of(2), k=8, verify=True)}
    assert hits["2.jpg"] == pytest.approx(logistic(-0.1))
    assert hits["3.jpg"] is not None
    assert hits["3.jpg"] < 0.2


def test_a_vector_has_no_pixels_to_compare(scenes: Collection) -> None:
    vector = scenes.gallery.vectors(np.array([2]))[0]
    hits = scenes.search(vector, k=8, verify=True)
    assert [hit.confidence for hit in hits] == [pytest.approx(logistic(-0.1))] * 8
    assert inliers(Probe(vector[None]), np.array([0]), scenes.gallery) is None


def test_a_large_query_is_decoded_at_a_fraction_of_its_size(scenes: Collection, tmp_path: Path) -> None:
    part_of(2).resize((3600, 2800)).save(tmp_path / "large.jpg")
    probe = scenes.resolve(Query((tmp_path / "large.jpg",))).probe
    assert probe.reduced is not None
    assert probe.reduced(200).size == (900, 700)
    assert probe.image is not None
    assert probe.image().size == (3600, 2800)
    assert scenes.gallery.reduced(2, 400).size == (400, 300)
