"""Copies of a picture to the one to keep, and why: the one with the most information, by a rule a person can check."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from typing import Any

from lookalike.analysis.duplicates import Member
from lookalike.analysis.rendition import Rendition
from lookalike.analysis.spare import is_paired

RULES = ("best", "oldest", "newest", "largest")
NEVER = 1 << 63


@dataclass(frozen=True)
class Quality:
    """What the file of a member is worth.

    `side` is the longest side that its detail really fills, in pixels: of an `enlarged` picture that of its origin.
    """

    member: Member
    side: float
    lossless: bool = False
    quality: int | None = None
    camera: str = ""
    taken: str = ""
    enlarged: bool = False

    @classmethod
    def of(cls, member: Member, rendition: Rendition | None) -> "Quality":
        """The facts of a member; without a rendition those of the catalog."""
        side = float(max(member.item.width, member.item.height))
        if rendition is None:
            return cls(member, side)
        return cls(member, side, rendition.lossless, rendition.quality, rendition.camera, rendition.taken)

    @property
    def path(self) -> str:
        """The path, or the key of a member of an archive."""
        return str(self.member.path or self.member.item.key)

    @property
    def age(self) -> float:
        """When the photo was taken, else when the file was changed; a sort key, the oldest first."""
        if self.taken:
            return float(self.taken[:19].translate({ord(sign): None for sign in ": -T"}).ljust(14, "0")[:14] or 0)
        import time

        nanoseconds = self.member.item.mtime_ns
        # -1 is the time of an image whose source has none.
        moment = time.gmtime(nanoseconds / 1e9) if nanoseconds >= 0 else None
        return float(time.strftime("%Y%m%d%H%M%S", moment)) if moment else float(NEVER)


Criterion = tuple[Callable[[Quality], Any], Callable[[Quality, Quality], str]]
"""A sort key, the lowest first, and why the first of two that differ in it is kept."""


def _by_name(kept: "Quality", other: "Quality") -> str:
    is_shorter = len(kept.member.item.key) < len(other.member.item.key)
    return "the shorter path" if is_shorter else "the first by name"


def _graded(qualities: Sequence[Quality]) -> Callable[[Quality], int]:
    """Real size in steps of a third: a copy that is a few pixels larger has no more to show."""
    import math

    largest = max(quality.side for quality in qualities)
    return lambda quality: int(math.log(max(1.0, largest / max(1.0, quality.side))) / math.log(4 / 3) + 0.25)


def criteria(rule: str, qualities: Sequence[Quality]) -> list[Criterion]:
    """What is compared, in this order."""
    graded = _graded(qualities)
    best: list[Criterion] = [
        (lambda q: not is_paired(q.member.path), lambda _, __: "has a camera raw file of the same shot beside it"),
        (lambda q: not q.camera, lambda a, _: f"has camera data ({a.camera})"),
        (graded, lambda a, b: f"more real detail ({a.side:.0f} against {b.side:.0f} pixels)"),
        (lambda q: q.enlarged, lambda _, b: f"not enlarged, as the copy of {_size(b)} is"),
        (lambda q: not q.lossless, lambda _, __: "lossless format"),
        (lambda q: -(q.quality or 0), lambda a, b: f"JPEG quality {a.quality} against {b.quality or 'another format'}"),
        (lambda q: -q.side, lambda a, b: f"more pixels ({a.side:.0f} against {b.side:.0f})"),
        (lambda q: (not q.taken, q.taken), lambda a, _: f"taken earlier ({a.taken})"),
        (lambda q: (len(q.member.item.key), q.member.item.key), _by_name),
    ]
    chosen: list[Criterion] = [
        (lambda q: q.member.collection, lambda _, __: "in the first collection"),
    ]
    if rule == "oldest":
        chosen.append((lambda q: q.age, lambda _, __: "the oldest"))
    elif rule == "newest":
        chosen.append((lambda q: -q.age if q.age < NEVER else NEVER, lambda _, __: "the newest"))
    elif rule == "largest":
        chosen.append((lambda q: -q.member.item.width * q.member.item.height, lambda _, __: "the most pixels"))
        chosen.append((lambda q: -q.member.item.size, lambda _, __: "the most bytes"))
    elif rule != "best":
        chosen.append((lambda q: not matches(q, rule), lambda _, __: f"matches {rule}"))
    return chosen + best


def _size(quality: Quality) -> str:
    return f"{quality.member.item.width} x {quality.member.item.height}"


def matches(quality: Quality, pattern: str) -> bool:
    """Whether a glob fits the path, the key, or the end of the path."""
    return any(fnmatch(name, pattern) for name in (quality.path, quality.member.item.key)) or fnmatch(
        quality.path, f"*/{pattern}"
    )


def ranked(qualities: Sequence[Quality], rule: str = "best") -> list[Quality]:
    """The one to keep first."""
    if not qualities:
        return []
    keys = [key for key, _ in criteria(rule, qualities)]
    return sorted(qualities, key=lambda quality: tuple(key(quality) for key in keys))


def why(order: Sequence[Quality], rule: str = "best") -> str:
    """Why the first is kept and not the second: the first thing in which they differ."""
    if len(order) < 2:
        return ""
    first, second = order[:2]
    return next((words(first, second) for key, words in criteria(rule, order) if key(first) != key(second)), "")


def with_real_sides(qualities: Sequence[Quality], explains: Callable[[Quality, Quality], bool]) -> list[Quality]:
    """An enlarged copy has the detail of the smaller one that it was made from.

    `explains(small, large)` says whether nothing is in the larger that the smaller does not show.
    """
    settled: list[Quality] = []
    for quality in sorted(qualities, key=lambda quality: quality.side):
        origin = next(
            (small for small in settled if small.side * 1.15 < quality.side and explains(small, quality)), None
        )
        settled.append(replace(quality, side=origin.side, enlarged=True) if origin else quality)
    return settled
