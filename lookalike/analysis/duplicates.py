"""Collections to groups of images that are copies of each other, with a suggestion which to keep."""

import csv
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import EncoderMismatch, QueryError
from lookalike.index.self_join import Star, stars
from lookalike.storage.store import Item
from lookalike.types import Ids, Progress, Vectors

Level = Literal["exact", "near", "similar"]
UNKNOWN_AGE = 1 << 63
FIELDS = ("group", "suggestion", "key", "path", "score", "width", "height", "bytes", "sha256")


@dataclass(frozen=True)
class Thresholds:
    """Cosines from which two images are duplicates: measured with benchmarks/duplicates.py.

    `near` is as strict as finding 99.5 % of the re-encoded and the resized copies allows: the same picture in another
    file. `similar` is as loose as 99 % of the found pairs being right allows: also cropped or written on.
    """

    near: float
    similar: float


THRESHOLDS = {"thumbnail": Thresholds(near=0.97, similar=0.88)}


class Catalogued(Protocol):
    """What is asked of a collection."""

    def live_items(self) -> Iterator[Item]:
        """Its images in the order of their rows."""
        ...

    def item(self, row: int) -> Item:
        """The image in a row."""
        ...

    def path(self, row: int) -> Path | None:
        """The file of a row; None for a member of an archive and for a URL."""
        ...

    def vectors(self, ids: Ids) -> Vectors:
        """The stored unit rows (len(ids), dim)."""
        ...


@dataclass(frozen=True)
class Member:
    """One image of a group. `score` is its cosine to the group's centre; `collection` counts from 0."""

    item: Item
    path: Path | None
    collection: int
    score: float
    keep: bool


@dataclass(frozen=True)
class Group:
    """Copies of one picture: those to keep first, best first."""

    members: tuple[Member, ...]

    @property
    def kept(self) -> Member:
        """The one to keep (of several collections: the best of the first)."""
        return self.members[0]

    @property
    def extras(self) -> tuple[Member, ...]:
        """Those that could go."""
        return tuple(member for member in self.members if not member.keep)


def threshold_for(encoder: str, level: Level) -> float | None:
    """The threshold of a level, None for `exact`; raises QueryError where none was measured for the encoder."""
    if level == "exact":
        return None
    name = encoder.partition("@")[0]
    if name not in THRESHOLDS:
        raise QueryError(
            f"no measured threshold for level {level} with {name} (there is one for {', '.join(THRESHOLDS)}); "
            "give --threshold, or use --level exact"
        )
    return float(getattr(THRESHOLDS[name], level))


def find(
    collections: Sequence[Catalogued], threshold: float | None = None, progress: Progress | None = None
) -> list[Group]:
    """Groups of duplicates in one collection, or those that reach from the first of two into the second.

    Without a threshold, duplicates have the same bytes; with one, also a cosine of at least that, of every member to
    the centre of its group (see `alike.stars`). Suggested to be kept is the image with the most pixels, of these the
    oldest; of two collections everything in the first is kept. Groups come largest first, then by key. Raises
    QueryError, and EncoderMismatch where vectors of two sizes cannot be compared; that they are of one encoder is the
    caller's to see to.
    """
    contents = _Contents(collections)
    found = contents.stars(threshold, progress) if threshold is not None else []
    alone = np.ones(len(contents), np.bool_)
    groups = []
    for star in found:
        alone[[star.centre, *star.members]] = False
        places = [star.centre, *star.members.tolist()]
        groups.append(contents.group(places, [1.0, *star.scores.tolist()]))
    groups += [contents.group([place], [1.0]) for place in np.flatnonzero(alone & contents.repeated).tolist()]
    return sorted(groups, key=lambda group: (-len(group.members), group.kept.item.key))


