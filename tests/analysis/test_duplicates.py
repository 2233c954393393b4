import csv
import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from lookalike.analysis import duplicates
from lookalike.analysis.duplicates import Group, find, threshold_for
from lookalike.collection.collection import Collection
from lookalike.errors import EncoderMismatch, QueryError
from lookalike.storage.maintenance.transfer import import_vectors
from lookalike.storage.store import Item
from lookalike.types import Ids, Vectors


@dataclass
class Shelf:
    """What `find` asks of a collection; images are (key, content, angle of the vector, side in pixels, age)."""

    images: Sequence[tuple[str, str, float, int, int]]

    def live_items(self) -> Iterator[Item]:
        yield from map(self.item, range(len(self.images)))

    def item(self, row: int) -> Item:
        key, content, _, side, age = self.images[row]
        sha256 = hashlib.sha256(content.encode()).hexdigest()
        return Item(row, 1, key, len(content), 1000 - age, sha256, side, side)

    def path(self, row: int) -> Path | None:
        return Path("/photos") / self.images[row][0]

    def vectors(self, ids: Ids) -> Vectors:
        radians = np.radians([self.images[row][2] for row in ids.tolist()])
        return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


def keys(groups: list[Group]) -> list[list[str]]:
    return [[member.item.key for member in group.members] for group in groups]


def test_exact_duplicates_have_the_same_bytes_whatever_their_vectors() -> None:
    shelf = Shelf([("a", "one", 0, 9, 0), ("b", "two", 0, 9, 0), ("c", "one", 90, 9, 0)])
    assert keys(find([shelf])) == [["a", "c"]]


def test_imported_vectors_are_copies_by_their_cosine_alone(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.array([[1, 0], [0, 1], [1, 0.01]]))
    (tmp_path / "names").write_text("a\nb\nc\n")
    for name in ("one", "other"):
        import_vectors(tmp_path / "v.npy", tmp_path / name, tmp_path / "names")
    with Collection(tmp_path / "one") as one, Collection(tmp_path / "other") as other:
        assert one.duplicates() == one.duplicates(other=other) == []
        assert keys(one.duplicates(threshold=0.99)) == [["a", "c"]]
        assert ["b", "b"] in keys(one.duplicates(threshold=0.99, other=other))


def test_near_duplicates_take_exact_copies_with_them() -> None:
    shelf = Shelf([("a", "one", 0, 9, 0), ("b", "two", 5, 9, 0), ("c", "one", 0, 9, 0), ("d", "far", 90, 9, 0)])
    (group,) = find([shelf], 0.99)
    assert sorted(member.item.key for member in group.members) == ["a", "b", "c"]


def test_exact_copies_that_resemble_nothing_else_are_a_group_of_their_own() -> None:
    shelf = Shelf([("a", "one", 0, 9, 0), ("b", "two", 5, 9, 0), ("c", "far", 90, 9, 0), ("d", "far", 90, 9, 0)])
    assert keys(find([shelf], 0.99)) == [["a", "b"], ["c", "d"]]


def test_the_largest_is_kept_then_the_oldest() -> None:
    shelf = Shelf([("small-old", "1", 0, 9, 9), ("large-new", "2", 1, 20, 1), ("large-old", "3", 2, 20, 5)])
    (group,) = find([shelf], 0.99)
    assert group.kept.item.key == "large-old"
    assert [member.item.key for member in group.extras] == ["large-new", "small-old"]


def test_an_unknown_age_is_not_the_oldest() -> None:
    shelf = Shelf([("url", "1", 0, 9, 1001), ("file", "1", 0, 9, 0)])
    assert shelf.item(0).mtime_ns == -1
    (group,) = find([shelf])
    assert group.kept.item.key == "file"


def test_the_score_is_the_cosine_to_the_middle_of_the_group() -> None:
    shelf = Shelf([("left", "1", -8, 9, 0), ("middle", "2", 0, 9, 0), ("right", "3", 8, 9, 0)])
    (group,) = find([shelf], 0.98)
    scores = {member.item.key: member.score for member in group.members}
    assert scores == {"left": pytest.approx(0.99027, abs=1e-5), "middle": 1, "right": pytest.approx(0.99027, abs=1e-5)}


