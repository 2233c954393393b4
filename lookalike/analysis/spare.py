"""Files of a collection as they are now: which of them may be kept or removed. The one place that decides it.

What is in the catalog may have changed since: files are edited, replaced by links, or lie on a drive that is not there.
Nothing is called spare, or the copy to keep, that was not looked at on the disk.
"""

import stat
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from lookalike.analysis.duplicates import Member
from lookalike.storage.store import Item
from lookalike.utils.files import sha256_of

GONE, LINK, CHANGED, UNREADABLE = "no longer there", "a symbolic link", "changed since it was indexed", "cannot be read"
RAW = frozenset(
    ".3fr .arw .cr2 .cr3 .dng .erf .iiq .kdc .mef .mos .mrw .nef .nrw .orf .pef .raf .raw .rw2 .srw .x3f".split()
)
"""Extensions of camera raw files; a JPEG of that name beside one is the other half of a pair, not a copy."""


def unsound(member: Member) -> str | None:
    """The reason why a member's file is not the photo that was indexed; None where it is, or is no file of its own.

    A file of another time is read: a library that was copied elsewhere has the same photos.
    """
    path, item = member.path, member.item
    if path is None:
        return None
    try:
        return _difference(path, item)
    except (FileNotFoundError, NotADirectoryError):
        return GONE
    except (OSError, ValueError):
        return UNREADABLE


def is_away(member: Member) -> bool:
    """Whether a member's file is not there, so that nothing can be said of it."""
    return is_away_at(member.path, member.item)


def is_away_at(path: Path | None, item: Item) -> bool:
    """As `is_away`; nobody has read the file of an imported row, and a member of an archive has none."""
    return path is not None and item.mtime_ns >= 0 and not path.is_file()


def _difference(path: Path, item: Item) -> str | None:
    if path.is_symlink():
        return LINK
    status = path.stat()
    is_same = stat.S_ISREG(status.st_mode) and status.st_size == item.size
    if is_same and status.st_mtime_ns != item.mtime_ns:
        is_same = bool(item.sha256) and sha256_of(path) == item.sha256
    elif is_same:
        with path.open("rb") as file:
            is_same = len(file.read(1)) == min(1, item.size)
    return None if is_same else CHANGED


def changed_content(path: Path, sha256: str) -> bool:
    """Whether a file does not have these bytes any more, is no regular file any more, or cannot be read."""
    try:
        # A pipe in its place would be waited for without end.
        return bool(sha256) and not (stat.S_ISREG(path.stat().st_mode) and sha256_of(path) == sha256)
    except OSError:
        return True


def sound(members: Iterable[Member], by_content: bool = False) -> list[Member]:
    """The members whose files are as they were indexed, and of each file one; the better name of a file comes first.

    With `by_content` their bytes are read and compared as well. Members of archives stay: they are no files that could
    be lost.
    """
    kept: list[Member] = []
    routes: set[tuple[int, int]] = set()
    for member in sorted(members, key=_route):
        if member.path is None or member.item.mtime_ns < 0:
            # Nobody has read the file of an imported row, so nothing is said of its path.
            kept.append(replace(member, path=None))
            continue
        if unsound(member) or (by_content and changed_content(member.path, member.item.sha256)):
            continue
        file = identity(member.path)
        if file is not None and file not in routes:
            routes.add(file)
            kept.append(member)
    return kept


def identity(path: Path) -> tuple[int, int] | None:
    """Device and inode: two names of one file, by a hard link or by another route, have the same."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _route(member: Member) -> tuple[int, bool, int, str]:
    """A sort key that puts the straightest name of a file first."""
    is_detour = member.path is not None and member.path.parent.resolve() != member.path.parent.absolute()
    return member.collection, is_detour, len(member.item.key), member.item.key


def is_paired(path: Path | None) -> bool:
    """Whether a file is a camera raw file, or the picture beside a raw file of the same shot."""
    if path is None:
        return False
    if path.suffix.lower() in RAW:
        return True
    return any(path.with_suffix(spelled).exists() for suffix in RAW for spelled in (suffix, suffix.upper()))


def other_names(member: Member, others: Sequence[Member]) -> str | None:
    """The key of another member that is the same file, or None."""
    assert member.path is not None
    file = identity(member.path)
    same = (other.item.key for other in others if other.path is not None and identity(other.path) == file)
    return next(same, None) if file is not None else None
