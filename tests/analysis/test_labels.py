"""Folders, tables and pairs to groups of images, and what is wrong with them, counted."""

import itertools
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lookalike.analysis.adapt import sampled
from lookalike.analysis.labels import Labels, by_folder, from_marks, from_pairs, from_table
from lookalike.errors import SourceError
from lookalike.storage.distinct import pair
from lookalike.storage.marks import put
from lookalike.storage.store import Store
from tests.support.vectors import clustered, make

KEYS = ["a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg", "3.jpg"]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return make(tmp_path / "collection", clustered(5, 8), keys=KEYS)


def table(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "labels.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def groups(labels: Labels) -> dict[int, list[int]]:
    return {number: labels.rows[labels.groups == number].tolist() for number in np.unique(labels.groups).tolist()}


def test_images_of_a_folder_are_a_group_and_those_in_none_are_not_labelled(store: Store) -> None:
    assert groups(by_folder(store)) == {0: [0, 1], 1: [2, 3]}


def test_a_table_names_images_as_meta_does(store: Store, tmp_path: Path) -> None:
    path = table(
        tmp_path, "key,label", "a/1.jpg,x", "./a/2.jpg,x", "B\\1.JPG,y", "nowhere.jpg,y", "3.jpg,", "b/2.jpg,nan"
    )
    labels = from_table(store, path)
    assert groups(labels) == {0: [0, 1], 1: [2], 2: [3]}, "nan is a label where the others are words"
    assert (labels.unknown, labels.contradicting) == (1, 0)


def test_a_label_that_is_no_number_among_numbers_is_none(store: Store, tmp_path: Path) -> None:
    labels = from_table(store, table(tmp_path, "key,label", "a/1.jpg,7", "a/2.jpg,7", "b/1.jpg,nan", "b/2.jpg,8"))
    assert groups(labels) == {0: [0, 1], 1: [3]}


def test_an_image_with_two_labels_is_left_out(store: Store, tmp_path: Path) -> None:
    labels = from_table(store, table(tmp_path, "key,label", "a/1.jpg,x", "a/2.jpg,x", "a/1.jpg,y", "a/2.jpg,x"))
    assert groups(labels) == {0: [1]}
    assert labels.contradicting == 1


def test_the_only_other_column_is_the_label_and_two_are_refused(store: Store, tmp_path: Path) -> None:
    assert groups(from_table(store, table(tmp_path, "file,thing", "a/1.jpg,x"))) == {0: [0]}
    with pytest.raises(SourceError, match=r"no column of labels; name it one of label, .*, not one, two"):
        from_table(store, table(tmp_path, "file,one,two", "a/1.jpg,x,y"))


def test_what_is_the_same_over_any_steps_is_a_group(store: Store, tmp_path: Path) -> None:
    lines = ["a,b,same", "a/1.jpg,a/2.jpg,1", "b/1.jpg,a/2.jpg,1", "b/2.jpg,a/1.jpg,0", "gone.jpg,3.jpg,1"]
    labels = from_pairs(store, table(tmp_path, *lines))
    assert groups(labels) == {0: [0, 1, 2], 1: [3]}
    assert labels.unknown == 1


def test_a_group_in_which_two_are_said_to_differ_is_left_out(store: Store, tmp_path: Path) -> None:
    lines = ["a,b,same", "a/1.jpg,a/2.jpg,yes", "a/2.jpg,b/1.jpg,yes", "a/1.jpg,b/1.jpg,no", "b/2.jpg,3.jpg,yes"]
    labels = from_pairs(store, table(tmp_path, *lines))
    assert groups(labels) == {0: [3, 4]}
    assert labels.contradicting == 3


def test_a_pair_that_says_neither_is_named_with_its_line(store: Store, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="line 3 says 'perhaps' under `same`; write 1 or 0"):
        from_pairs(store, table(tmp_path, "a,b,same", "a/1.jpg,a/2.jpg,yes", "a/1.jpg,3.jpg,perhaps"))
    with pytest.raises(SourceError, match="no column same; pairs have the columns a, b, same"):
        from_pairs(store, table(tmp_path, "a,b", "a/1.jpg,a/2.jpg"))


def test_twenty_thousand_labels_are_read_and_sampled(tmp_path: Path) -> None:
    """A thousand of them name images, and no more are learned from than is allowed."""
    with closing(make(tmp_path / "many", clustered(1000, 8))) as store:
        lines = (f"{number % 10}/{number:06}.jpg,{number // 5}" for number in range(20_000))
        labels = from_table(store, table(tmp_path, "key,label", *lines))
    assert (len(labels.rows), labels.pairs, labels.unknown) == (1000, 200, 19_000)
    fewer = sampled(labels, 600, np.random.default_rng(0))
    assert (len(fewer.rows), fewer.pairs) == (600, 200)
    assert sampled(labels, 100, np.random.default_rng(0)).pairs == 50


PAIRS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.booleans()), max_size=12)


