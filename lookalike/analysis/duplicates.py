"""Galleries to groups of images that are copies of each other, with a suggestion which to keep."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from lookalike.errors import EncoderMismatch, QueryError
from lookalike.images.cards import Card, address
from lookalike.index.self_join import Star, stars
from lookalike.search.searched import SearchedGallery
from lookalike.storage.store import Item
from lookalike.types import Ids, Opener, Progress, Vectors, opened
from lookalike.utils.tables import csv_writer
from lookalike.utils.text import counted

Level = Literal["exact", "same", "near", "similar"]
UNKNOWN_AGE = 1 << 63
FIELDS = ("group", "suggestion", "key", "path", "score", "width", "height", "bytes", "sha256", "level", "reason")


@dataclass(frozen=True)
class Member:
    """An image of a group; `score` is its cosine to the group's centre, `collection` counts from 0.

    `level` is how it was verified against the kept image; None where only the cosine was compared.
    """

    item: Item
    path: Path | None
    collection: int
    score: float
    keep: bool
    level: Level | None = None
    opener: Opener | None = field(default=None, repr=False, compare=False, kw_only=True)

    def thumbnail(self, size: int = 256) -> Image:
        """The upright picture, its longer side at most `size`; raises ImageError."""
        return opened(self.opener, self.item.key, size)


@dataclass(frozen=True)
class Group:
    """Copies of a picture: those to keep first, the best first; `reason` says why the first is kept."""

    members: tuple[Member, ...]
    reason: str = ""

    @property
    def kept(self) -> Member:
        """The image to keep; with two collections the best of the first."""
        return self.members[0]

    @property
    def extras(self) -> tuple[Member, ...]:
        """The images that could be removed; not those that are only similar, at which a person should look."""
        return tuple(member for member in self.members if not member.keep and member.level != "similar")

    def __repr__(self) -> str:
        why = f": {self.reason}" if self.reason else ""
        return f"Group({counted(len(self.members), 'image')}, keep {self.kept.item.key!r}{why})"

    def cards(self, before: str = "") -> list[Card]:
        """Each image as a picture with a caption, which begins with `before`."""
        return [_card(member, self, before) for member in self.members]

    def _repr_html_(self) -> str:
        from lookalike.images.html import gallery

        return gallery(counted(len(self.members), "image"), self.cards())


class Groups(list[Group]):
    """Groups of copies, and how many images could not be looked at: nothing is said of those."""

    def __init__(self, groups: Iterable[Group] = (), unseen: int = 0) -> None:
        super().__init__(groups)
        self.unseen = unseen

    def _repr_html_(self) -> str:
        from lookalike.images.html import gallery

        cards = [card for number, group in enumerate(self, 1) for card in group.cards(f"group {number}: ")]
        return gallery(summary(self), cards)


def find(
    galleries: Sequence[SearchedGallery], threshold: float | None = None, progress: Progress | None = None
) -> list[Group]:
    """Groups of duplicates in one gallery, or groups with images of both of two galleries.

    Without a threshold, duplicates have the same bytes. With a threshold, they also have at least that cosine to the
    centre of their group (see `self_join.stars`). Of each group the image with the most pixels is kept, of these the
    oldest; with two galleries all images of the first are kept. Groups are sorted by size, largest first, then by key.
    Raises QueryError, and EncoderMismatch for vectors of different lengths; the caller checks that the encoders are the
    same.
    """
    contents = Contents(galleries)
    similar = contents.stars(threshold, progress) if threshold is not None else []
    alone = np.ones(len(contents), np.bool_)
    groups = []
    for star in similar:
        alone[[star.centre, *star.members]] = False
        places = [star.centre, *star.members.tolist()]
        groups.append(contents.group(places, [1.0, *star.scores.tolist()]))
    groups += [contents.group([place], [1.0]) for place in np.flatnonzero(alone & contents.repeated).tolist()]
    return sorted(groups, key=lambda group: (-len(group.members), group.kept.item.key))


class Contents:
    """The distinct contents (bytes) of the galleries, each with its images; positions count the contents."""

    def __init__(self, galleries: Sequence[SearchedGallery]) -> None:
        if not 1 <= len(galleries) <= 2:
            raise QueryError(f"duplicates are looked for in one collection or between two, not {len(galleries)}")
        self._galleries = galleries
        owners, rows, digests = _read_catalogs(galleries)
        order = np.lexsort((rows, owners, *digests.T))
        fresh = np.ones(len(order), np.bool_)
        fresh[1:] = (digests[order][1:] != digests[order][:-1]).any(axis=1)
        starts = np.flatnonzero(fresh)
        sides = np.zeros(len(starts), np.uint8)
        if len(starts):
            flags = owners[order] + 1 if len(galleries) == 2 else np.full(len(order), 3, np.uint8)
            sides = np.bitwise_or.reduceat(flags, starts).astype(np.uint8)
        # By side, so that whole blocks are skipped; then by row, so that the vector file is read in order.
        places = np.lexsort((rows[order][starts], owners[order][starts], sides))
        self.sides: NDArray[np.uint8] = sides[places]
        self._starts, self._ends = starts[places], np.append(starts[1:], len(order))[places]
        self._owners, self._rows = owners[order], rows[order]
        self.repeated: NDArray[np.bool_] = (self._ends - self._starts > 1) & (self.sides == 3)

    def __len__(self) -> int:
        return len(self._starts)

    def stars(self, threshold: float, progress: Progress | None) -> list[Star]:
        """Groups of distinct contents that look alike."""
        return stars(self._vectors, len(self), threshold, self.sides, progress)

    def _vectors(self, places: Ids) -> Vectors:
        firsts = self._starts[places]
        owners, rows = self._owners[firsts], self._rows[firsts]
        masks = [(owners == number, gallery) for number, gallery in enumerate(self._galleries)]
        parts = [(mask, gallery.vectors(rows[mask])) for mask, gallery in masks if mask.any()]
        if len({vectors.shape[1] for _, vectors in parts}) > 1:
            raise EncoderMismatch("the two collections were made with different encoders; index one of them again")
        if len(parts) == 1:
            return parts[0][1]
        merged = np.empty((len(places), parts[0][1].shape[1]), np.float32)
        for mask, vectors in parts:
            merged[mask] = vectors
        return merged

    def sha256(self, place: int) -> str:
        """The digest of a content."""
        at = self._starts[place]
        return str(self._galleries[int(self._owners[at])].item(int(self._rows[at])).sha256)

    def images(self, place: int, score: float = 1.0) -> list[Member]:
        """The images of a content."""
        places = range(self._starts[place], self._ends[place])
        located = [(int(self._owners[at]), int(self._rows[at])) for at in places]
        return [_member(self._galleries[owner], row, owner, score) for owner, row in located]

    def read(self, member: Member) -> bytes:
        """The bytes of an image's file; raises ImageError."""
        return self._galleries[member.collection].read(member.item.row)

    def vectors(self, places: Ids) -> Vectors:
        """The unit rows of contents."""
        return self._vectors(places)

    def group(self, places: Sequence[int], scores: Sequence[float]) -> Group:
        """The images of these contents, the image to keep first."""
        members = [member for place, score in zip(places, scores, strict=True) for member in self.images(place, score)]
        members.sort(key=_worth)
        is_single = len(self._galleries) == 1
        return Group(
            tuple(
                replace(member, keep=number == 0 if is_single else member.collection == 0)
                for number, member in enumerate(members)
            )
        )


