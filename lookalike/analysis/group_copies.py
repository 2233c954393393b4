"""Galleries to groups of copies: candidates by vectors and local features, verified by pixels against the kept one.

Every extra was compared with the image that is kept in its place, as both files are now; so no chain of small changes
makes one group, and nothing is called spare that was not looked at.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from lookalike.analysis import spare
from lookalike.analysis.described import LOCAL, THUMBNAIL, Description, described
from lookalike.analysis.duplicates import Contents, Group, Groups, Level, Member, find
from lookalike.analysis.keep import Quality, ranked, why, with_real_sides
from lookalike.analysis.local_candidates import Candidate, candidates
from lookalike.analysis.local_features import LocalFeatures
from lookalike.analysis.rendition import Rendition, render
from lookalike.analysis.verify_pair import (
    cells,
    explains,
    is_blank,
    may_be_near,
    verdict_mapped,
    verdict_upright,
)
from lookalike.encoders.thumb import Thumbnail
from lookalike.errors import ImageError, QueryError
from lookalike.index.components import Forest
from lookalike.index.self_join import near_pairs
from lookalike.search.searched import SearchedGallery
from lookalike.storage.distinct import Pair, pair
from lookalike.types import Ids, Progress, Vectors

T = TypeVar("T")
CANDIDATE = 0.95
"""The lowest cosine of two `thumbnail` vectors whose pictures are compared; re-encoded and resized copies have it."""
TRIES = 4
"""Maps between two pictures' copies that are tried before the pictures are called different."""
HUBS = 3
"""Units that are tried as the middle of a group, after the one with the most features in common."""
OPEN = 24
"""Decoded pictures that are in memory at once, some 8 MB each."""


@dataclass(frozen=True)
class Rules:
    """How copies are chosen: level, lowest cosine of candidates, which to keep, and pairs that a user told apart.

    With `by_content` the bytes of all files in groups are compared with what was indexed.
    """

    level: Level = "exact"
    threshold: float | None = None
    keep: str = "best"
    apart: frozenset[Pair] = frozenset()
    by_content: bool = False


def copies(galleries: Sequence[SearchedGallery], rules: Rules = Rules(), progress: Progress | None = None) -> Groups:
    """Groups of copies in one gallery, or with images of both of two galleries, largest first, then by key.

    A bare threshold (with level `exact`) groups by cosine alone, and nothing is compared by pixels.
    """
    if rules.level == "exact":
        listed = find(galleries, rules.threshold, progress)
        groups = [_settled(group.members, rules, len(galleries), rules.threshold is None) for group in listed]
        unseen = sum(spare.is_away(member) for group in listed for member in group.members)
    else:
        finder = _Finder(galleries, Contents(galleries), rules, progress)
        groups = list(finder.groups())
        unseen = finder.unseen()
    kept = [group for group in groups if group is not None]
    return Groups(sorted(kept, key=lambda group: (-len(group.members), group.kept.item.key)), unseen)


def _settled(members: Sequence[Member], rules: Rules, galleries: int, is_exact: bool) -> Group | None:
    """A group of files that are there now, without a comparison of pixels; None where no copy is left."""
    level: Level | None = "exact" if is_exact else None
    sound = [replace(member, level=level) for member in spare.sound(members, rules.by_content)]
    order = ranked([Quality.of(member, None) for member in sound], rules.keep)
    if not order:
        return None
    keeper = order[0].member.item.sha256
    apart = [quality for quality in order[1:] if pair(keeper, quality.member.item.sha256) in rules.apart]
    return arranged([quality for quality in order if quality not in apart], rules, galleries)


def arranged(order: Sequence[Quality], rules: Rules, galleries: int) -> Group | None:
    """A group of files in the order in which they are kept; None where nothing in it could go."""
    if not order or order[0].member.collection != 0:
        return None
    # The picture beside a raw file is half of a pair: kept, or not spoken of.
    left = [order[0], *(quality for quality in order[1:] if not spare.is_paired(quality.member.path))]
    members = tuple(
        replace(quality.member, keep=number == 0 if galleries == 1 else quality.member.collection == 0)
        for number, quality in enumerate(left)
    )
    if len(members) < 2 or all(member.keep for member in members):
        return None
    return Group(members, why(left, rules.keep))


@dataclass(frozen=True)
class _Seen:
    """What is remembered of a content after its picture was closed."""

    quality: Quality
    members: tuple[Member, ...]
    pixels: bytes
    cells: NDArray[np.float32]
    is_blank: bool
    side: int


