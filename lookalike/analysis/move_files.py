"""Groups of duplicates to files moved to another folder: first a plan, then the moves. Nothing is overwritten."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from lookalike.analysis.duplicates import Group, Member
from lookalike.analysis.journal import TRASH, Journal
from lookalike.analysis.spare import LINK, changed_content, other_names, unsound
from lookalike.utils.files import move_file
from lookalike.utils.files import reason as system_reason


@dataclass(frozen=True)
class Move:
    """A file and its target; with a `reason` it stays where it is.

    `sha256` is the content that it must still have, and `kept` are the files, with their content, that stay in its
    place. Without a target it goes to the trash.
    """

    key: str
    source: Path | None
    target: Path | None
    reason: str | None = None
    sha256: str = ""
    kept: tuple[tuple[Path, str], ...] = ()


def plan(groups: Sequence[Group], folder: str | Path) -> list[Move]:
    """A move for each extra: to its key below `folder`, with a number where that name is taken.

    No file is changed. Files that changed since they were indexed, links, and other names of the kept file stay.
    """
    folder = Path(folder).expanduser().absolute()
    taken: set[str] = set()
    return [_planned(group, member, folder, taken) for group in groups for member in group.extras]


def plan_trash(groups: Sequence[Group]) -> list[Move]:
    """As `plan`, to the trash."""
    return [_checked(group, member) for group in groups for member in group.extras]


def _planned(group: Group, member: Member, folder: Path, taken: set[str]) -> Move:
    move = _checked(group, member)
    if move.reason or move.source is None:
        return move
    return replace(move, target=_free(folder / PurePosixPath(member.item.key), taken))


def _checked(group: Group, member: Member) -> Move:
    """The move of an extra without its target, with the reason why it must stay."""
    reason = _unfit(member) or _unsafe(group, member)
    kept = tuple((other.path, other.item.sha256) for other in group.members if other.keep and other.path)
    return Move(member.item.key, member.path, None, reason, member.item.sha256, kept)


def _unfit(member: Member) -> str | None:
    """The reason why a file itself cannot be moved, or None."""
    key = PurePosixPath(member.item.key)
    if member.path is None:
        return "not a file of its own (in an archive, or a URL)"
    if key.is_absolute() or ".." in key.parts or not key.name:
        return "its key is no path below a folder"
    return unsound(member)


def _unsafe(group: Group, member: Member) -> str | None:
    """The reason why moving a file could lose the picture, or None."""
    kept_files = [other for other in group.members if other.keep and other.path]
    if not kept_files:
        return "the one to keep is not a file of its own (in an archive, or a URL)"
    if (name := other_names(member, kept_files)) is not None:
        return f"the same file as the one to keep, {name}"
    for other in kept_files:
        reason = unsound(other)
        if reason is not None:
            return f"the one to keep, {other.item.key}, {'has ' if reason.startswith('changed') else 'is '}{reason}"
    return None


def _free(path: Path, taken: set[str]) -> Path:
    """`path`, or the first of `name (2).jpg`, ... that neither exists nor is planned (ignoring case)."""
    target, number = path, 2
    while os.path.lexists(target) or str(target).casefold() in taken:
        target, number = path.with_name(f"{path.stem} ({number}){path.suffix}"), number + 1
    taken.add(str(target).casefold())
    return target


def execute(moves: Sequence[Move], journal: Journal | None = None) -> Iterator[Move]:
    """Carry out a plan; yields each move, with a `reason` if the file stayed where it was.

    Right before each move, the bytes of the file and of those that are kept are compared with what was indexed, and the
    move is written down in the `journal`. A move across devices copies, compares the sizes and then removes. An
    existing target is never replaced, even if it was created after the plan.
    """
    for move in moves:
        yield move if move.source is None or move.target is None else _carried_out(move, journal, move_file)


def execute_trash(moves: Sequence[Move], journal: Journal | None = None) -> Iterator[Move]:
    """As `execute`, to the trash of the system."""
    from send2trash import send2trash

    for move in moves:
        is_moved = move.source is not None and move.reason is None
        yield _carried_out(move, journal, lambda source, _: send2trash(source)) if is_moved else move


def _carried_out(move: Move, journal: Journal | None, carry: Callable[[Path, Path], None]) -> Move:
    assert move.source is not None
    target = str(move.target) if move.target else TRASH
    reason = _overtaken(move)
    if reason is not None:
        return replace(move, target=None, reason=reason)
    if journal:
        journal.begin(move.source, target, move.sha256)
    try:
        if move.target is not None:
            move.target.parent.mkdir(parents=True, exist_ok=True)
        carry(move.source, move.target or move.source)
    except OSError as error:
        if journal and os.path.lexists(move.source):
            journal.end(move.source, target, move.sha256)
        return replace(move, reason=system_reason(error))
    return move


def _overtaken(move: Move) -> str | None:
    """What has happened since the plan and makes the move unsafe, or None."""
    assert move.source is not None
    if move.source.is_symlink():
        return LINK
    if changed_content(move.source, move.sha256):
        return "its content has changed since it was indexed"
    for path, sha256 in move.kept:
        try:
            if path.is_symlink() or path.samefile(move.source):
                return f"the one to keep, {path}, is the same file by now"
        except OSError:
            return f"the one to keep, {path}, is no longer there"
        if changed_content(path, sha256):
            return f"the content of the one to keep, {path}, has changed since it was indexed"
    return None