def _member(gallery: SearchedGallery, row: int, owner: int, score: float) -> Member:
    item = gallery.item(row)
    return Member(item, gallery.path(row), owner, score, keep=False, opener=gallery.opener(item))


def _worth(member: Member) -> tuple[int, int, int, int, str]:
    """A sort key that puts the best first: of the first collection, most pixels, oldest, then by key."""
    item = member.item
    # -1 is the time of an image whose source has none.
    age = item.mtime_ns if item.mtime_ns >= 0 else UNKNOWN_AGE
    return (member.collection, -item.width * item.height, age, len(item.key), item.key)


def _read_catalogs(galleries: Sequence[SearchedGallery]) -> tuple[NDArray[np.uint8], Ids, NDArray[np.uint64]]:
    """(n,) gallery, (n,) row and (n, 4) SHA-256 of every image, in 41 bytes each."""
    owners, rows, digests = bytearray(), bytearray(), bytearray()
    for number, gallery in enumerate(galleries):
        for item in gallery.live_items():
            owners.append(number)
            rows += item.row.to_bytes(8, "little")
            # The bytes of an imported row are unknown: it is an exact copy of no other.
            digests += bytes.fromhex(item.sha256) or hashlib.sha256(b"%d %d" % (number, item.row)).digest()
    return (
        np.frombuffer(bytes(owners), np.uint8),
        np.frombuffer(bytes(rows), "<i8").astype(np.int64),
        np.frombuffer(bytes(digests), np.uint64).reshape(-1, 4),
    )


