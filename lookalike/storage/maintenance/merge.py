"""Several collections of one encoder to a new one that holds what all of them hold."""

import os
import shutil
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

from lookalike.encoders import whitening
from lookalike.errors import CollectionError, CollectionLocked, EncoderMismatch
from lookalike.images.remote import is_remote, located
from lookalike.storage import store
from lookalike.storage.catalog import Item, from_blob, to_blob
from lookalike.storage.copy_rows import Pour, copy_tables
from lookalike.storage.filters import after
from lookalike.storage.metadata import column
from lookalike.storage.store import Store, sync_folder
from lookalike.storage.swap import beside
from lookalike.types import Progress


@dataclass(frozen=True)
class Merge:
    """How many images the new collection has, and how many were in more than one."""

    images: int
    shared: int


def merge(paths: Sequence[Path], into: Path, progress: Progress | None = None) -> Merge:
    """Make the collection `into` of those in `paths`; where two know the same file, the first one's row is taken.

    A source keeps its prefix, or gets the next free one. It is made beside `into` and renamed, so an interruption
    leaves nothing. Until it is done nobody writes to those in `paths`: raises CollectionLocked where somebody does, and
    EncoderMismatch where the vectors are of different encoders.
    """
    if into.exists():
        raise CollectionError(f"{into} is there already; name a new folder")
    draft = beside(into, "merging")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        with ExitStack() as stack:
            places = {path.resolve(): path for path in paths}.values()
            parts = [stack.enter_context(closing(Store(path))) for path in places]
            _check(parts)
            for part in parts:
                _hold(part, stack)
            with closing(store.create(draft, replace(parts[0].header, engine=None))) as new:
                with new.writing():
                    copy_tables(parts[0], new, ("facts",))
                    shared = sum(_pour(part, new, into, progress) for part in parts)
                report = Merge(new.catalog.count_rows(), shared)
            learned = whitening.load(parts[0].path)
            if learned:
                learned.save(draft)
        draft.rename(into)
        sync_folder(into.absolute().parent)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise CollectionError(f"{draft}: cannot be written ({reason}); nothing was made") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return report


def _hold(part: Store, stack: ExitStack) -> None:
    """Keep a collection as it is: who would write to it is told at once, not after waiting for a snapshot to end."""
    try:
        stack.enter_context(part.locked())
    except CollectionLocked:
        raise
    except CollectionError:
        # Where nobody can write, on a medium that is only read, nobody has to be told.
        stack.enter_context(part.catalog.database.snapshot())


def _check(parts: Sequence[Store]) -> None:
    first = parts[0].header
    for part in parts[1:]:
        if part.header.fingerprint != first.fingerprint:
            raise EncoderMismatch(
                f"{part.path} was made with {part.header.encoder} ({part.header.fingerprint[:12]}), {parts[0].path} "
                f"with {first.encoder} ({first.fingerprint[:12]}); only vectors of one encoder can be merged"
            )


def _pour(part: Store, new: Store, into: Path, progress: Progress | None) -> int:
    """Rows, sources, metadata and dismissals of one collection; how many keys were there already."""
    sources, prefixes, known = {}, {}, _known(new, into)
    for id_, location, prefix in part.catalog.sources():
        place = located(part.path.resolve(), location)
        sources[id_], fresh = known.get(place) or _add(new, into, place, prefix)
        prefixes[id_] = (prefix, fresh)
    taken = 0

    def renamed(source: int, key: bytes) -> bytes | None:
        nonlocal taken
        if source not in prefixes:
            raise CollectionError(f"{part.path}: {from_blob(key)} is of an unknown source; run `lookalike verify`")
        before, after = prefixes[source]
        name = after + from_blob(key).removeprefix(before)
        held = new.catalog.live_item(name)
        if held is None:
            return to_blob(name)
        if held.source != sources[source] and not _is_same(held, part.catalog.live_item(from_blob(key))):
            raise CollectionError(f"{part.path}: {name} is the name of two images; name {part.path} before the others")
        taken += 1
        return None

    columns = {
        number: column(new, name) for number, name in part.catalog.database.query("SELECT id, name FROM columns")
    }
    Pour(key=renamed, sources=sources, columns=columns)(part, new, progress)
    for key, size, mtime_ns in part.catalog.database.query("SELECT key, size, mtime_ns FROM dismissed"):
        new.catalog.put("dismissed", _dismissed(key, prefixes.values()), size, mtime_ns, verb="INSERT OR REPLACE")
    return taken


def _is_same(one: Item, other: Item | None) -> bool:
    """Whether two images have the same bytes, as far as these were ever seen."""
    return other is not None and bool(one.sha256) and one.sha256 == other.sha256


def _dismissed(key: bytes, prefixes: Iterable[tuple[str, str]]) -> bytes:
    """The new key of a file whose source nobody noted: that of the longest prefix that it begins with."""
    name = from_blob(key)
    before, after = max((pair for pair in prefixes if name.startswith(pair[0])), key=_length, default=("", ""))
    return to_blob(after + name.removeprefix(before))


def _length(pair: tuple[str, str]) -> int:
    return len(pair[0])


def _known(new: Store, into: Path) -> dict[str, tuple[int, str]]:
    """Where the new collection's images come from so far."""
    return {located(into.absolute(), location): (id_, prefix) for id_, location, prefix in new.catalog.sources()}


def _add(new: Store, into: Path, place: str, prefix: str) -> tuple[int, str]:
    taken = {prefix for _, _, prefix in new.catalog.sources()}
    folder = place.partition("?")[0] if is_remote(place) else place
    name = prefix or (f"{Path(folder).name or 'root'}/" if taken else "")
    free, number = name, 2
    while free in taken or (free and _is_folder(new, free)):
        free, number = f"{name.rstrip('/')}-{number}/", number + 1
    inside = not is_remote(place) and into.absolute().is_relative_to(place)
    location = os.path.relpath(place, into.absolute()) if inside else place
    return new.catalog.add_source(location, free), free


def _is_folder(new: Store, prefix: str) -> bool:
    """Whether another source has images in a folder of this name, or had some that were taken out by hand."""
    first = to_blob(prefix)
    last = after(first)
    found = "SELECT 1 FROM {} WHERE {} key >= ? AND key < ?"
    tables = f"{found.format('items', 'removed = 0 AND')} UNION ALL {found.format('dismissed', '')} LIMIT 1"
    return bool(new.catalog.database.query(tables, (first, last, first, last)))
