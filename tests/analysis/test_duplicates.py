import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
import pytest

from lookalike.analysis import duplicates
from lookalike.analysis.duplicates import Group, find
from lookalike.collection.collection import Collection
from lookalike.errors import EncoderMismatch, QueryError
from lookalike.search.gallery import StoredGallery
from lookalike.storage import store
from lookalike.storage.maintenance.transfer import import_vectors
from lookalike.storage.manifest import Header
from lookalike.storage.store import Item
from tests.support.vectors import FINGERPRINT

Entry = tuple[str, str, float, int, int]
"""Key, content, angle of the vector in degrees, side in pixels, age."""
Shelf = Callable[..., StoredGallery]


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    """Makes a gallery of images in /photos; the vectors lie in the first two of `dim` dimensions."""
    with ExitStack() as stack:

        def fill(entries: Sequence[Entry], dim: int = 2) -> StoredGallery:
            folder = tmp_path / f"shelf-{len(list(tmp_path.iterdir()))}"
            opened_store = stack.enter_context(closing(store.create(folder, Header("angles", FINGERPRINT, dim))))
            radians = np.radians([angle for _, _, angle, _, _ in entries])
            vectors = np.zeros((len(entries), dim), np.float32)
            vectors[:, 0], vectors[:, 1] = np.cos(radians), np.sin(radians)
            with opened_store.writing():
                opened_store.catalog.add_source("/photos", "")
                opened_store.add_many([item(*entry) for entry in entries], vectors, new_keys=True)
            return StoredGallery(opened_store)

        yield fill


def item(key: str, content: str, _: float, side: int, age: int) -> Item:
    return Item(-1, 1, key, len(content), 1000 - age, hashlib.sha256(content.encode()).hexdigest(), side, side)


def keys(groups: list[Group]) -> list[list[str]]:
    return [[member.item.key for member in group.members] for group in groups]


def test_exact_duplicates_have_the_same_bytes_whatever_their_vectors(shelf: Shelf) -> None:
    gallery = shelf([("a", "one", 0, 9, 0), ("b", "two", 0, 9, 0), ("c", "one", 90, 9, 0)])
    assert keys(find([gallery])) == [["a", "c"]]


def test_imported_vectors_are_copies_by_their_cosine_alone(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.array([[1, 0], [0, 1], [1, 0.01]]))
    (tmp_path / "names").write_text("a\nb\nc\n")
    for name in ("first", "second"):
        import_vectors(tmp_path / "v.npy", tmp_path / name, tmp_path / "names")
    with Collection(tmp_path / "first") as first, Collection(tmp_path / "second") as second:
        assert first.duplicates() == first.duplicates(other=second) == []
        assert keys(first.duplicates(threshold=0.99)) == [["a", "c"]]
        assert ["b", "b"] in keys(first.duplicates(threshold=0.99, other=second))


def test_near_duplicates_take_exact_copies_with_them(shelf: Shelf) -> None:
    gallery = shelf([("a", "one", 0, 9, 0), ("b", "two", 5, 9, 0), ("c", "one", 0, 9, 0), ("d", "far", 90, 9, 0)])
    (group,) = find([gallery], 0.99)
    assert sorted(member.item.key for member in group.members) == ["a", "b", "c"]


def test_exact_copies_that_resemble_nothing_else_are_a_group_of_their_own(shelf: Shelf) -> None:
    gallery = shelf([("a", "one", 0, 9, 0), ("b", "two", 5, 9, 0), ("c", "far", 90, 9, 0), ("d", "far", 90, 9, 0)])
    assert keys(find([gallery], 0.99)) == [["a", "b"], ["c", "d"]]


def test_the_largest_is_kept_then_the_oldest(shelf: Shelf) -> None:
    gallery = shelf([("small-old", "1", 0, 9, 9), ("large-new", "2", 1, 20, 1), ("large-old", "3", 2, 20, 5)])
    (group,) = find([gallery], 0.99)
    assert group.kept.item.key == "large-old"
    assert [member.item.key for member in group.extras] == ["large-new", "small-old"]


def test_an_unknown_age_is_not_the_oldest(shelf: Shelf) -> None:
    gallery = shelf([("url", "1", 0, 9, 1001), ("file", "1", 0, 9, 0)])
    assert gallery.item(0).mtime_ns == -1
    (group,) = find([gallery])
    assert group.kept.item.key == "file"