@dataclass(frozen=True)
class _Unit:
    """Contents that are one picture, the one to keep first, and the level of each."""

    order: tuple[tuple[int, Quality], ...]
    levels: dict[int, Level]

    @property
    def leader(self) -> int:
        return self.order[0][0]


@dataclass
class _Finder:
    galleries: Sequence[SearchedGallery]
    contents: Contents
    rules: Rules
    progress: Progress | None
    maps: dict[tuple[int, int], Candidate] = field(default_factory=dict)
    shared: dict[int, int] = field(default_factory=dict)
    similar: dict[tuple[int, int], bool] = field(default_factory=dict)
    failed: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._rendered = lru_cache(OPEN)(self._render)
        self._read: Callable[[Ids], Vectors] = self.contents.vectors

    def groups(self) -> Iterator[Group | None]:
        """Groups of every tree of candidates, and of exact copies that resemble nothing else."""
        forest = Forest(len(self.contents))
        touched = np.zeros(len(self.contents), np.bool_)
        self._join_by_vectors(forest, touched)
        if self.rules.level == "similar":
            self._join_by_features(forest, touched)
        for place in np.flatnonzero(~touched & self.contents.repeated).tolist():
            yield self._exact(place)
        for tree in forest.trees(np.flatnonzero(touched)):
            yield from self._split(tree.tolist())

    def _join_by_vectors(self, forest: Forest, touched: NDArray[np.bool_]) -> None:
        vectors, count = self._vectors(), len(self.contents)
        threshold = CANDIDATE if self.rules.threshold is None else self.rules.threshold
        if not 0 < threshold <= 1:
            raise QueryError(f"a threshold is a cosine above 0 and at most 1, not {threshold:g}")
        if vectors is not None:
            self._read = lambda places: vectors[places]
        if count < 2:
            return
        for a, b, _ in near_pairs(self._read, count, threshold, self.contents.sides, self.progress):
            forest.join(a, b)
            touched[a] = touched[b] = True

    def _vectors(self) -> Vectors | None:
        """`thumbnail` vectors of all contents; None where those of the collection are such."""
        own = Thumbnail().fingerprint
        if all(store.header.fingerprint == own for gallery in self.galleries for store in gallery.stores):
            return None
        made = self._described(THUMBNAIL)
        rows = np.zeros((len(made), Thumbnail().dim), np.float32)
        for place, vector in enumerate(made):
            if vector is not None:
                rows[place] = vector
        return rows

    def _described(self, kind: Description[T]) -> list[T | None]:
        digests = [self.contents.sha256(place) for place in range(len(self.contents))]
        if digests and not any(digests):
            raise QueryError("none of the pictures can be read, and this level compares pictures; use --threshold")
        made = described(kind, digests, self._bytes, self.galleries[0].cache_dir, self.progress)
        self.failed |= {place for place, feature in enumerate(made) if feature is None}
        return made

    def unseen(self) -> int:
        """How many images could not be looked at: of pictures that could not be read, or whose own file is away."""
        images = (member for place in self.failed for member in self.contents.images(place))
        rows = {(member.collection, member.item.row) for member in images}
        for number, gallery in enumerate(self.galleries):
            items = (item for item in gallery.live_items() if (number, item.row) not in rows)
            rows |= {(number, item.row) for item in items if spare.is_away_at(gallery.path_of(item), item)}
        return len(rows)

    def _join_by_features(self, forest: Forest, touched: NDArray[np.bool_]) -> None:
        nothing = LocalFeatures(np.empty((0, 4), np.float32), *(np.empty((0, 32), np.uint8),) * 2)
        features = [feature or nothing for feature in self._described(LOCAL)]
        for candidate in candidates(features, self.progress):
            a, b = candidate.a, candidate.b
            if self.contents.sides[a] | self.contents.sides[b] != 3:
                continue
            # A pair may fit a mirrored map as well, by chance and with fewer features.
            known = self.maps.get((a, b))
            if known is None or known.inliers < candidate.inliers:
                self.maps[a, b] = candidate
            for place in (a, b):
                self.shared[place] = self.shared.get(place, 0) + candidate.inliers
            forest.join(np.array([a]), np.array([b]))
            touched[[a, b]] = True

    def _bytes(self, place: int) -> bytes:
        """The bytes of a content, from the first of its files that still has them; raises ImageError."""
        reason = ImageError("changed since it was indexed")
        for member in self.contents.images(place):
            try:
                data = self.contents.read(member)
            except ImageError as error:
                reason = error
                continue
            if hashlib.sha256(data).hexdigest() == member.item.sha256:
                return data
        raise reason

    def _render(self, place: int) -> Rendition:
        return render(self._bytes(place))

    def _picture(self, place: int) -> Rendition | None:
        """A content's picture; None where it cannot be read any more, as a drive may be unplugged meanwhile."""
        try:
            return self._rendered(place)
        except ImageError:
            self.failed.add(place)
            return None

    def _exact(self, place: int) -> Group | None:
        return _settled(self.contents.images(place), self.rules, len(self.galleries), True)

    def _split(self, places: Sequence[int]) -> Iterator[Group | None]:
        """The groups of one tree: the best picture takes what is verified against it, then the best of the rest."""
        seen: dict[int, _Seen] = {}
        for place in places:
            looked = self._look(place)
            if looked is not None:
                seen[place] = looked
            elif self.contents.repeated[place]:
                yield self._exact(place)
        best = ranked([looked.quality for looked in seen.values()], self.rules.keep)
        places_of = {id(looked.quality): place for place, looked in seen.items()}
        pool, units = [places_of[id(quality)] for quality in best], list[_Unit]()
        while pool:
            units.append(self._taken(pool, seen))
            pool = [place for place in pool if place not in units[-1].levels]
        if self.rules.level == "similar":
            units = self._joined(units, seen)
        for unit in units:
            yield self._group(unit, seen)

    def _joined(self, units: Sequence[_Unit], seen: dict[int, _Seen]) -> list[_Unit]:
        """Units of one picture each, with those that show the same picture cropped, turned or framed."""
        # A screenshot has more pixels than the photo in it, but fewer features in common with other copies.
        rest, joined = sorted(units, key=lambda unit: -max(map(self._shared, unit.levels))), list[_Unit]()
        while rest:
            hub, alike = self._hub(rest)
            levels: dict[int, Level] = dict(hub.levels)
            levels.update({place: "similar" for unit in alike for place in unit.levels})
            order = hub.order + tuple(entry for unit in alike for entry in unit.order)
            joined.append(_Unit(order, levels))
            rest = [unit for unit in rest if unit is not hub and unit not in alike]
        return joined

    def _hub(self, units: Sequence[_Unit]) -> tuple[_Unit, list[_Unit]]:
        """The first unit, or one alike to it that is alike to more, and what is alike to it.

        A photo lies in its screenshot and in its frame, but neither of the two shows enough of the other.
        """
        hub, alike = units[0], self._alike(units[0], units)
        left = [unit for unit in units[1:] if unit not in alike and any(self._maps(unit, other) for other in alike)]
        for unit in sorted(alike, key=lambda unit: -len(unit.levels))[: HUBS if left else 0]:
            gained = self._alike(unit, left)
            kept = self._alike(unit, [units[0], *alike]) if gained else []
            if len(gained) + len(kept) > len(alike):
                return unit, [other for other in units if other in kept or other in gained]
        return hub, alike

    def _alike(self, unit: _Unit, units: Sequence[_Unit]) -> list[_Unit]:
        return [other for other in units if other is not unit and self._are_similar(unit, other)]

    def _are_similar(self, a: _Unit, b: _Unit) -> bool:
        """Whether some picture of one, mapped onto one of the other, shows the same; each pair is looked at once."""
        both = (min(a.leader, b.leader), max(a.leader, b.leader))
        if both not in self.similar:
            self.similar[both] = self._shows_the_same(a, b)
        return self.similar[both]

    def _shows_the_same(self, a: _Unit, b: _Unit) -> bool:
        mapped = self._maps(a, b)
        if not mapped or any(self._are_apart(x, y) for x in a.levels for y in b.levels):
            return False
        return any(self._fits(candidate) for candidate in mapped[:TRIES])

    def _fits(self, candidate: Candidate) -> bool:
        a, b = self._picture(candidate.a), self._picture(candidate.b)
        return a is not None and b is not None and verdict_mapped(a, b, candidate.matrix) is not None

    def _maps(self, a: _Unit, b: _Unit) -> list[Candidate]:
        """Maps between pictures of both, the surest first: a copy of a third of the size has few features."""
        pairs = ((min(x, y), max(x, y)) for x in a.levels for y in b.levels)
        return sorted(
            (self.maps[both] for both in pairs if both in self.maps), key=lambda candidate: -candidate.inliers
        )

    def _are_apart(self, a: int, b: int) -> bool:
        return pair(self.contents.sha256(a), self.contents.sha256(b)) in self.rules.apart

    def _shared(self, place: int) -> int:
        """How much a content has in common with all others, in steps of a half; 0 where features are not compared."""
        return int(np.log(1 + self.shared.get(place, 0)) / np.log(1.5))

    def _look(self, place: int) -> _Seen | None:
        """Open a content's picture; None where no file of it is as it was indexed, or it cannot be decoded."""
        members = spare.sound(self.contents.images(place), self.rules.by_content)
        picture = self._picture(place)
        if picture is None or not members:
            return None
        order = ranked([Quality.of(member, picture) for member in members], self.rules.keep)
        sha256 = self.contents.sha256(place)
        if (sha256, sha256) in self.rules.apart:
            order = order[:1]
        sorted_members = tuple(quality.member for quality in order)
        return _Seen(
            order[0],
            sorted_members,
            picture.pixels,
            cells(picture),
            is_blank(picture),
            max(picture.width, picture.height),
        )

    def _taken(self, pool: Sequence[int], seen: dict[int, _Seen]) -> _Unit:
        """The best picture of the pool, with what is verified against it."""
        leader = pool[0]
        levels = self._verified(leader, pool[1:], seen)
        order = self._ranked([leader, *levels], seen)
        keeper = order[0][0]
        if keeper != leader:
            levels = self._verified(keeper, [leader, *levels], seen)
        order = [(place, quality) for place, quality in order if place == keeper or place in levels]
        return _Unit(tuple(order), {keeper: "exact", **levels})

    def _ranked(self, places: Sequence[int], seen: dict[int, _Seen]) -> list[tuple[int, Quality]]:
        """Contents with the size that their detail really fills, the one to keep first."""
        owners = {id(seen[place].quality.member): place for place in places}

        def shown(small: Quality, large: Quality) -> bool:
            a, b = (self._picture(owners[id(quality.member)]) for quality in (small, large))
            return a is not None and b is not None and explains(a, b)

        order = ranked(with_real_sides([seen[place].quality for place in places], shown), self.rules.keep)
        return [(owners[id(quality.member)], quality) for quality in order]

    def _verified(self, keeper: int, others: Sequence[int], seen: dict[int, _Seen]) -> dict[int, Level]:
        """Those of the others that are copies of the keeper, and at which level."""
        if not others:
            return {}
        likely = self._likely(keeper, others, seen)
        levels = {other: self._verdict(keeper, other, other in likely, seen) for other in others}
        return {other: level for other, level in levels.items() if level is not None}

    def _likely(self, keeper: int, others: Sequence[int], seen: dict[int, _Seen]) -> set[int]:
        """Those of the others that may be the same picture upright, by their vectors and a coarse grid."""
        threshold = CANDIDATE if self.rules.threshold is None else self.rules.threshold
        cosines = self._read(np.array(others)) @ self._read(np.array([keeper]))[0]
        close = [others[at] for at in np.flatnonzero(cosines >= threshold - 1e-6).tolist()]
        if not close:
            return set()
        smaller = np.array([min(seen[keeper].side, seen[other].side) for other in close])
        may_be = may_be_near(seen[keeper].cells, np.stack([seen[other].cells for other in close]), smaller)
        return {other for other, near in zip(close, may_be, strict=True) if near}

    def _verdict(self, a: int, b: int, may_be: bool, seen: dict[int, _Seen]) -> Level | None:
        if self._are_apart(a, b):
            return None
        if seen[a].pixels == seen[b].pixels:
            return "same"
        if self.rules.level == "same" or seen[a].is_blank or seen[b].is_blank:
            return None
        if not may_be:
            return None
        keeper, other = self._picture(a), self._picture(b)
        return verdict_upright(keeper, other) if keeper is not None and other is not None else None

    def _group(self, unit: _Unit, seen: dict[int, _Seen]) -> Group | None:
        vectors = self._read(np.array([place for place, _ in unit.order]))
        scores = np.clip(vectors @ vectors[0], -1, 1).tolist()
        files: list[Quality] = []
        for (place, quality), score in zip(unit.order, scores, strict=True):
            level = unit.levels[place]
            members = (replace(member, score=score, level=level) for member in seen[place].members)
            files += [replace(quality, member=member) for member in members]
        return arranged(self._each_once(files), self.rules, len(self.galleries))

    def _each_once(self, files: Sequence[Quality]) -> list[Quality]:
        """One name of each file: a link may lie among the copies of another content that it was before."""
        left = {id(member) for member in spare.sound([quality.member for quality in files])}
        return [quality for quality in files if id(quality.member) in left]
