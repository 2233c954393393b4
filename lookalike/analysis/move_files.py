"""Groups of duplicates to files moved to another folder: first a plan, then the moves. Nothing is overwritten."""

import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lookalike.analysis.duplicates import Group, Member
from lookalike.utils.files import reason as system_reason

# Errors of file systems without hard links, and of two places on different file systems.
NO_LINK = {errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES}


@dataclass(frozen=True)
class Move:
    """A file and its target; with a `reason` it stays where it is."""

    key: str
    source: Path | None
    target: Path | None
    reason: str | None = None


def plan(groups: Sequence[Group], folder: str | Path) -> list[Move]:
    """A move for each extra: to its key below `folder`, with a number where that name is taken.

    No file is changed. Files that changed since they were indexed, links, and other names of the kept file stay.
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
    """The reason why a file itself cannot be moved, or None."""
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
    """The reason why moving a file could lose the picture, or None."""
    assert member.path is not None
    kept_files = [(other.item.key, other.path) for other in group.members if other.keep and other.path]
    if not kept_files:
        return "the one to keep is not a file of its own (in an archive, or a URL)"
    for name, path in kept_files:
        if not path.exists():
            return f"the one to keep, {name}, is no longer there"
        if path.samefile(member.path):
            return f"the same file as the one to keep, {name}"
    return None


def _free(path: Path, taken: set[str]) -> Path:
    """`path`, or the first of `name (2).jpg`, ... that neither exists nor is planned (ignoring case)."""
    target, number = path, 2
    while os.path.lexists(target) or str(target).casefold() in taken:
        target, number = path.with_name(f"{path.stem} ({number}){path.suffix}"), number + 1
    taken.add(str(target).casefold())
    return target


def execute(moves: Sequence[Move]) -> Iterator[Move]:
    """Carry out a plan; yields each move, with a `reason` if the file stayed where it was.

    A move across devices copies, compares the sizes and then removes. An existing target is never replaced, even if it
    was created after the plan.
    """
    for move in moves:
        if move.source is None or move.target is None:
            yield move
            continue
        try:
            move.target.parent.mkdir(parents=True, exist_ok=True)
            _move(move.source, move.target)
        except OSError as error:
            yield Move(move.key, move.source, move.target, system_reason(error))
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
    """A complete, durable copy with the times of the original, or none."""
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
