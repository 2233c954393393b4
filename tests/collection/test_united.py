"""Several collections asked as one: what one collection with all their images answers."""

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lookalike
from lookalike.collection.collection import Collection
from lookalike.collection.united import Collections, open_many
from lookalike.errors import CollectionError, QueryError
from lookalike.search.results import Results
from lookalike.storage.maintenance.merge import merge
from tests.support.confident import measured
from tests.support.pictures import PixelEncoder, picture
from tests.support.vectors import FINGERPRINT, make, put_values

DIM = 4
NAMES = ("one", "two", "three")
Rows = Callable[[int, int], np.ndarray]


def coarse(count: int, seed: int) -> np.ndarray:
    """Unit rows of few kinds, so that many scores are equal, and exact in whatever order numbers are added."""
    rows = np.random.default_rng(seed).integers(0, 2, (count, DIM)).astype(np.float32) * 2 - 1
    return np.asarray(rows / 2, np.float32)


def smooth(count: int, seed: int) -> np.ndarray:
    """Unit rows that are all different."""
    rows = np.random.default_rng(seed).standard_normal((count, DIM))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def split(folder: Path, counts: Sequence[int], removed: Sequence[int], rows: Rows, seed: int) -> list[Path]:
    """Collections of so many images each, without every `removed`-th one."""
    places = []
    for number, (name, count, each) in enumerate(zip(NAMES, counts, removed, strict=False)):
        place = folder / name / ".lookalike"
        place.parent.mkdir()
        with closing(make(place, rows(count, 3 * seed + number))) as store, store.writing():
            if each:
                store.catalog.remove(list(range(0, count - 1, each)))
            if name != "one":
                put_values(store, store.catalog.item(count - 1).key, {"year": 2020})
        places.append(place)
    return places


def found(hits: Results) -> list[tuple[int, Path | None, float]]:
    return [(hit.rank, hit.path, hit.score) for hit in hits]


QUESTIONS: list[dict[str, Any]] = [
    {"k": 5},
    {"k": 200},
    {"k": 7, "offset": 6},
    {"k": 20, "min_score": 0.4},
    {"k": 9, "where": "key:*1.jpg"},
    {"k": 9, "where": "year = 2020 or key:*3.jpg"},
]