def as_json(groups: Sequence[Group]) -> dict[str, Any]:
    """The groups and their totals, ready for JSON; `unseen` images could not be looked at."""
    extras = [member for group in groups for member in group.extras]
    return {
        "groups": [[_row(member, group) for member in group.members] for group in groups],
        "images": sum(len(group.members) for group in groups),
        "extras": len(extras),
        "extra_bytes": sum(member.item.size for member in extras),
        "unseen": groups.unseen if isinstance(groups, Groups) else 0,
    }


def write_json(groups: Sequence[Group], file: IO[str]) -> None:
    """`as_json` as text; names that are not UTF-8 keep their bytes as surrogate escapes."""
    json.dump(as_json(groups), file, indent=2)
    file.write("\n")


def write_csv(groups: Sequence[Group], file: IO[str]) -> None:
    """A line for each image; `group` counts from 1, `suggestion` is keep, extra or look."""
    writer = csv_writer(file)
    writer.writerow(FIELDS)
    for number, group in enumerate(groups, 1):
        rows = ({"group": number, **_row(member, group)} for member in group.members)
        writer.writerows([row[name] for name in FIELDS] for row in rows)


def extra_paths(groups: Sequence[Group]) -> Iterator[Path]:
    """The files that could be removed; members of archives have none."""
    for group in groups:
        yield from (member.path for member in group.extras if member.path is not None)


def suggestion(member: Member) -> str:
    """keep, extra, or look: a person should look at it first."""
    return "keep" if member.keep else "look" if member.level == "similar" else "extra"


def summary(groups: Sequence[Group]) -> str:
    """How many groups there are, how many images could go, and how much space they take."""
    extras = [member for group in groups for member in group.extras]
    freed = sum(member.item.size for member in extras) / 1e6
    return f"{counted(len(groups), 'group')}, {counted(len(extras), 'image')} could go, {freed:,.1f} MB"


def _card(member: Member, group: Group, before: str = "") -> Card:
    """A member as a picture: the frame of what is kept is green, that of what could go is dashed."""
    kind = {"keep": "keep", "extra": "extra"}.get(suggestion(member), "plain")
    item, why = member.item, f" ({group.reason})" if member is group.kept and group.reason else ""
    note = f"{before}{suggestion(member)}{why} · {item.width} x {item.height} · {_size(item.size)}"
    return Card(item.key, member.thumbnail, note, kind, address(member.path, item.key))


def _size(count: int) -> str:
    return f"{count / 1e3:,.0f} kB" if count < 1e6 else f"{count / 1e6:,.1f} MB"


def _row(member: Member, group: Group) -> dict[str, Any]:
    item = member.item
    return {
        "suggestion": suggestion(member),
        "key": item.key,
        "path": None if member.path is None else str(member.path),
        "score": round(member.score, 6),
        "width": item.width,
        "height": item.height,
        "bytes": item.size,
        "sha256": item.sha256,
        "level": member.level,
        "reason": group.reason,
    }
