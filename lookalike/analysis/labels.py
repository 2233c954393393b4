"""What people know of their images (folders, a table, pairs) to groups of images of the same thing."""

import math
import posixpath
from collections.abc import Hashable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import SourceError
from lookalike.index.components import components
from lookalike.storage.marks import marks
from lookalike.storage.metadata import KEYS, Line, key_column, lines
from lookalike.storage.names import Names
from lookalike.storage.store import Item, Store
from lookalike.types import Ids

Name = TypeVar("Name", int, str)
"""What names an image: its row, or its content."""
LABELS = ("label", "group", "class", "identity")
"""Columns that say what an image shows; the first that exists is taken."""
PAIRS = ("a", "b", "same")
SAME = {"1": True, "true": True, "yes": True, "same": True, "0": False, "false": False, "no": False, "different": False}


@dataclass(frozen=True)
class Labels:
    """Rows (n,) and the number of the group of each; images of one group show the same thing.

    `unknown` names are of no image here; `contradicting` images have two labels, or are the same as an image that they
    differ from, and are left out.
    """

    rows: Ids
    groups: NDArray[np.int64]
    unknown: int = 0
    contradicting: int = 0

    def without(self, left_out: Any) -> "Labels":
        """The same without some images, by a mask (n,)."""
        return Labels(self.rows[~left_out], self.groups[~left_out], self.unknown, self.contradicting)

    @property
    def pairs(self) -> int:
        """How many groups have two images or more."""
        return int((np.unique(self.groups, return_counts=True)[1] > 1).sum())


def by_folder(store: Store) -> Labels:
    """Images of one folder are a group; those that lie in none are not labelled."""
    labels = {item.row: posixpath.dirname(item.key) for item in store.catalog.live_items()}
    return _numbered({row: label for row, label in labels.items() if label})


def from_table(store: Store, path: Path) -> Labels:
    """A CSV or Parquet file: a column names images as `index --meta` has it, another says what they show."""
    labels: dict[int, Hashable] = {}
    unknown, contradicting = 0, set[int]()
    with closing(Names(store)) as names:
        for name, label in _labelled(lines(path), path):
            row = names.row(name)
            if row is None:
                unknown += 1
            elif labels.setdefault(row, label) != label:
                contradicting.add(row)
    kept = {row: label for row, label in labels.items() if row not in contradicting}
    return _numbered(kept, unknown, len(contradicting))


def _labelled(stream: Iterator[Line], path: Path) -> Iterator[tuple[str, str]]:
    """(name, label) of the lines that have a label."""
    columns: tuple[str, str] | None = None
    for line in stream:
        columns = columns or (key_column(line, path), _label_column(line, path))
        label = line[columns[1]]
        if not _is_missing(label):
            yield str(line[columns[0]]), str(label)


def _label_column(line: Line, path: Path) -> str:
    named = [name for name in LABELS if name in line]
    others = [name for name in line if name not in KEYS]
    if not named and len(others) != 1:
        raise SourceError(f"{path}: no column of labels; name it one of {', '.join(LABELS)}, not {', '.join(others)}")
    return (named or others)[0]


def _is_missing(value: object) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def from_pairs(store: Store, path: Path) -> Labels:
    """A CSV or Parquet file with columns a, b and same (1 or 0): what is the same, over any steps, is a group.

    Where two images of a group are said to differ, the whole group is left out.
    """
    known: list[tuple[int, int, bool]] = []
    unknown = 0
    with closing(Names(store)) as names:
        for a, b, is_same in _pairs(lines(path), path):
            rows = names.row(a), names.row(b)
            unknown += rows.count(None)
            if rows[0] is not None and rows[1] is not None:
                known.append((rows[0], rows[1], is_same))
    kept, contradicting = _joined(known)
    return _numbered(kept, unknown, contradicting)


def from_marks(store: Store) -> Labels:
    """What a user marked as the same thing or not, to groups as those of `from_pairs`.

    Of copies of one content one counts: they are the same without any label. An image that is gone still joins others.
    """
    joined, _ = _joined((*mark.pair, mark.same) for mark in marks(store))
    rows = {items[0].row: joined[sha256] for sha256 in joined if (items := _live(store, sha256))}
    contents = {sha256 for mark in marks(store) for sha256 in mark.pair}
    contradicting = [sha256 for sha256 in contents if sha256 not in joined and _live(store, sha256)]
    return _numbered(rows, len(contents) - len(rows) - len(contradicting), len(contradicting))


def _live(store: Store, sha256: str) -> list[Item]:
    return [item for item in store.catalog.items_of_content(sha256) if not item.removed]


def _joined(pairs: Iterable[tuple[Name, Name, bool]]) -> tuple[dict[Name, int], int]:
    """The number of the group of each image, and how many are in groups whose pairs contradict each other."""
    known = list(pairs)
    numbers = components(group for a, b, is_same in known for group in ([(a, b)] if is_same else [(a,), (b,)]))
    wrong = {numbers[a] for a, b, is_same in known if not is_same and numbers[a] == numbers[b]}
    kept = {image: number for image, number in numbers.items() if number not in wrong}
    return kept, len(numbers) - len(kept)


def _pairs(stream: Iterable[Line], path: Path) -> Iterator[tuple[str, str, bool]]:
    for number, line in enumerate(stream, 2):
        missing = [name for name in PAIRS if name not in line]
        if missing:
            raise SourceError(f"{path}: no column {missing[0]}; pairs have the columns {', '.join(PAIRS)}")
        word = str(line["same"]).strip().lower().removesuffix(".0")
        if word not in SAME:
            raise SourceError(f"{path}: line {number} says {line['same']!r} under `same`; write 1 or 0")
        yield str(line["a"]), str(line["b"]), SAME[word]


def _numbered(labels: Mapping[int, Hashable], unknown: int = 0, contradicting: int = 0) -> Labels:
    numbers = {label: number for number, label in enumerate(dict.fromkeys(labels.values()))}
    rows = np.array(sorted(labels), np.int64)
    groups = np.array([numbers[labels[row]] for row in rows.tolist()], np.int64)
    return Labels(rows, groups, unknown, contradicting)