@given(
    st.lists(st.integers(1, 40), min_size=2, max_size=3),
    st.lists(st.integers(0, 3), min_size=3, max_size=3),
    st.sampled_from([coarse, smooth]),
    st.integers(0, 99),
)
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_the_answer_is_that_of_the_merged_collection(
    tmp_path_factory: pytest.TempPathFactory, counts: list[int], removed: list[int], rows: Rows, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("split")
    places = split(folder, counts, removed, rows, seed)
    merge(places, folder / "all")
    query = rows(1, seed + 1000)[0]
    with open_many(places) as united, Collection(folder / "all") as whole:
        assert len(united) == len(whole)
        for question in QUESTIONS:
            ours, theirs = found(united.search(query, **question)), found(whole.search(query, **question))
            assert [hit[:2] for hit in ours] == [hit[:2] for hit in theirs], question
            tolerance = 0 if rows is coarse else 1e-6
            assert [hit[2] for hit in ours] == pytest.approx([hit[2] for hit in theirs], abs=tolerance)


def test_equal_images_are_in_order_however_few_of_a_collection_a_filter_leaves(tmp_path: Path) -> None:
    """Where it leaves few of one, the cosines of that one are computed in another way, and differ in the last bits."""
    rows = np.random.default_rng(4).standard_normal((40, 384)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    places = []
    for name in NAMES:
        (tmp_path / name).mkdir()
        make(tmp_path / name / ".lookalike", rows).close()
        places.append(tmp_path / name / ".lookalike")
    where = "not key:one/[0-4]/*"
    query = np.random.default_rng(6).standard_normal(384).astype(np.float32)
    with open_many(places) as united:
        hits = united.search(query, k=100, where=where)
        pages = [hit.key for start in range(0, 100, 7) for hit in united.search(query, k=7, offset=start, where=where)]
    assert [hit.key for hit in hits] == pages
    for number in range(40):
        alike = [hit for hit in hits if hit.key.endswith(f"{number:06}.jpg")]
        assert [hit.key.partition("/")[0] for hit in alike] == list(NAMES[number % 10 < 5 :])
        assert len({hit.score for hit in alike}) == 1


def test_what_re_ranks_goes_through_all_of_them(tmp_path: Path) -> None:
    places = split(tmp_path, [30, 20], [0, 3], smooth, 5)
    merge(places, tmp_path / "all")
    query = smooth(1, 1)[0]
    with open_many(places) as united, Collection(tmp_path / "all") as whole:
        for method in ("alpha-qe,k=5", "dba,k=3", "k-reciprocal,top=20"):
            ours, theirs = (found(each.search(query, k=12, rerank=[method])) for each in (united, whole))
            assert [hit[:2] for hit in ours] == [hit[:2] for hit in theirs], method


def test_confidence_is_that_of_the_merged_collection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It depends on what is usual among all images, of which a sample is taken."""
    measured(monkeypatch)
    places = []
    for name, seeds in (("one", range(40)), ("two", range(40, 90))):
        (tmp_path / name).mkdir()
        for seed in seeds:
            picture(seed).save(tmp_path / name / f"{seed}.png")
        with lookalike.open(tmp_path / name, encoder="thumbnail") as collection:
            collection.index()
        places.append(tmp_path / name / ".lookalike")
    merge(places, tmp_path / "all")
    with open_many(places) as united, Collection(tmp_path / "all") as whole:
        ours, theirs = (each.search(picture(200), k=5) for each in (united, whole))
    assert ours.found is theirs.found is not None
    assert [hit.confidence for hit in ours] == pytest.approx([hit.confidence for hit in theirs])


@pytest.fixture
def both(tmp_path: Path) -> list[Path]:
    """Two folders of pictures, indexed, with one picture in both."""
    for name, seeds in (("trips", (1, 2, 3)), ("home", (3, 4))):
        folder = tmp_path / name
        folder.mkdir()
        for seed in seeds:
            picture(seed).save(folder / f"{seed}.png")
        with lookalike.open(folder, encoder="thumbnail") as collection:
            collection.index()
    return [tmp_path / "trips", tmp_path / "home"]


def test_keys_begin_with_the_name_of_their_collection(both: list[Path]) -> None:
    with open_many(both) as united:
        assert united.keys() == ["trips/1.png", "trips/2.png", "trips/3.png", "home/3.png", "home/4.png"]
        hits = united.search("home/4.png", k=1)
        assert (hits[0].key, hits[0].path, hits[0].score) == ("home/4.png", both[1] / "4.png", 1)
        # The name may be left out where one collection alone has such a key.
        assert united.search("2.png", k=1)[0].key == "trips/2.png"
        for ask in (united.search, united.__getitem__, lambda key: united.explain("home/4.png", key)):
            with pytest.raises(
                QueryError, match=r"3\.png: in several collections; name one of trips/3\.png, home/3\.png"
            ):
                ask("3.png")
        assert ("3.png" in united, "trips/3.png" in united, "9.png" in united) == (True, True, False)
        with pytest.raises(QueryError, match=r"9\.png: no such file, and no such key"):
            united.search("9.png")


def test_the_query_itself_is_left_out_wherever_it_is(both: list[Path]) -> None:
    with open_many(both) as united:
        assert [hit.key for hit in united.search(both[0] / "3.png", k=2)] == ["trips/3.png", "home/3.png"]
        kept = [hit.key for hit in united.search((both[0] / "3.png").read_bytes(), k=9, exclude_self=True)]
        assert sorted(kept) == ["home/4.png", "trips/1.png", "trips/2.png"]
        left = united.search("trips/3.png", k=9, exclude=["home/3.png"], where="key:home/*")
        assert [hit.key for hit in left] == ["home/4.png"]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("key:trips/*", ["1", "2", "3"]),
        ("key:*/3.png", ["3", "home 3"]),
        ("key:t*3.png", ["3"]),
        ("key:nowhere/*", []),
        ("key = home/4.png", ["home 4"]),
        ("key != home/4.png", ["1", "2", "3", "home 3"]),
        ('key in ("home/4.png", "trips/1.png")', ["1", "home 4"]),
        ("key < i", ["home 3", "home 4"]),
        ("stars = 5", ["1"]),
        ("not stars = 5", ["2", "3", "home 3", "home 4"]),
        ("format = PNG", ["1", "2", "3", "home 3", "home 4"]),
        ("folder = home", ["home 3", "home 4"]),
        ('folder != "trips"', ["home 3", "home 4"]),
    ],
)
def test_filters_name_images_by_their_keys_and_columns_of_all(
    both: list[Path], where: str, expected: list[str], tmp_path: Path
) -> None:
    table = tmp_path / "stars.csv"
    table.write_text("key,stars\n1.png,5\n")
    with lookalike.open(both[0]) as trips:
        trips.attach(table)
    with open_many(both) as united:
        keys = [hit.key for hit in united.search(picture(9), k=9, where=where)]
    assert sorted(key.replace("trips/", "").replace("/", " ").replace(".png", "") for key in keys) == expected


def test_a_filter_that_no_collection_understands_is_refused(both: list[Path]) -> None:
    with open_many(both) as united, pytest.raises(QueryError, match="stars: no such column"):
        united.search(picture(9), where="stars = 5")


def test_what_is_missing_is_named_and_the_others_answer(both: list[Path], tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    with open_many([both[0], gone, both[1]]) as united:
        assert united.away == {str(gone): f"{gone}: no such folder or collection"}
        assert len(united) == 5
        assert united.info()["away"] == united.away
    with pytest.raises(CollectionError, match="no such folder or collection"):
        open_many([gone])


def test_a_file_in_two_of_them_counts_once_as_in_the_merged_collection(both: list[Path], tmp_path: Path) -> None:
    with lookalike.open(both[0], collection=tmp_path / "second", encoder="thumbnail") as second:
        second.index()
    with open_many([both[0], tmp_path / "second"]) as united:
        assert len(united) == 3
        assert united.keys() == ["trips/1.png", "trips/2.png", "trips/3.png"]
        assert len(united.search(picture(1), k=9, where="key:*.png")) == 3


def test_a_commit_in_one_of_them_is_seen_by_the_next_search(both: list[Path]) -> None:
    with open_many(both) as united:
        assert len(united) == 5
        picture(8).save(both[1] / "8.png")
        with lookalike.open(both[1]) as home:
            home.index()
        assert united.search(both[1] / "8.png", k=1)[0].key == "home/8.png"
        assert len(united) == 6


def test_damaged_rows_are_left_out_and_named(both: list[Path]) -> None:
    file = both[0] / ".lookalike" / "vectors.f32"
    data = bytearray(file.read_bytes())
    data[5] ^= 255
    file.write_bytes(data)
    with open_many(both) as united:
        assert "trips/1.png" not in [hit.key for hit in united.search(picture(1), k=9)]
        assert united.damaged == ["trips/1.png"]


def test_copies_are_found_across_collections(both: list[Path]) -> None:
    with open_many(both) as united:
        for level in ("exact", "near"):
            (group,) = united.duplicates(level)
            assert {member.item.key for member in group.members} == {"trips/3.png", "home/3.png"}
            assert {member.path for member in group.members} == {both[0] / "3.png", both[1] / "3.png"}
    with lookalike.open(both[0]) as trips:
        assert trips.duplicates() == []


def test_an_image_of_any_of_them_is_explained(both: list[Path]) -> None:
    with open_many(both) as united, lookalike.open(both[1]) as home:
        expected = home.explain(both[0] / "3.png", "3.png")
        assert united.explain("trips/3.png", "home/3.png").inliers == expected.inliers
        with pytest.raises(QueryError, match="no such key in trips, home"):
            united.explain("trips/3.png", "home/9.png")


@pytest.fixture
def mixed(both: list[Path], tmp_path: Path) -> Collections:
    """The folders again, and one of another encoder, whose cosines are larger throughout."""
    (tmp_path / "odd").mkdir()
    for seed in (2, 5, 6):
        picture(seed).save(tmp_path / "odd" / f"{seed}.png")
    encoder = PixelEncoder()
    odd = lookalike.open(tmp_path / "odd", encoder=encoder)
    odd.index()
    return Collections({"trips": lookalike.open(both[0]), "home": lookalike.open(both[1]), "odd": odd}, {})


def test_collections_of_several_encoders_are_merged_by_calibrated_scores(mixed: Collections) -> None:
    with mixed:
        assert mixed.mixes_encoders
        assert mixed.encoders == ["thumbnail", "pixels"]
        hits = mixed.search(picture(2), k=8)
        # Each encoder has the picture, and is surer of it than of all others, though their cosines differ.
        assert {hit.key for hit in hits[:2]} == {"trips/2.png", "odd/2.png"}
        assert len(hits) == 8
        assert [hit.rank for hit in hits] == list(range(1, 9))
        own = mixed.collections["odd"].search(picture(2), k=3)
        assert [hit.score for hit in hits if hit.key.startswith("odd/")] == [hit.score for hit in own]
        pages = [hit.key for start in (0, 3, 6) for hit in mixed.search(picture(2), k=3, offset=start)]
        assert pages == [hit.key for hit in hits]


def test_a_key_of_one_encoders_collection_is_a_picture_to_the_others(mixed: Collections) -> None:
    with mixed:
        assert {hit.key for hit in mixed.search("trips/2.png", k=2)} == {"trips/2.png", "odd/2.png"}
        left = [hit.key for hit in mixed.search("trips/2.png", k=9, exclude_self=True)]
        assert not {"trips/2.png", "odd/2.png"} & set(left)
        with pytest.raises(QueryError, match="a vector is of one encoder"):
            mixed.search(np.ones(192, np.float32))


def test_the_same_name_twice_gets_a_number(tmp_path: Path) -> None:
    for place in ("a/photos", "b/photos"):
        (tmp_path / place).mkdir(parents=True)
        make(tmp_path / place / ".lookalike", coarse(3, 0)).close()
    with open_many([tmp_path / "a/photos", tmp_path / "b/photos"]) as united:
        assert list(united.collections) == ["photos", "photos-2"]
        assert FINGERPRINT in {each["fingerprint"] for each in united.info()["collections"].values()}