def test_the_score_is_the_cosine_to_the_middle_of_the_group(shelf: Shelf) -> None:
    gallery = shelf([("left", "1", -8, 9, 0), ("middle", "2", 0, 9, 0), ("right", "3", 8, 9, 0)])
    (group,) = find([gallery], 0.98)
    scores = {member.item.key: member.score for member in group.members}
    assert scores == {"left": pytest.approx(0.99027, abs=1e-5), "middle": 1, "right": pytest.approx(0.99027, abs=1e-5)}


def test_groups_come_largest_first(shelf: Shelf) -> None:
    gallery = shelf(
        [(f"{content}{n}", content, 0, 9, 0) for content, count in (("a", 2), ("b", 3)) for n in range(count)]
    )
    assert keys(find([gallery])) == [["b0", "b1", "b2"], ["a0", "a1"]]


def test_between_two_collections_only_groups_across_are_found_and_the_first_is_kept(shelf: Shelf) -> None:
    first = shelf(
        [("a", "one", 0, 9, 0), ("a-copy", "one", 0, 9, 0), ("twin", "own", 90, 9, 0), ("twin2", "own", 90, 9, 0)]
    )
    second = shelf(
        [("b", "one", 0, 50, 9), ("c", "like", 3, 50, 9), ("solo", "x", 200, 9, 0), ("solo2", "x", 200, 9, 0)]
    )
    (exact,) = find([first, second])
    assert [(member.collection, member.item.key, member.keep) for member in exact.members] == [
        (0, "a", True), (0, "a-copy", True), (1, "b", False),
    ]  # fmt: skip
    (near,) = find([first, second], 0.99)
    assert {member.item.key for member in near.extras} == {"b", "c"}
    assert not any(member.keep for member in near.members if member.collection == 1)


def test_two_images_of_the_second_collection_alone_are_not_a_group(shelf: Shelf) -> None:
    first = shelf([("a", "1", 180, 9, 0)])
    second = shelf([("b", "2", 0, 9, 0), ("c", "3", 1, 9, 0)])
    assert find([first, second], 0.99) == []


def test_an_empty_collection_has_no_duplicates(shelf: Shelf) -> None:
    assert find([shelf([])]) == find([shelf([])], 0.9) == find([shelf([]), shelf([])], 0.9) == []


def test_vectors_of_two_sizes_are_not_compared(shelf: Shelf) -> None:
    with pytest.raises(EncoderMismatch, match="different encoders"):
        find([shelf([("a", "1", 0, 9, 0)]), shelf([("b", "2", 0, 9, 0)], dim=3)], 0.9)


def test_three_collections_are_refused(shelf: Shelf) -> None:
    with pytest.raises(QueryError, match="not 3"):
        find([shelf([])] * 3)


GROUPS = [("a,1.jpg", "one", 0, 9, 9), ("b\udcff.jpg", "one", 0, 9, 0), ("c", "alone", 90, 9, 0)]


def test_json_lists_the_groups_and_their_totals(shelf: Shelf) -> None:
    file = io.StringIO()
    duplicates.write_json(find([shelf(GROUPS)]), file)
    document = json.loads(file.getvalue())
    assert (document["images"], document["extras"], document["extra_bytes"]) == (2, 1, 3)
    assert [(row["key"], row["suggestion"], row["score"]) for row in document["groups"][0]] == [
        ("a,1.jpg", "keep", 1.0), ("b\udcff.jpg", "extra", 1.0),
    ]  # fmt: skip


def test_csv_has_an_image_a_line(shelf: Shelf) -> None:
    file = io.StringIO()
    duplicates.write_csv(find([shelf(GROUPS)]), file)
    rows = list(csv.DictReader(io.StringIO(file.getvalue())))
    assert [(row["group"], row["suggestion"], row["key"]) for row in rows] == [
        ("1", "keep", "a,1.jpg"), ("1", "extra", "b\udcff.jpg"),
    ]  # fmt: skip


def test_paths_are_those_of_the_extras(shelf: Shelf) -> None:
    assert list(duplicates.extra_paths(find([shelf(GROUPS)]))) == [Path("/photos/b\udcff.jpg")]
