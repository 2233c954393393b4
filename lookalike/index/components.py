"""Connections between rows, or between names, to connected components."""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from itertools import chain
from typing import TypeVar

import numpy as np

from lookalike.types import Ids

Name = TypeVar("Name", bound=Hashable)


class Forest:
    """The connected components of `count` rows: union-find on whole arrays; the root of a tree is its lowest row."""

    def __init__(self, count: int) -> None:
        self._parents = np.arange(count)

    def join(self, a: Ids, b: Ids) -> None:
        """Connect each row of `a` with the row of `b` at the same position."""
        while len(a):
            a, b = self.roots(a), self.roots(b)
            apart = a != b
            a, b = a[apart], b[apart]
            np.minimum.at(self._parents, np.maximum(a, b), np.minimum(a, b))

    def roots(self, rows: Ids) -> Ids:
        """The root of each row."""
        start, above = rows, self._parents[rows]
        while (above != rows).any():
            rows, above = above, self._parents[above]
        self._parents[start] = rows
        return rows

    def trees(self, rows: Ids) -> Iterator[Ids]:
        """`rows` split by their tree."""
        roots = self.roots(rows)
        order = np.argsort(roots, kind="stable")
        starts = np.flatnonzero(np.diff(roots[order])) + 1
        yield from (tree for tree in np.split(rows[order], starts) if len(tree))


def components(groups: Iterable[Sequence[Name]]) -> dict[Name, int]:
    """Names, in the order in which they are met, to the number of their component: those of one group are connected.

    Examples
    --------
    >>> components([("a", "b"), ("c",), ("d", "b")])
    {'a': 0, 'b': 0, 'c': 2, 'd': 0}
    """
    each = list(groups)
    numbers = {name: number for number, name in enumerate(dict.fromkeys(chain.from_iterable(each)))}
    pairs = [(numbers[group[0]], numbers[name]) for group in each for name in group[1:]]
    forest = Forest(len(numbers))
    forest.join(*np.array(pairs, np.int64).reshape(-1, 2).T)
    return dict(zip(numbers, forest.roots(np.arange(len(numbers))).tolist(), strict=True))
