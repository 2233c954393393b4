"""What was moved where, written down before each move; and everything put back, without overwriting anything."""

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lookalike.analysis.spare import changed_content
from lookalike.errors import CollectionError
from lookalike.utils.files import DIGEST, move_file, sync_folder
from lookalike.utils.files import reason as system_reason

TRASH = "trash"
FOREIGN = ("darwin", "win32", "cygwin")
"""Systems whose trash does not record in a file that others may read where things lay."""
ONLY_BY_HAND = "lies in the trash of this system, which can be looked into by hand alone"


@dataclass(frozen=True)
class Entry:
    """A move: `target` is a path, or `TRASH`."""

    source: str
    target: str
    sha256: str
    at: str = ""


class Journal:
    """The file of JSON lines in which moves are recorded; each line is on the disk before its file is moved."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self, source: Path, target: str, sha256: str) -> None:
        """Record a move that is about to happen; raises CollectionError where that cannot be written."""
        self._write(asdict(Entry(str(source), target, sha256, datetime.now(UTC).isoformat(timespec="seconds"))))

    def end(self, source: Path, target: str, sha256: str) -> None:
        """Record that a file is back, or was never moved."""
        self._write({"back": str(source), "target": target, "sha256": sha256})

    def _write(self, line: dict[str, Any]) -> None:
        try:
            is_new = not self.path.exists()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
            # A line that a crash cut short must not take the next one with it.
            text = ("" if is_new else "\n") + json.dumps(line)
            handle = os.open(self.path, flags, 0o600)
            try:
                os.write(handle, text.encode("ascii"))
                os.fsync(handle)
            finally:
                os.close(handle)
            if is_new:
                sync_folder(self.path.parent)
        except OSError as error:
            raise CollectionError(
                f"{self.path} cannot be written ({system_reason(error)}); nothing more is moved without it"
            ) from error

    def pending(self) -> list[Entry]:
        """Moves that were not taken back, the latest first; lines that are damaged are passed over."""
        moved: dict[tuple[str, str, str], Entry] = {}
        for line in self._lines():
            if "back" in line:
                _forget(moved, str(line["back"]), str(line.get("target", "")), line.get("sha256"))
            elif _is_move(line):
                entry = Entry(line["source"], line["target"], line["sha256"], str(line.get("at", "")))
                # Another photo of that name may have gone to the trash before: each has its own entry.
                _forget(moved, entry.source, entry.target, entry.sha256)
                moved[entry.source, entry.target, entry.sha256] = entry
        return list(reversed(moved.values()))

    def _lines(self) -> Iterator[dict[str, Any]]:
        try:
            is_ours = self.path.is_file() and not self.path.is_symlink()
            lines = self.path.read_text("ascii", errors="replace").splitlines() if is_ours else []
        except OSError as error:
            raise CollectionError(f"{self.path} cannot be read ({system_reason(error)})") from error
        for text in lines:
            try:
                line = json.loads(text)
            except ValueError:
                continue
            if isinstance(line, dict):
                yield line

    def undo(self) -> Iterator[tuple[Entry, str | None]]:
        """Put back every file; yields each entry with the reason why it could not be put back, or None."""
        for entry in self.pending():
            reason = _put_back(entry)
            if reason is None:
                self.end(Path(entry.source), entry.target, entry.sha256)
            yield entry, reason


def _forget(moved: dict[tuple[str, str, str], Entry], source: str, target: str, sha256: object) -> None:
    """Take out what a line about a file ends; lines of earlier releases do not say which content is back."""
    ended = [key for key in moved if key[:2] == (source, target)] if sha256 is None else [(source, target, str(sha256))]
    for key in ended:
        moved.pop(key, None)


def _is_move(line: dict[str, Any]) -> bool:
    """Whether a line names a file by its content: one in a folder that somebody handed you could name any other."""
    texts = all(isinstance(line.get(name), str) for name in ("source", "target", "sha256"))
    return texts and DIGEST.fullmatch(line["sha256"]) is not None


def _put_back(entry: Entry) -> str | None:
    source = Path(entry.source)
    target = trashed(source, entry.sha256) if entry.target == TRASH else Path(entry.target)
    is_there = target is not None and target.is_file() and not target.is_symlink()
    if os.path.lexists(source):
        # A crash may have come between the line and the move, or between the two halves of a move.
        return None if not is_there and not changed_content(source, entry.sha256) else "there is a file of that name"
    if target is None or not is_there:
        missing = ONLY_BY_HAND if sys.platform in FOREIGN else "not found in the trash"
        return missing if entry.target == TRASH else f"{entry.target} is no longer there"
    if changed_content(target, entry.sha256):
        return f"{target} has changed since it was moved"
    try:
        source.parent.mkdir(parents=True, exist_ok=True)
        move_file(target, source)
        if entry.target == TRASH:
            (target.parent.parent / "info" / f"{target.name}.trashinfo").unlink(missing_ok=True)
    except OSError as error:
        return system_reason(error)
    return None


def trashed(source: Path, sha256: str) -> Path | None:
    """Where a file lies in a trash can of freedesktop.org's layout; None where it is not found."""
    for trash in _trash_cans(source):
        for note in sorted(trash.glob("info/*.trashinfo"), reverse=True):
            file = trash / "files" / note.name.removesuffix(".trashinfo")
            if file.is_file() and _noted(note, trash) == source and not changed_content(file, sha256):
                return file
    return None


def _trash_cans(source: Path) -> list[Path]:
    home = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "Trash"
    user = os.getuid() if hasattr(os, "getuid") else 0
    volumes = [folder for folder in source.absolute().parents if os.path.ismount(folder)]
    return [home, *(volume / name for volume in volumes for name in (f".Trash/{user}", f".Trash-{user}"))]


def _noted(note: Path, trash: Path) -> Path | None:
    """The path that a file in the trash had; relative ones are seen from the folder that the trash can lies in."""
    from urllib.parse import unquote_to_bytes

    try:
        lines = note.read_text("utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    named = next((line.removeprefix("Path=") for line in lines if line.startswith("Path=")), None)
    if named is None:
        return None
    top = trash.parent.parent if trash.parent.name == ".Trash" else trash.parent
    return top / os.fsdecode(unquote_to_bytes(named))
