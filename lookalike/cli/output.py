"""How every command prints: results on stdout, all else on stderr, names of files without control characters."""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lookalike.errors import LookalikeError
from lookalike.utils.text import command, counted, hyperlink, printable
from lookalike.utils.verbosity import complain, is_quiet

if TYPE_CHECKING:
    from lookalike.collection.collection import Collection
    from lookalike.collection.sync import IndexReport

__all__ = [
    "by_reason", "check_files", "check_folder", "complain", "linked", "listed", "note", "number", "print_json",
    "printable", "refuse_unindexed", "say", "tell_lost_index", "tell_skipped", "tell_unreachable", "tell_withheld",
    "write",
]  # fmt: skip

FEW = 3
"""Files that are named one by one; of more with one reason, the first stands for all."""
REASONS = 5
"""Reasons that a run tells."""


def number(value: object) -> str:
    """A number as text, with commas between thousands."""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}" if isinstance(value, float) else str(value)


def listed(value: object) -> str:
    """A fact as one line of text: a list by commas, a table as names and values."""
    if isinstance(value, list):
        return ", ".join(value)
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')} {number(inner)}" for name, inner in value.items())
    return number(value)


def say(text: str) -> None:
    """Print lines of a result, with control characters escaped."""
    print("\n".join(map(printable, text.split("\n"))))


def linked(path: Path | None, name: str) -> str:
    """A name with control characters escaped, on a terminal as a hyperlink to its file."""
    if path is None or not sys.stdout.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        return printable(name)
    return hyperlink(printable(name), path.absolute().as_uri())


def write(text: str, end: str) -> None:
    """Print a path as the bytes that it has on disk."""
    sys.stdout.flush()
    sys.stdout.buffer.write((text + end).encode("utf-8", "surrogateescape"))


def print_json(value: object) -> None:
    """Print one document, in ASCII: a name that is not UTF-8 stays readable."""
    print(json.dumps(value, indent=2))


def note(text: str) -> None:
    """Print a line on stderr, unless --quiet was given."""
    if not is_quiet():
        complain(text)


def check_folder(out: Path | None) -> None:
    """Raise LookalikeError where results cannot be written into a folder of this name, before any work is done."""
    if out is not None and out.exists() and not out.is_dir():
        raise LookalikeError(f"{out} is a file; name a folder for what is written")


def check_files(*files: Path | None) -> None:
    """Raise LookalikeError where files of these names cannot be written, before any work is done."""
    for file in files:
        if file is None:
            continue
        if file.is_dir():
            raise LookalikeError(f"{file} is a folder; name a file")
        if not file.absolute().parent.is_dir():
            raise LookalikeError(f"{file} cannot be written (there is no folder {file.parent})")


def tell_lost_index() -> None:
    """Say that new rows have no index any more."""
    note("the index went with the old row numbers; run `lookalike optimize` again")


def tell_skipped(reasons: Sequence[tuple[str, str]], path: Path) -> None:
    """Say on stderr how many files have which reason, and the command that lists them all; name them where few have."""
    groups = by_reason(reasons)
    for reason, keys in list(groups.items())[:REASONS]:
        for key in keys if len(keys) <= FEW else ():
            note(f"skipped {key}: {reason}")
        if len(keys) > FEW:
            note(f"skipped {len(keys):,}, as {keys[0]}: {reason}")
    if len(reasons) > FEW:
        note(f"{len(reasons):,} skipped in all; `{command('info', path, '--skipped')}` lists them")


def by_reason(reasons: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    """The keys of every reason, the rarest reasons first: a damaged photo is not lost among a thousand videos."""
    groups: dict[str, list[str]] = {}
    for key, reason in reasons:
        groups.setdefault(reason, []).append(key)
    return dict(sorted(groups.items(), key=lambda group: len(group[1])))


def tell_withheld(report: "IndexReport") -> None:
    """Name the sources that are perhaps only away, how many of their images stay, and the way out."""
    if report.withheld:
        count = counted(report.withheld, "image is", "images are")
        stay = "stays" if report.withheld == 1 else "stay"
        note(
            f"{', '.join(report.away)}: {count} gone, most of what was there, and {stay} in the "
            "collection; if that is right, run the same command with --allow-removals"
        )


def tell_unreachable(report: "IndexReport", folder: Path) -> None:
    """Name the sources that could not be read, beside others that were brought into step, and the way out."""
    for place, why in report.unreachable.items():
        way = command("sources", folder, "--move", place, "NEW")
        stay = "its images stay as they are until it is back"
        note(f"{why}; {stay}; if it lies elsewhere or is gone: `{way}`, or --forget")


def refuse_unindexed(collection: "Collection") -> None:
    """Raise CollectionError where there is no collection yet, or what is left of one must be repaired first."""
    if not collection.exists:
        # Opening it says why.
        collection.store  # noqa: B018
