"""Several vector sets in one collection, and questions that more than one of them answers."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lookalike.collection.collection import Collection
from lookalike.errors import EncoderMismatch, QueryError
from lookalike.images import decode as images
from lookalike.search import hybrid
from lookalike.search.options import SearchOptions
from lookalike.search.query import Query
from lookalike.types import Picture, Vectors
from tests.support.pictures import PixelEncoder, picture

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


class ColourEncoder:
    """The mean colour of a picture; reads the names of three colours as well."""

    name, dim, decode_size = "colours", 3, 8
    fingerprint = hashlib.sha256(b"colours").hexdigest()

    def prepare(self, image: Image.Image, full_size: tuple[int, int] | None = None) -> NDArray[Any]:
        return np.asarray(np.asarray(image, np.float32).mean(axis=(0, 1)) + 1)

    def encode_batch(self, prepared: Sequence[NDArray[Any]]) -> Vectors:
        return unit(np.stack(prepared))

    def encode(self, pictures: Sequence[Picture]) -> Vectors:
        return images.encode_images(self, pictures)

    def encode_text(self, texts: Sequence[str]) -> Vectors:
        return unit(np.array([COLOURS[text] for text in texts], np.float32) + 1)


def unit(rows: NDArray[np.float32]) -> Vectors:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


@pytest.fixture
def painted(tmp_path: Path) -> Path:
    """A pattern in three colours, and three patterns in grey."""
    folder = tmp_path / "painted"
    folder.mkdir()
    for name, colour in COLOURS.items():
        pattern = np.asarray(picture(1).convert("L"), np.float32)[..., None] / 255
        Image.fromarray((pattern * np.array(colour)).astype(np.uint8)).save(folder / f"{name}.png")
    for seed in (2, 3, 4):
        picture(seed).convert("L").save(folder / f"grey{seed}.png")
    return folder


@pytest.fixture
def both(painted: Path, encoder: PixelEncoder) -> Collection:
    collection = Collection(painted / ".lookalike", encoder, [painted])
    collection.index()
    collection.add_set(ColourEncoder())
    return collection


def keys(collection: Collection, *query: Any, **options: Any) -> list[str]:
    return [hit.key for hit in collection.search(*query, **options)]


def test_a_second_set_is_added_without_touching_the_first(painted: Path, encoder: PixelEncoder) -> None:
    collection = Collection(painted / ".lookalike", encoder, [painted])
    collection.index()
    before = {name: (collection.path / name).read_bytes() for name in ("vectors.f32", "collection.json")}
    report = collection.add_set(ColourEncoder())
    assert (report.added, len(collection.sets["colours"])) == (6, 6)
    assert before == {name: (collection.path / name).read_bytes() for name in before}
    assert list(collection.sets) == ["pixels", "colours"]
    assert encoder.encoded == 6


def test_words_are_searched_in_the_set_that_reads(both: Collection) -> None:
    assert both.reads_text
    assert keys(both, text="blue", k=2)[0] == "blue.png"
    assert keys(both, text="red", negative_text="green")[0] == "red.png"


def test_words_without_a_set_that_reads_name_the_command_that_adds_one(photos: Path, encoder: PixelEncoder) -> None:
    collection = Collection(photos / ".lookalike", encoder, [photos])
    collection.index()
    with pytest.raises(QueryError, match=r"add them: lookalike index .*photos --encoder siglip2-base"):
        collection.search(text="red")


@pytest.mark.parametrize("fuse", ["rank", "scores"])
def test_an_image_and_words_are_fused_and_scored_by_the_image(both: Collection, painted: Path, fuse: Any) -> None:
    hits = both.search(painted / "red.png", text="green", exclude_self=True, fuse=fuse)
    alone = {hit.key: hit.score for hit in both.search(painted / "red.png")}
    # By pattern alone blue is as near to red as green is; the word decides.
    assert hits[0].key == "green.png"
    assert all(hit.score == pytest.approx(alone[hit.key], abs=1e-6) for hit in hits)


def test_unwanted_words_push_down_what_they_find(both: Collection, painted: Path) -> None:
    ranking = keys(both, painted / "red.png", negative_text="green", exclude_self=True)
    assert ranking.index("blue.png") < ranking.index("green.png")


def test_an_unwanted_image_with_wanted_words(both: Collection, painted: Path) -> None:
    ranking = keys(both, text="green", negatives=painted / "grey3.png")
    assert ranking[0] == "green.png"


def test_wanted_words_name_the_images_of_their_own_set_whatever_its_row_numbers(
    both: Collection, painted: Path
) -> None:
    both.remove(["blue.png"])
    both.compact()  # the first set alone: its rows have other numbers now
    assert both.row("green.png") != both.sets["colours"].row("green.png")
    assert keys(both, text="green", negatives=painted / "grey3.png")[0] == "green.png"


def test_what_only_the_unwanted_words_find_is_no_result(
    both: Collection, painted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of both rankings the first two are read. The second like red is the first of the unwanted, and falls behind the
    second of these, which only they have."""
    monkeypatch.setattr(hybrid, "DEPTH", 2)
    similar = keys(both, painted / "red.png", k=2)
    word = similar[1].removesuffix(".png")
    unwanted = keys(both, text=word, k=2)
    assert (unwanted[0], unwanted[1] in similar) == (similar[1], False)
    query, options = Query((painted / "red.png",), negative_text=word), SearchOptions(k=1, exclude_self=True)
    assert [hit.key for hit in both.find(query, options)] == similar[1:]


