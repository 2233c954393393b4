"""Groups of duplicates to files moved out of the way: first a plan, then the moves, and nothing is ever overwritten."""

import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lookalike.analysis.duplicates import Group, Member

# What a file system answers that has no hard links, or when the two places are on different ones.
NO_LINK = {errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES}


@dataclass(frozen=True)
class Move:
    """One file and where it goes; with a `reason` it stays where it is."""

    key: str
    source: Path | None
    target: Path | None
    reason: str | None = None


def plan(groups: Sequence[Group], folder: str | Path) -> list[Move]:
    """Where each file that could go would go: its key below `folder`, numbered where that name is taken.

    Nothing is touched. Files that changed since they were indexed, links, and the kept file under another name stay.
    """
    folder = Path(folder).expanduser().absolute()
    taken: set[str] = set()
    return [_planned(group, member, folder, taken) for group in groups for member in group.extras]


def _planned(group: Group, member: Member, folder: Path, taken: set[str]) -> Move:
    reason = _unfit(member) or _unsafe(group, member)
    if reason or member.path is None:
        return Move(member.item.key, member.path, None, reason)
    target = _free(folder / PurePosixPath(member.item.key), taken)
    return Move(member.item.key, member.path, target)


def _unfit(member: Member) -> str | None:
    """What about a file itself keeps it where it is."""
    key = PurePosixPath(member.item.key)
    if member.path is None:
        return "not a file of its own (in an archive, or a URL)"
    if key.is_absolute() or ".." in key.parts or not key.name:
        return "its key is no path below a folder"
    if member.path.is_symlink():
        return "a symbolic link"
    try:
        status = member.path.stat()
    except OSError:
        return "no longer there"
    if (status.st_size, status.st_mtime_ns) != (member.item.size, member.item.mtime_ns):
        return "changed since it was indexed"
    return None


def _unsafe(group: Group, member: Member) -> str | None:
    """Why moving an existing file could lose the picture."""
    assert member.path is not None
    kept = [(other.item.key, other.path) for other in group.members if other.keep and other.path]
    if not kept:
        return "the one to keep is not a file of its own (in an archive, or a URL)"
    for name, path in kept:
        if not path.exists():
            return f"the one to keep, {name}, is no longer there"
        if path.samefile(member.path):
            return f"the same file as the one to keep, {name}"
    return None


def _free(wanted: Path, taken: set[str]) -> Path:
    """`wanted`, or the first of `name (2).jpg`, ... that neither exists nor is planned (in any case of letters)."""
    target, number = wanted, 2
    while os.path.lexists(target) or str(target).casefold() in taken:
        target, number = wanted.with_name(f"{wanted.stem} ({number}){wanted.suffix}"), number + 1
    taken.add(str(target).casefold())
    return target


def execute(moves: Sequence[Move]) -> Iterator[Move]:
    """Carry out a plan, giving each move back, with a `reason` if the file stayed where it was.

    A move across devices copies, compares the sizes and only then removes. An existing target is never replaced, not
    even one that came after the plan was made.
    """
    for move in moves:
        if move.source is None or move.target is None:
            yield move
            continue
        try:
            move.target.parent.mkdir(parents=True, exist_ok=True)
            _move(move.source, move.target)
        except OSError as error:
            yield Move(move.key, move.source, move.target, (error.strerror or str(error)).lower())
        else:
            yield move


def _move(source: Path, target: Path) -> None:
    try:
        # Unlike rename, this fails where the target exists.
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in NO_LINK:
            raise
        _copy(source, target)
    source.unlink()


def _copy(source: Path, target: Path) -> None:
    """A whole copy with its times on disk, or none."""
    with source.open("rb") as reader, target.open("xb") as writer:
        try:
            shutil.copyfileobj(reader, writer, 1 << 20)
            writer.flush()
            os.fsync(writer.fileno())
            if writer.tell() != os.fstat(reader.fileno()).st_size:
                raise OSError(errno.EIO, "the file changed while it was copied")
        except BaseException:
            target.unlink(missing_ok=True)
            raise
    shutil.copystat(source, target, follow_symlinks=False)