@given(PAIRS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_groups_of_pairs_are_the_connected_ones_without_a_contradiction(
    store: Store, tmp_path: Path, pairs: list[tuple[int, int, bool]]
) -> None:
    """Key 5 is of no image; the same by relabelling until nothing changes."""
    keys = [*KEYS, "gone.jpg"]
    labels = from_pairs(store, table(tmp_path, "a,b,same", *(f"{keys[a]},{keys[b]},{int(s)}" for a, b, s in pairs)))
    known = [pair for pair in pairs if 5 not in pair[:2]]
    names = {row: row for a, b, _ in known for row in (a, b)}
    for _ in range(len(names)):
        for a, b, is_same in known:
            if is_same:
                names[a] = names[b] = min(names[a], names[b])
    wrong = {names[a] for a, b, is_same in known if not is_same and names[a] == names[b]}
    expected = {row: name for row, name in names.items() if name not in wrong}
    assert sorted(labels.rows.tolist()) == sorted(expected)
    for (row, group), (other, second) in itertools.combinations(
        zip(labels.rows.tolist(), labels.groups.tolist(), strict=True), 2
    ):
        assert (group == second) == (expected[row] == expected[other])
    assert labels.unknown == sum((a == 5) + (b == 5) for a, b, _ in pairs)
    assert labels.contradicting == len(names) - len(expected)


def marked(store: Store, *pairs: tuple[str, str, bool]) -> Labels:
    with store.writing():
        for a, b, same in pairs:
            items = [store.catalog.live_item(name) for name in (a, b)]
            put(
                store,
                pair(*[item.sha256 if item else name * 64 for item, name in zip(items, (a, b), strict=True)]),
                same,
            )
    return from_marks(store)


def test_marks_join_images_over_steps_as_pairs_do(store: Store) -> None:
    labels = marked(store, ("a/1.jpg", "a/2.jpg", True), ("a/2.jpg", "b/1.jpg", True), ("b/1.jpg", "3.jpg", False))
    assert sorted(groups(labels).values()) == [[0, 1, 2], [4]]
    assert (labels.unknown, labels.contradicting) == (0, 0)


def test_a_marked_image_that_is_gone_still_joins_the_others(store: Store) -> None:
    labels = marked(store, ("a/1.jpg", "e", True), ("e", "a/2.jpg", True))
    assert groups(labels) == {0: [0, 1]}
    assert labels.unknown == 1


def test_marks_that_contradict_each_other_leave_their_group_out(store: Store) -> None:
    labels = marked(
        *(store, ("a/1.jpg", "a/2.jpg", True), ("a/2.jpg", "b/1.jpg", True), ("b/1.jpg", "a/1.jpg", False)),
        ("b/2.jpg", "3.jpg", True),
    )
    assert groups(labels) == {0: [3, 4]}
    assert labels.contradicting == 3


def test_copies_of_one_content_count_once(tmp_path: Path) -> None:
    with closing(make(tmp_path / "copies", clustered(2, 8), keys=["1.jpg", "2.jpg"])) as copies:
        with copies.writing():
            item = copies.catalog.live_item("1.jpg")
            assert item is not None
            copies.add_many([replace(item, row=-1, key="copy.jpg")], clustered(1, 8), new_keys=True)
        assert groups(marked(copies, ("1.jpg", "2.jpg", True))) == {0: [0, 1]}
