"""Several collections of the same encoder to a new one with the images of all of them."""

import logging
import os
import shutil
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

from lookalike.encoders import adaptation, whitening
from lookalike.errors import CollectionError, CollectionLocked, EncoderMismatch
from lookalike.images.remote import is_remote, located
from lookalike.storage import distinct, kept_columns, marks, photo_facts, refitted, sidecars, store, taken_out
from lookalike.storage.catalog import Item, from_blob, to_blob
from lookalike.storage.copy_rows import RowChanges, copy_rows, copy_tables
from lookalike.storage.filters import after
from lookalike.storage.maintenance.adapt import has_former
from lookalike.storage.manifest import read_header
from lookalike.storage.metadata import columns_in
from lookalike.storage.regions import folder, has_regions
from lookalike.storage.rekey import KeyOf
from lookalike.storage.store import Store
from lookalike.storage.swap import FORMER, beside
from lookalike.types import Progress
from lookalike.utils.files import reason, sync_folder

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Merge:
    """How many images the new collection has, and how many were in more than one of the old ones."""

    images: int
    shared: int


def merge(paths: Sequence[Path], into: Path, progress: Progress | None = None) -> Merge:
    """Make the collection `into` of those in `paths`; of a file that is in two of them, the first row is taken.

    A source keeps its prefix, or gets the next free one. It is made beside `into` and renamed, so an interruption
    leaves nothing. Those in `paths` are locked meanwhile: raises CollectionLocked where another process writes to one,
    and EncoderMismatch where the vectors are of different encoders.
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
                _freeze(part, stack)
            with closing(store.create(draft, replace(parts[0].header, engine=None))) as new:
                with new.writing():
                    copy_tables(parts[0], new, ("facts",))
                    new.catalog.clear_ignored()
                    kept_columns.clear(new)
                    shared = sum(_add_part(part, new, into, progress) for part in parts)
                report = Merge(new.catalog.count_rows(), shared)
            for file in (whitening.FILE, adaptation.FILE):
                if learned := whitening.load(parts[0].path, file):
                    learned.save(draft, file)
            if all(has_former(part.path) for part in parts):
                merge([part.path / FORMER for part in parts], draft / FORMER)
            _merge_regions([part for part in parts if has_regions(part.path)], draft)
        draft.rename(into)
        sync_folder(into.absolute().parent)
    except OSError as error:
        raise CollectionError(f"{draft}: cannot be written ({reason(error)}); nothing was made") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return report


def _merge_regions(parts: Sequence[Store], draft: Path) -> None:
    """Join the regions of those that have some, where they are of one kind, and of the vectors beside them."""
    headers = [read_header(folder(part.path)) for part in parts]
    fitting = all(
        of_parts.fingerprint == part.header.fingerprint for of_parts, part in zip(headers, parts, strict=True)
    )
    if len({header.encoder for header in headers}) == 1 and fitting:
        merge([folder(part.path) for part in parts], folder(draft))
    elif parts:
        log.warning("the regions differ and are left out; `lookalike index` with --regions makes them anew")


def _freeze(part: Store, stack: ExitStack) -> None:
    """Keep a collection as it is, with its lock: a writer then fails at once, and does not wait for a snapshot."""
    try:
        stack.enter_context(part.locked())
    except CollectionLocked:
        raise
    except CollectionError:
        # A read-only medium has no lock, and no writer.
        stack.enter_context(part.catalog.snapshot())


def _check(parts: Sequence[Store]) -> None:
    first = parts[0].header
    for part in parts[1:]:
        if part.header.fingerprint != first.fingerprint:
            raise EncoderMismatch(
                f"{part.path} was made with {part.header.encoder} ({part.header.fingerprint[:12]}), {parts[0].path} "
                f"with {first.encoder} ({first.fingerprint[:12]}); only vectors of one encoder can be merged"
            )


def _add_part(part: Store, new: Store, into: Path, progress: Progress | None) -> int:
    """Copy rows, sources, metadata and dismissals of a collection; how many of its keys `new` had already."""
    sources, prefixes, registered = {}, {}, _registered(new, into)
    for id_, location, prefix in part.catalog.sources():
        place = located(part.path.resolve(), location)
        sources[id_], new_prefix = registered.get(place) or _add_source(new, into, place, prefix)
        prefixes[id_] = (prefix, new_prefix)
        new.catalog.set_ignored(sources[id_], new.catalog.ignored(sources[id_]) or part.catalog.ignored(id_))
    shared = 0

    def new_key(source: int, key: bytes) -> bytes | None:
        nonlocal shared
        if source not in prefixes:
            raise CollectionError(f"{part.path}: {from_blob(key)} is of an unknown source; run `lookalike verify`")
        before, after = prefixes[source]
        name = after + from_blob(key).removeprefix(before)
        item = new.catalog.live_item(name)
        if item is None:
            return to_blob(name)
        if item.source != sources[source] and not _is_same(item, part.catalog.live_item(from_blob(key))):
            raise CollectionError(f"{part.path}: {name} is the name of two images; name {part.path} before the others")
        shared += 1
        return None

    copy_rows(part, new, RowChanges(key=new_key, sources=sources, columns=columns_in(new, part)), progress)
    kept_columns.keep(part, new, _key_of(prefixes.values()))
    taken_out.remember(part, new, _key_of(prefixes.values()))
    for key, size, mtime_ns in part.catalog.dismissed():
        new.catalog.put("dismissed", _dismissed(key, prefixes.values()), size, mtime_ns, verb="INSERT OR REPLACE")
    distinct.carry(part, new)
    marks.carry(part, new)
    photo_facts.carry(part, new)
    sidecars.carry(part, new, _key_of(prefixes.values()))
    refitted.carry(part, new)
    return shared


def _is_same(item: Item, other: Item | None) -> bool:
    """Whether two images have the same bytes; False where these were never read."""
    return other is not None and bool(item.sha256) and item.sha256 == other.sha256


def _dismissed(key: bytes, prefixes: Iterable[tuple[str, str]]) -> bytes:
    """The new key of a file whose source is not recorded: by the longest prefix that it begins with."""
    name = from_blob(key)
    before, after = max((pair for pair in prefixes if name.startswith(pair[0])), key=_length, default=("", ""))
    return to_blob(after + name.removeprefix(before))


def _key_of(prefixes: Iterable[tuple[str, str]]) -> KeyOf:
    return lambda key: from_blob(_dismissed(to_blob(key), prefixes))


def _length(pair: tuple[str, str]) -> int:
    return len(pair[0])


def _registered(new: Store, into: Path) -> dict[str, tuple[int, str]]:
    """The sources of the new collection so far: place to (id, prefix)."""
    return {located(into.absolute(), location): (id_, prefix) for id_, location, prefix in new.catalog.sources()}


def _add_source(new: Store, into: Path, place: str, prefix: str) -> tuple[int, str]:
    """Add a source under its prefix, or the next free one: (id, prefix)."""
    taken = {prefix for _, _, prefix in new.catalog.sources()}
    folder = place.partition("?")[0] if is_remote(place) else place
    name = prefix or (f"{Path(folder).name or 'root'}/" if taken else "")
    free, number = name, 2
    while free in taken or (free and _is_folder(new, free)):
        free, number = f"{name.rstrip('/')}-{number}/", number + 1
    is_inside = not is_remote(place) and into.absolute().is_relative_to(place)
    location = os.path.relpath(place, into.absolute()) if is_inside else place
    return new.catalog.add_source(location, free), free


def _is_folder(new: Store, prefix: str) -> bool:
    """Whether another source has images in a folder of this name, or had some that were taken out by hand."""
    first = to_blob(prefix)
    return new.catalog.has_keys_between(first, after(first))
