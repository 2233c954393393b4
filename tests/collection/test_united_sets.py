"""Collections with several vector sets asked as one: by an encoder that all have, words by one that reads."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import lookalike
from lookalike.collection.collection import Collection
from lookalike.collection.united import Collections, open_many
from lookalike.errors import QueryError
from tests.collection.test_sets import ColourEncoder
from tests.support.pictures import PixelEncoder, picture


def write(folder: Path, seeds: tuple[int, ...]) -> Path:
    folder.mkdir()
    for seed in seeds:
        picture(seed).save(folder / f"{seed}.png")
    return folder


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """Of the first, the vectors of `thumbnail` are a further set; the second has these alone."""
    trips, home = write(tmp_path / "trips", (1, 2, 3)), write(tmp_path / "home", (3, 4))
    with Collection(trips / ".lookalike", PixelEncoder(), [trips]) as first:
        first.index()
        first.add_set("thumbnail")
    with lookalike.open(home, encoder="thumbnail") as second:
        second.index()
    return [trips, home]


def test_the_set_that_all_have_is_asked_and_merged_exactly(folders: list[Path], tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    plain = write(tmp_path / "plain" / "trips", (1, 2, 3))
    with lookalike.open(plain, encoder="thumbnail") as collection:
        collection.index()
    with open_many(folders) as united, open_many([plain, folders[1]]) as expected:
        assert (united.mixes_encoders, united.encoders) == (False, ["thumbnail"])
        ours, theirs = (each.search(picture(3), k=9) for each in (united, expected))
        assert [(hit.key, hit.score) for hit in ours] == [(hit.key, hit.score) for hit in theirs]
        assert len(ours) == 5


def test_each_answers_by_its_first_set_where_none_is_shared(folders: list[Path]) -> None:
    with lookalike.open(folders[0]) as trips, lookalike.open(folders[1]) as home:
        further = trips.sets["thumbnail"].path
        (further / "vectors.f32").write_bytes(b"")
        with Collections({"trips": trips, "home": home}, {}) as united:
            assert united.encoders == ["pixels", "thumbnail"]
            assert {hit.key for hit in united.search("trips/3.png", k=2)} == {"trips/3.png", "home/3.png"}


@pytest.fixture
def reading(folders: list[Path]) -> Iterator[dict[str, Collection]]:
    """The same, with vectors of an encoder that reads beside the others."""
    opened = {folder.name: lookalike.open(folder) for folder in folders}
    for collection in opened.values():
        collection.add_set(ColourEncoder())
    yield opened
    for collection in opened.values():
        collection.close()


def test_words_are_searched_in_a_set_of_each_that_reads_them(reading: dict[str, Collection]) -> None:
    united = Collections(reading, {})
    assert united.encoders == ["thumbnail"]
    whole = {f"{name}/{hit.key}": hit.score for name, each in reading.items() for hit in each.search(text="red", k=9)}
    assert {hit.key: hit.score for hit in united.search(text="red", k=9)} == pytest.approx(whole)


class OtherColours(ColourEncoder):
    """Reads too, but its vectors are others."""

    name, fingerprint = "other-colours", "f" * 64


def test_words_are_refused_where_they_are_read_by_different_encoders(folders: list[Path]) -> None:
    with lookalike.open(folders[0]) as trips, lookalike.open(folders[1]) as home:
        trips.add_set(ColourEncoder())
        home.add_set(OtherColours())
        united = Collections({"trips": trips, "home": home}, {})
        with pytest.raises(QueryError, match=r"trips and home read words by different encoders \(colours, other-colou"):
            united.search(text="red")
