"""Groups of duplicates for the page: found in the background, then told apart or put into the trash.

What is found, kept and moved is decided by the analysis that the command line uses. The numbers of groups stay the same
until the next run, also of groups that are settled.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from lookalike.analysis import move_files
from lookalike.analysis.duplicates import Group, Level, Member, suggestion
from lookalike.analysis.journal import Entry
from lookalike.analysis.move_files import Move
from lookalike.analysis.rendition import quality_of
from lookalike.collection.collection import Collection
from lookalike.errors import ImageError
from lookalike.service.errors import RETRY_SECONDS, ApiError, try_later
from lookalike.service.ids import key_text, to_id
from lookalike.service.jobs import Jobs
from lookalike.service.subject import Searched, Subject
from lookalike.storage import distinct
from lookalike.types import Progress

GroupState = Literal["open", "apart", "settled"]
STAYS = 50
"""Files that stayed where they were, which an outcome names."""
MOST_APART = 32
"""Images of a group that are told apart from each other at once."""


@dataclass
class Run:
    """What a search for duplicates found; `states` are of the groups that are no longer open."""

    number: int
    level: Level
    keep: str
    groups: Sequence[Group]
    unseen: int
    states: dict[int, GroupState] = field(default_factory=dict)

    def open_groups(self) -> Iterator[tuple[int, Group]]:
        """Those about which nothing was decided."""
        return ((number, group) for number, group in enumerate(self.groups) if number not in self.states)

    def to_json(self) -> dict[str, Any]:
        """Its totals."""
        extras = [member for _, group in self.open_groups() for member in group.extras]
        return {
            "run": self.number, "level": self.level, "keep": self.keep, "groups_total": len(self.groups),
            "open": len(self.groups) - len(self.states), "extras": len(extras),
            "extra_bytes": sum(member.item.size for member in extras), "unseen": self.unseen,
        }  # fmt: skip


@dataclass(frozen=True)
class Batch:
    """Files that were moved at once, and the groups of a run that are settled by it."""

    sources: tuple[str, ...]
    run: Run
    settled: tuple[int, ...]


class Copies:
    """One search for duplicates at a time, and one change of files at a time."""

    def __init__(
        self, again: Callable[[], Searched], writer: Callable[[], Collection], writing: threading.Lock
    ) -> None:
        """`again()` opens what is searched, `writer()` what is changed; `writing` is locked while files are moved."""
        self._again, self._writer, self._writing = again, writer, writing
        self._finding = Jobs("duplicates", _finding)
        self.moving = Jobs("moving", lambda: try_later("moving", "files are being moved"))
        self._run: Run | None = None
        self._batches: list[Batch] = []

    def find(self, level: Level, keep: str) -> None:
        """Begin to look for duplicates; raises ApiError 429 while that is done already."""

        def work(progress: Progress) -> dict[str, Any]:
            with self._again() as collection:
                groups = collection.duplicates(level, progress=progress, keep=keep)
            number = self._run.number + 1 if self._run else 1
            self._run = Run(number, level, keep, list(groups), groups.unseen)
            return {}

        self._finding.start("find", work)

    def to_json(self, subject: Subject, offset: int, count: int) -> dict[str, Any]:
        """How far it is, the totals of the newest run, and some of its groups."""
        run = self._run
        jobs = {"finding": self._finding.to_json(), "moving": self.moving.to_json()}
        if run is None:
            return {**jobs, "run": None, "groups": []}
        groups = [_group(run, offset + number, subject) for number in range(len(run.groups[offset : offset + count]))]
        return {**jobs, "run": run.to_json(), "groups": groups}

    def refuse(self) -> None:
        """Raise ApiError 503 while files are moved."""
        self.moving.refuse()

    def chosen(self, number: int) -> Run:
        """The newest run, if it is that of this number; raises ApiError 404."""
        if self._run is None or self._run.number != number:
            raise ApiError(404, "not_found", "that run is over", "GET /v1/duplicates has the newest")
        return self._run

    def apart(self, run: Run, number: int, forget: bool) -> None:
        """Remember that the images of a group are no duplicates of each other, or forget it; raises ApiError."""
        if not number < len(run.groups):
            raise ApiError(404, "not_found", f"there is no group {number}")
        contents = list(dict.fromkeys(member.item.sha256 for member in run.groups[number].members))[:MOST_APART]
        pairs = [distinct.pair(a, b) for at, a in enumerate(contents) for b in contents[at + 1 :]]
        if not pairs:
            pairs = [distinct.pair(contents[0], contents[0])]
        with self._writing, self._writer() as collection:
            collection.not_duplicates_of(pairs, forget)
        if forget:
            run.states.pop(number, None)
        else:
            run.states[number] = "apart"

    def trash(self, run: Run, decisions: Mapping[int, frozenset[str]], others: bool) -> None:
        """Begin to put files into the trash: the ids of `decisions` by group, with `others` the extras of the rest."""
        chosen = list(_chosen(run, decisions, others))

        def work(progress: Progress) -> dict[str, Any]:
            planned = move_files.plan_trash([group for _, group in chosen])
            with self._writing, self._writer() as collection:
                done = _carried_out(planned, collection, progress)
            moved = [move for move in done if move.reason is None]
            stayed = {move.key for move in done if move.reason}
            settled = [number for number, group in chosen if not stayed & {one.item.key for one in group.extras}]
            run.states.update(dict.fromkeys(settled, "settled"))
            if moved:
                self._batches.append(Batch(tuple(str(move.source) for move in moved), run, tuple(settled)))
            return _outcome(done, moved)

        self.moving.start("trash", work)

    def dry(self, run: Run, decisions: Mapping[int, frozenset[str]], others: bool) -> dict[str, Any]:
        """What `trash` would do, without doing it."""
        moves = move_files.plan_trash([group for _, group in _chosen(run, decisions, others)])
        going = [move for move in moves if move.reason is None]
        return {**_outcome(moves, going), "keys": [key_text(move.key) for move in going]}

    def undo(self) -> None:
        """Begin to put the files of the last move back; raises ApiError where nothing was moved here."""
        if not self._batches:
            raise ApiError(422, "nothing_moved", "nothing was moved since the service started", "see duplicates --undo")
        batch = self._batches[-1]

        def work(_: Progress) -> dict[str, Any]:
            with self._writing, self._writer() as collection:
                latest = [entry.source for entry in collection.moves.pending()[: len(batch.sources)]]
                if set(latest) != set(batch.sources):
                    raise ApiError(422, "moved_since", "other files were moved since", "see duplicates --undo")
                undone = list(islice(collection.moves.undo(), len(latest)))
                back = [Path(entry.source) for entry, failed in undone if failed is None]
                if back:
                    collection.refresh(back)
            self._batches.pop()
            for number in batch.settled:
                batch.run.states.pop(number, None)
            stayed = [(Path(entry.source).name, failed) for entry, failed in undone if failed]
            return {"moved": len(back), "stayed": len(stayed), "reasons": _reasons(stayed)}

        self.moving.start("undo", work)

    def close(self) -> None:
        """Wait for what runs."""
        self._finding.close()
        self.moving.close()


def _finding() -> ApiError:
    hint, headers = "GET /v1/duplicates says how far that is", {"Retry-After": str(RETRY_SECONDS)}
    return ApiError(429, "finding", "duplicates are being looked for already", hint, headers)


def _chosen(run: Run, decisions: Mapping[int, frozenset[str]], others: bool) -> Iterator[tuple[int, Group]]:
    """Groups with what goes and what is kept as a person decided; ApiError 422 where nothing would be kept."""
    for number, group in run.open_groups():
        if number not in decisions:
            if others and group.extras:
                yield number, group
            continue
        going = decisions[number]
        kept = [member for member in group.members if to_id(member.item.key) not in going]
        if not kept:
            raise ApiError(422, "nothing_kept", f"group {number} would lose every picture", "keep one of each group")
        gone = [member for member in group.members if to_id(member.item.key) in going]
        if gone:
            # A person has looked at what is only similar.
            members = [replace(member, keep=True) for member in kept]
            yield number, replace(group, members=(*members, *(replace(one, keep=False, level=None) for one in gone)))


def _carried_out(planned: Sequence[Move], collection: Collection, progress: Progress) -> list[Move]:
    """Move the files, then let the collection forget them."""
    done = []
    for number, move in enumerate(move_files.execute_trash(planned, collection.moves), 1):
        done.append(move)
        progress(number, len(planned))
    moved = [move for move in done if move.reason is None]
    if moved:
        # Their absence is meant: it was this service that moved them.
        collection.refresh([move.source for move in moved if move.source], allow_removals=True)
    return done


def _outcome(moves: Sequence[Move], moved: Sequence[Move]) -> dict[str, Any]:
    stayed = [(key_text(move.key), move.reason) for move in moves if move.reason]
    return {"moved": len(moved), "stayed": len(stayed), "reasons": _reasons(stayed)}


def _reasons(stayed: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"key": key, "reason": reason} for key, reason in stayed[:STAYS]]


def _group(run: Run, number: int, subject: Subject) -> dict[str, Any]:
    group = run.groups[number]
    known = subject.facts([member.item for member in group.members])
    members = []
    for member in group.members:
        facts = known.get(member.item.sha256)
        photo = {"taken": facts.taken, "camera": facts.camera, "format": facts.format} if facts else {}
        members.append({**_member(member), **photo, "quality": _quality(member, subject)})
    return {"number": number, "state": run.states.get(number, "open"), "reason": group.reason, "members": members}


def _member(member: Member) -> dict[str, Any]:
    item = member.item
    return {
        "id": to_id(item.key), "key": key_text(item.key), "width": item.width, "height": item.height,
        "bytes": item.size, "suggestion": suggestion(member), "level": member.level,
    }  # fmt: skip


def _quality(member: Member, subject: Subject) -> int | None:
    try:
        return quality_of(subject.read(member.item))
    except ImageError:
        return None


def journal(collection: Collection) -> list[dict[str, Any]]:
    """What was moved away and not put back, the latest first; names below the collection's folder, else of the file."""
    return [{"key": _name(entry, collection.folder), "at": entry.at} for entry in collection.moves.pending()]


def _name(entry: Entry, folder: Path) -> str:
    path = Path(entry.source)
    name = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name
    return key_text(name)