class _Contents:
    """The different contents of the collections, each with its images; positions count the contents."""

    def __init__(self, collections: Sequence[Catalogued]) -> None:
        if not 1 <= len(collections) <= 2:
            raise QueryError(f"duplicates are looked for in one collection or between two, not {len(collections)}")
        self._collections = collections
        owners, rows, digests = _read_catalogs(collections)
        order = np.lexsort((rows, owners, *digests.T))
        fresh = np.ones(len(order), np.bool_)
        fresh[1:] = (digests[order][1:] != digests[order][:-1]).any(axis=1)
        starts = np.flatnonzero(fresh)
        sides = np.zeros(len(starts), np.uint8)
        if len(starts):
            flags = owners[order] + 1 if len(collections) == 2 else np.full(len(order), 3, np.uint8)
            sides = np.bitwise_or.reduceat(flags, starts).astype(np.uint8)
        # By side, so that whole blocks can be passed over; then by row, so that reading runs along the file.
        places = np.lexsort((rows[order][starts], owners[order][starts], sides))
        self.sides: NDArray[np.uint8] = sides[places]
        self._starts, self._ends = starts[places], np.append(starts[1:], len(order))[places]
        self._owners, self._rows = owners[order], rows[order]
        self.repeated: NDArray[np.bool_] = (self._ends - self._starts > 1) & (self.sides == 3)

    def __len__(self) -> int:
        return len(self._starts)

    def stars(self, threshold: float, progress: Progress | None) -> list[Star]:
        """Groups of different contents that look alike."""
        return stars(self._vectors, len(self), threshold, self.sides, progress)

    def _vectors(self, places: Ids) -> Vectors:
        firsts = self._starts[places]
        owners, rows = self._owners[firsts], self._rows[firsts]
        parts = [(owners == number, collection) for number, collection in enumerate(self._collections)]
        read = [(mine, collection.vectors(rows[mine])) for mine, collection in parts if mine.any()]
        if len({vectors.shape[1] for _, vectors in read}) > 1:
            raise EncoderMismatch("the two collections were made with different encoders; index one of them again")
        if len(read) == 1:
            return read[0][1]
        merged = np.empty((len(places), read[0][1].shape[1]), np.float32)
        for mine, vectors in read:
            merged[mine] = vectors
        return merged

    def group(self, places: Sequence[int], scores: Sequence[float]) -> Group:
        """The images of these contents, the one to keep first."""
        found = []
        for place, score in zip(places, scores, strict=True):
            for at in range(self._starts[place], self._ends[place]):
                owner, row = int(self._owners[at]), int(self._rows[at])
                collection = self._collections[owner]
                found.append(Member(collection.item(row), collection.path(row), owner, score, keep=False))
        found.sort(key=_worth)
        first = len(self._collections) == 1
        return Group(
            tuple(
                Member(member.item, member.path, member.collection, member.score, keep=_kept(member, number, first))
                for number, member in enumerate(found)
            )
        )


def _kept(member: Member, number: int, single: bool) -> bool:
    return number == 0 if single else member.collection == 0


def _worth(member: Member) -> tuple[int, int, int, int, str]:
    """Sorts what is worth keeping first: the first collection, most pixels, oldest; the key only settles ties."""
    item = member.item
    # A source that cannot say how old an image is says -1.
    age = item.mtime_ns if item.mtime_ns >= 0 else UNKNOWN_AGE
    return (member.collection, -item.width * item.height, age, len(item.key), item.key)


def _read_catalogs(collections: Sequence[Catalogued]) -> tuple[NDArray[np.uint8], Ids, NDArray[np.uint64]]:
    """(n,) collection, (n,) row and (n, 4) SHA-256 of every image: 41 bytes each, whatever the catalogs hold."""
    owners, rows, digests = bytearray(), bytearray(), bytearray()
    for number, collection in enumerate(collections):
        for item in collection.live_items():
            owners.append(number)
            rows += item.row.to_bytes(8, "little")
            # The bytes of an imported row were never seen: a copy of none.
            digests += bytes.fromhex(item.sha256) or hashlib.sha256(b"%d %d" % (number, item.row)).digest()
    return (
        np.frombuffer(bytes(owners), np.uint8),
        np.frombuffer(bytes(rows), "<i8").astype(np.int64),
        np.frombuffer(bytes(digests), np.uint64).reshape(-1, 4),
    )


def as_json(groups: Sequence[Group]) -> dict[str, Any]:
    """The groups and what they add up to, ready for JSON."""
    extras = [member for group in groups for member in group.extras]
    return {
        "groups": [[_row(member) for member in group.members] for group in groups],
        "images": sum(len(group.members) for group in groups),
        "extras": len(extras),
        "extra_bytes": sum(member.item.size for member in extras),
    }


def write_json(groups: Sequence[Group], file: IO[str]) -> None:
    """`as_json` as text; names that are not UTF-8 keep their bytes as surrogate escapes."""
    json.dump(as_json(groups), file, indent=2)
    file.write("\n")


def write_csv(groups: Sequence[Group], file: IO[str]) -> None:
    """One image a line; `group` counts from 1, `suggestion` is keep or extra."""
    writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
    writer.writeheader()
    for number, group in enumerate(groups, 1):
        writer.writerows({"group": number, **_row(member)} for member in group.members)


def extra_paths(groups: Sequence[Group]) -> Iterator[Path]:
    """The files that could go; members of archives have none."""
    for group in groups:
        yield from (member.path for member in group.extras if member.path is not None)


def _row(member: Member) -> dict[str, Any]:
    item = member.item
    return {
        "suggestion": "keep" if member.keep else "extra",
        "key": item.key,
        "path": None if member.path is None else str(member.path),
        "score": round(member.score, 6),
        "width": item.width,
        "height": item.height,
        "bytes": item.size,
        "sha256": item.sha256,
    }