def test_a_filter_narrows_words_as_it_narrows_images(both: Collection, painted: Path, tmp_path: Path) -> None:
    table = tmp_path / "years.csv"
    table.write_text("key,year\nred.png,2018\ngreen.png,2019\nblue.png,2020\nnew.png,2021\n")
    both.index(meta=[table])
    assert set(keys(both, painted / "red.png", where="year >= 2019")) == {"green.png", "blue.png"}
    assert set(keys(both, text="red", where="year >= 2019")) == {"green.png", "blue.png"}
    picture(9).save(painted / "new.png")
    both.index(meta=[table])  # images that come with the run that names the table
    assert set(keys(both, text="red", where="year >= 2019")) == {"green.png", "blue.png", "new.png"}


def test_a_set_that_is_added_knows_what_the_first_one_knows(painted: Path, encoder: PixelEncoder) -> None:
    (painted.parent / "years.csv").write_text("key,year\nred.png,2018\ngreen.png,2019\n")
    collection = Collection(painted / ".lookalike", encoder, [painted])
    collection.index(meta=[painted.parent / "years.csv"])
    collection.add_set(ColourEncoder())
    assert keys(collection, text="red", where="year >= 2019") == ["green.png"]
    with collection.sets["colours"].store.writing() as store:
        store.catalog.database.execute("DELETE FROM meta")  # as in one that an earlier version made
    collection.add_set(ColourEncoder())
    assert keys(collection, text="red", where="year >= 2019") == ["green.png"]


def test_something_must_be_wanted(both: Collection, painted: Path) -> None:
    with pytest.raises(QueryError, match="something must be wanted"):
        both.search(negatives=painted / "red.png")
    with pytest.raises(QueryError, match="no query was given"):
        both.search()


def test_index_and_remove_keep_all_sets_in_step(both: Collection, painted: Path) -> None:
    picture(9).save(painted / "new.png")
    (painted / "grey2.png").unlink()
    both.index()
    both.remove(["blue.png"])
    expected = {"new.png", "red.png", "green.png", "grey3.png", "grey4.png"}
    assert {name: set(vector_set.keys()) for name, vector_set in both.sets.items()} == {
        "pixels": expected,
        "colours": expected,
    }


def test_a_rebuild_and_a_whitening_keep_the_other_sets(both: Collection, painted: Path) -> None:
    both.index(rebuild=True)
    assert list(both.sets) == ["pixels", "colours"]
    both.whiten(dim=3)
    assert list(both.sets) == ["pixels", "colours"]
    assert keys(both, text="blue")[0] == "blue.png"


def test_sets_that_an_interrupted_exchange_had_not_moved_yet_come_back(both: Collection, painted: Path) -> None:
    both.close()
    old = both.path.with_name(".lookalike.old")
    old.mkdir()
    (both.path / "sets").rename(old / "sets")
    again = Collection(both.path)
    assert list(again.sets) == ["pixels", "colours"]


def test_a_set_is_chosen_by_the_name_of_its_encoder(both: Collection) -> None:
    assert both.chosen("colours").store.header.encoder == "colours"
    assert both.chosen(None) is both.chosen("pixels") is both


def test_duplicates_of_two_encoders_are_not_compared(both: Collection) -> None:
    with pytest.raises(EncoderMismatch, match="was made with pixels, the other with colours"):
        both.duplicates(threshold=0.9, other=both.sets["colours"])


def test_labels_come_from_the_set_that_reads(both: Collection) -> None:
    names, labels = both.label(list(COLOURS), templates=("{}",))
    best = dict(zip(names, (ranked[0].text for ranked in labels), strict=True))
    assert {name: best[f"{name}.png"] for name in COLOURS} == {name: name for name in COLOURS}
