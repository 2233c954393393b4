"""What a user marked as the same thing or not: by content, so that it outlives everything but being forgotten."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lookalike.collection.collection import Collection
from lookalike.errors import QueryError
from lookalike.storage.distinct import pair
from lookalike.storage.maintenance.merge import merge
from lookalike.storage.maintenance.verify import verify
from lookalike.storage.marks import NAME, Mark, carry, marks
from lookalike.storage.store import Store
from tests.support.pictures import PixelEncoder, picture
from tests.support.vectors import planted


def photographed(place: Path, name: str, *seeds: int) -> Path:
    folder = place / name
    folder.mkdir()
    for seed in seeds:
        picture(seed).save(folder / f"{seed}.png")
    with Collection(place / f"{name}-c", PixelEncoder(), [folder]) as collection:
        collection.index()
    return place / f"{name}-c"


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[Collection]:
    with Collection(photographed(tmp_path, "town", 1, 2, 3), PixelEncoder()) as opened:
        yield opened


def said(collection: Collection) -> dict[tuple[str, str], bool]:
    return {mark.pair: mark.same for mark in collection.marks()}


def contents(collection: Collection, *names: str) -> tuple[str, str]:
    a, b = (item.sha256 for name in names for item in [collection.store.catalog.live_item(name)] if item)
    return pair(a, b)


def test_a_mark_has_no_order_and_the_last_word_counts(collection: Collection) -> None:
    collection.mark("1.png", "2.png", same=True)
    collection.mark("2.png", "1.png", same=False)
    assert said(collection) == {contents(collection, "1.png", "2.png"): False}
    collection.mark("1.png", "2.png", same=None)
    assert said(collection) == {}


def test_the_newest_mark_is_listed_first(collection: Collection) -> None:
    for a, b in (("1.png", "2.png"), ("2.png", "3.png"), ("1.png", "3.png")):
        collection.mark(a, b, same=True)
    assert [mark.pair for mark in collection.marks()] == [
        contents(collection, "1.png", "3.png"),
        contents(collection, "2.png", "3.png"),
        contents(collection, "1.png", "2.png"),
    ]


def test_an_image_is_not_marked_against_itself_nor_against_none(collection: Collection) -> None:
    with pytest.raises(QueryError, match="the same file"):
        collection.mark("1.png", "1.png", same=True)
    with pytest.raises(QueryError, match=r"9\.png: no image"):
        collection.mark("1.png", "9.png", same=True)
    assert collection.marks() == []


def test_marks_outlive_renaming_a_rebuild_compact_and_verify(collection: Collection, tmp_path: Path) -> None:
    collection.mark("1.png", "2.png", same=True)
    collection.mark("1.png", "3.png", same=False)
    before = collection.marks()
    (tmp_path / "town" / "1.png").rename(tmp_path / "town" / "new name.png")
    collection.index()
    assert collection.marks() == before
    collection.index(rebuild=True)
    assert collection.marks() == before
    collection.compact()
    assert collection.marks() == before
    assert said(collection)[contents(collection, "new name.png", "2.png")] is True
    assert not verify(collection.path)


def test_marks_outlive_whitening_and_adapting_and_its_undoing(tmp_path: Path) -> None:
    planted(tmp_path / "things").close()
    with Collection(tmp_path / "things") as things:
        things.mark("0/0.jpg", "0/1.jpg", same=True)
        before = things.marks()
        things.whiten()
        assert things.marks() == before
    planted(tmp_path / "others").close()
    with Collection(tmp_path / "others") as others:
        others.mark("0/0.jpg", "0/1.jpg", same=True)
        before = others.marks()
        assert others.adapt(folders=True).applied
        assert others.marks() == before
        others.undo_adapt()
        assert others.marks() == before


def test_merged_collections_have_the_marks_of_both(tmp_path: Path) -> None:
    paths = [photographed(tmp_path, "first", 1, 2), photographed(tmp_path, "second", 3, 4)]
    told: list[Mark] = []
    for path, same in zip(paths, (True, False), strict=True):
        with Collection(path, PixelEncoder()) as part:
            first, second = part.keys()
            part.mark(first, second, same=same)
            told = [*part.marks(), *told]
    merge(paths, tmp_path / "both")
    with closing(Store(tmp_path / "both")) as store:
        assert marks(store) == told
        assert [mark.same for mark in told] == [False, True]


def test_where_two_collections_disagree_the_newer_mark_stays(tmp_path: Path) -> None:
    paths = [photographed(tmp_path, "first", 1, 2), photographed(tmp_path, "second", 1, 2)]
    for path, same in zip(paths, (True, False), strict=True):
        with Collection(path, PixelEncoder()) as part:
            part.mark("1.png", "2.png", same=same)
    with closing(Store(paths[0])) as older, closing(Store(paths[1])) as newer:
        with newer.writing():
            carry(older, newer)
        assert [mark.same for mark in marks(newer)] == [False]
        with older.writing():
            carry(newer, older)
        assert marks(older) == marks(newer)


def test_a_further_vector_set_has_the_marks_too(collection: Collection) -> None:
    collection.mark("1.png", "2.png", same=True)
    collection.add_set("thumbnail")
    further = collection.sets["thumbnail"]
    assert further.marks() == collection.marks()
    collection.mark("1.png", "3.png", same=False)
    assert said(further) == said(collection)
    assert len(said(further)) == 2


def test_what_cannot_be_read_is_no_mark(collection: Collection) -> None:
    collection.mark("1.png", "2.png", same=True)
    with collection.store.writing() as store:
        store.catalog.put("facts", f"{NAME}{'a' * 64}:{'b' * 64}", "of a later release")
        store.catalog.put("facts", f"{NAME}alone", '{"same": true, "at": 1}')
    assert len(collection.marks()) == 1