def test_groups_come_largest_first() -> None:
    shelf = Shelf(
        [(f"{content}{n}", content, 0, 9, 0) for content, count in (("a", 2), ("b", 3)) for n in range(count)]
    )
    assert keys(find([shelf])) == [["b0", "b1", "b2"], ["a0", "a1"]]


def test_between_two_collections_only_groups_across_are_found_and_the_first_is_kept() -> None:
    first = Shelf(
        [("a", "one", 0, 9, 0), ("a-copy", "one", 0, 9, 0), ("twin", "own", 90, 9, 0), ("twin2", "own", 90, 9, 0)]
    )
    second = Shelf(
        [("b", "one", 0, 50, 9), ("c", "like", 3, 50, 9), ("solo", "x", 200, 9, 0), ("solo2", "x", 200, 9, 0)]
    )
    (exact,) = find([first, second])
    assert [(member.collection, member.item.key, member.keep) for member in exact.members] == [
        (0, "a", True), (0, "a-copy", True), (1, "b", False),
    ]  # fmt: skip
    (near,) = find([first, second], 0.99)
    assert {member.item.key for member in near.extras} == {"b", "c"}
    assert not any(member.keep for member in near.members if member.collection == 1)


def test_two_images_of_the_second_collection_alone_are_not_a_group() -> None:
    first = Shelf([("a", "1", 180, 9, 0)])
    second = Shelf([("b", "2", 0, 9, 0), ("c", "3", 1, 9, 0)])
    assert find([first, second], 0.99) == []


def test_an_empty_collection_has_no_duplicates() -> None:
    assert find([Shelf([])]) == find([Shelf([])], 0.9) == find([Shelf([]), Shelf([])], 0.9) == []


def test_vectors_of_two_sizes_are_not_compared() -> None:
    class Wide(Shelf):
        def vectors(self, ids: Ids) -> Vectors:
            return np.eye(3, dtype=np.float32)[np.zeros(len(ids), np.int64)]

    with pytest.raises(EncoderMismatch, match="different encoders"):
        find([Shelf([("a", "1", 0, 9, 0)]), Wide([("b", "2", 0, 9, 0)])], 0.9)


def test_three_collections_are_refused() -> None:
    with pytest.raises(QueryError, match="not 3"):
        find([Shelf([])] * 3)


def test_levels_have_thresholds_where_they_were_measured() -> None:
    assert threshold_for("dinov2-base", "exact") is None
    near, similar = threshold_for("thumbnail", "near"), threshold_for("thumbnail", "similar")
    assert near is not None
    assert similar is not None
    assert similar < near < 1
    with pytest.raises(QueryError, match="give --threshold"):
        threshold_for("dinov2-base", "near")


GROUPS = [("a,1.jpg", "one", 0, 9, 9), ("b\udcff.jpg", "one", 0, 9, 0), ("c", "alone", 90, 9, 0)]


def test_json_tells_what_could_go() -> None:
    file = io.StringIO()
    duplicates.write_json(find([Shelf(GROUPS)]), file)
    told = json.loads(file.getvalue())
    assert (told["images"], told["extras"], told["extra_bytes"]) == (2, 1, 3)
    assert [(row["key"], row["suggestion"], row["score"]) for row in told["groups"][0]] == [
        ("a,1.jpg", "keep", 1.0), ("b\udcff.jpg", "extra", 1.0),
    ]  # fmt: skip


def test_csv_has_an_image_a_line() -> None:
    file = io.StringIO()
    duplicates.write_csv(find([Shelf(GROUPS)]), file)
    rows = list(csv.DictReader(io.StringIO(file.getvalue())))
    assert [(row["group"], row["suggestion"], row["key"]) for row in rows] == [
        ("1", "keep", "a,1.jpg"), ("1", "extra", "b\udcff.jpg"),
    ]  # fmt: skip


def test_paths_are_those_of_the_extras() -> None:
    assert list(duplicates.extra_paths(find([Shelf(GROUPS)]))) == [Path("/photos/b\udcff.jpg")]
