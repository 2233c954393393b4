"""A source to changes of a collection: images that are new, changed, renamed, gone or cannot be used."""

import logging
import os
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from lookalike.collection.follow_sidecars import Sidecars
from lookalike.collection.lost import is_gone, is_suspicious
from lookalike.encoders.pipeline import EmbeddedImage, embed_batches
from lookalike.images.sources import Folder, Source, SourceEntry
from lookalike.storage.block import Block
from lookalike.storage.kept_columns import Returning
from lookalike.storage.store import Item, Store
from lookalike.storage.taken_out import TakenOut
from lookalike.types import Encoder, Progress

# Seconds between commits: a crash loses little, and the disk is not flushed for every image.
COMMIT_SECONDS = float(os.environ.get("LOOKALIKE_COMMIT_SECONDS", "2"))

LOOKED_UP = 256
"""Entries that are looked up in the catalog at once."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Part:
    """Some files or subfolders of a folder, as a Source: what a watcher reports. `keys` are relative paths."""

    whole: Folder
    keys: tuple[str, ...]

    @classmethod
    def of(cls, source: Source, paths: Sequence[str | Path]) -> "Part | None":
        """Those of `paths` that lie in a folder, by its own path or the resolved one; None where none does."""
        if not isinstance(source, Folder):
            return None
        bases = dict.fromkeys((source.location.absolute(), source.location.resolve()))
        places = [Path(path).absolute() for path in paths]
        inside = [
            place.relative_to(base).as_posix()
            for place in places
            for base in bases
            if place.is_relative_to(base) and place != base
        ]
        return cls(source, tuple(dict.fromkeys(sorted(inside)))) if inside else None

    @property
    def location(self) -> Path:
        """The whole folder."""
        return self.whole.location

    @property
    def ignore(self) -> tuple[str, ...]:
        """The patterns of the whole folder."""
        return self.whole.ignore

    @property
    def is_folder(self) -> bool:
        """Whether it is one folder, which somebody named, and not files that changed."""
        return len(self.keys) == 1 and (self.whole.location / self.keys[0]).is_dir()

    def entries(self) -> Iterator[SourceEntry]:
        """The files at these keys or under them."""
        seen: set[str] = set()
        for key in self.keys:
            for entry in self.whole.at(key):
                if entry.key not in seen:
                    seen.add(entry.key)
                    yield entry

    def count(self) -> int | None:
        """None: the number is not known beforehand."""
        return None

    def contains(self, key: str) -> bool:
        """Whether a file of that name exists."""
        return self.whole.contains(key)

    def read(self, key: str) -> bytes:
        """The bytes of a file."""
        return self.whole.read(key)

    def path(self, key: str) -> Path | None:
        """The path of a file."""
        return self.whole.path(key)


@dataclass
class IndexReport:
    """How many images were added, changed, renamed, removed, left unchanged, and skipped for a reason.

    `withheld` images are gone, but stay in the collection, since their source lost most of what it had and is perhaps
    only away: `index(allow_removals=True)` takes them out. `away` names these sources. `unreachable` are sources that
    cannot be read at all here, each with the reason, beside others that were brought into step: their images stay.
    """

    added: int = 0
    changed: int = 0
    renamed: int = 0
    removed: int = 0
    unchanged: int = 0
    skipped: int = 0
    withheld: int = 0
    away: list[str] = field(default_factory=list, compare=False, repr=False)
    unreachable: dict[str, str] = field(default_factory=dict, compare=False, repr=False)

    def to_json(self) -> dict[str, int]:
        """The counts by name."""
        return {name: count for name, count in asdict(self).items() if isinstance(count, int)}


class Sync:
    """A run over a source. The store must be open for writing; the run ends with a commit."""

    def __init__(
        self,
        store: Store,
        source: Source,
        source_id: int,
        prefix: str,
        report: IndexReport,
        allow_removals: bool = False,
    ) -> None:
        self._store, self._source, self._id, self._prefix = store, source, source_id, prefix
        self.report, self._allow_removals = report, allow_removals
        self._returning, self._taken_out = Returning(store), TakenOut(store)
        self._sidecars = Sidecars(store.catalog)
        # A byte per row: a set of numbers would take sixty.
        self._seen = bytearray(store.catalog.count_rows())
        self._unknown: list[str] = []
        self._done = self._added = 0
        self._committed_at = time.monotonic()

    def run(self, encoder: Encoder, progress: Progress | None, start: int, total: int | None) -> int:
        """Embed what is new, remove what is gone; the number of entries of the source."""
        self._clear_skipped()
        try:
            for batch in embed_batches(self._entries_to_read(progress, start, total), encoder, self._known):
                self._take(batch)
                self._report_progress(len(batch), progress, start, total)
                if time.monotonic() - self._committed_at > COMMIT_SECONDS:
                    self._commit()
        except KeyboardInterrupt:
            self._commit()
            raise
        self._remove_gone()
        self._commit()
        return self._done

    def _clear_skipped(self) -> None:
        if isinstance(self._source, Part):
            for key in self._source.keys:
                self._store.catalog.clear_skipped_under(self._prefix + key)
        else:
            self._store.catalog.clear_skipped(self._id)

    def _expected(self) -> Iterator[tuple[int, str]]:
        """(row, key) of the items that the source should still have."""
        if isinstance(self._source, Part):
            for key in self._source.keys:
                yield from self._store.catalog.rows_under(self._id, self._prefix + key)
        else:
            yield from self._store.catalog.rows_of_source(self._id)

    def _report_progress(self, entries: int, progress: Progress | None, start: int, total: int | None) -> None:
        for _ in range(entries):
            self._done += 1
            if progress:
                progress(start + self._done, total)

    def _mark(self, row: int) -> None:
        self._seen.extend(bytes(max(0, row + 1 - len(self._seen))))
        self._seen[row] = 1

    def _is_seen(self, row: int) -> bool:
        return row < len(self._seen) and bool(self._seen[row])

    def _commit(self) -> None:
        self._store.commit()
        self._committed_at = time.monotonic()

    def _known(self, contents: Sequence[str]) -> set[str]:
        """Which of some contents have an intact vector."""
        return {item.sha256 for item in self._store.intact_contents(contents)}

    def _entries_to_read(self, progress: Progress | None, start: int, total: int | None) -> Iterator[SourceEntry]:
        """New and changed entries; the unchanged ones are counted here."""
        for block in _blocks(self._source.entries()):
            fresh = self._fresh(block)
            self._report_progress(len(block) - len(fresh), progress, start, total)
            yield from fresh

    def _fresh(self, entries: Sequence[SourceEntry]) -> list[SourceEntry]:
        """Those that are neither in the collection as they are nor taken out of it by hand."""
        keys = [self._prefix + entry.key for entry in entries]
        self._sidecars.follow(keys, entries)
        items, dismissed = self._store.catalog.live_items_of(keys), self._store.catalog.dismissed_of(keys)
        fresh = []
        for entry, key in zip(entries, keys, strict=True):
            item = items.get(key)
            if item and item.source == self._id and (item.size, item.mtime_ns) == (entry.size, entry.mtime_ns):
                self._mark(item.row)
                self.report.unchanged += 1
            elif (key, entry.size, entry.mtime_ns) not in dismissed:
                fresh.append(entry)
        return fresh

    def _take(self, batch: Sequence[EmbeddedImage]) -> None:
        """Bring the collection into step with a batch of entries."""
        keys = [self._prefix + embedded.entry.key for embedded in batch]
        contents = [embedded.sha256 for embedded in batch if embedded.reason is None]
        block = Block(self._store, keys, contents)
        marks = self._taken_out.keys(contents)
        with self._store.whole():
            for key, embedded in zip(keys, batch, strict=True):
                self._take_one(embedded, key, block, marks.get(embedded.sha256, ()))
            block.write()
            self._returning.give(block.arrivals)

    def _take_one(self, embedded: EmbeddedImage, key: str, block: Block, marks: Collection[str]) -> None:
        """`marks` are the keys that this content was taken out under."""
        entry, old = embedded.entry, block.live_item(key)
        if embedded.reason is not None:
            self._skip(key, embedded.reason, block)
        elif old and old.source != self._id:
            self._skip(key, "another source of this collection has an image of this name", block)
        elif old and old.sha256 == embedded.sha256:
            block.rename(old, key, entry.size, entry.mtime_ns)
            self._mark(old.row)
            self.report.unchanged += 1
        elif (marked := self._mark_of(embedded.sha256, key, block, marks)) is not None:
            self._taken_out.follow(embedded.sha256, marked, key, entry.size, entry.mtime_ns)
        else:
            self._store_content(embedded, key, block)

    def _mark_of(self, sha256: str, key: str, block: Block, marks: Collection[str]) -> str | None:
        """The key that this file was taken out under; None where it was not, or where it is a copy of one that was."""
        if key in marks:
            return key
        if not marks or not all(item.removed for item in block.items_of_content(sha256)):
            return None
        return next((marked for marked in sorted(marks) if self._taken_out.has_moved(marked, key)), None)

    def _skip(self, key: str, reason: str, block: Block) -> None:
        if key.endswith("/"):
            self._unknown.append(key)
        block.skip(self._id, key, reason)
        self.report.skipped += 1

    def _store_content(self, embedded: EmbeddedImage, key: str, block: Block) -> None:
        entry, old = embedded.entry, block.live_item(key)
        if embedded.facts:
            block.describe(embedded.sha256, embedded.facts)
        same = block.items_of_content(embedded.sha256)
        renamed = next((item for item in same if self._was_renamed(item)), None) if old is None else None
        if renamed:
            block.rename(renamed, key, entry.size, entry.mtime_ns)
            self._mark(renamed.row)
            self.report.renamed += 1
            return
        vector = same[0].row if same else embedded.vector
        width, height = (same[0].width, same[0].height) if same else (embedded.width, embedded.height)
        assert vector is not None, "content is either known or was encoded"
        item = Item(-1, self._id, key, entry.size, entry.mtime_ns, embedded.sha256, width, height)
        self._mark(block.add(item, vector))
        if old:
            self.report.changed += 1
        else:
            self.report.added += 1
            self._added += 1

    def _was_renamed(self, item: Item) -> bool:
        """Whether the file of an item is gone, so that the same content elsewhere is a renamed file."""
        if item.removed or item.source != self._id or self._is_seen(item.row):
            return False
        return not self._source.contains(item.key.removeprefix(self._prefix))

    def _remove_gone(self) -> None:
        """Remove the items that the source no longer has, except in folders that could not be read.

        Where it lost most of what it had, those whose files are not there stay: the disk may be away.
        """
        unknown, gone, expected = tuple(self._unknown), {}, 0
        for row, key in self._expected():
            expected += 1
            if not self._is_seen(row) and not key.startswith(unknown):
                gone[row] = key
        withheld = self._withheld(gone, expected - self._added) if gone and not self._allow_removals else set()
        removed = [row for row in gone if row not in withheld]
        self._store.catalog.remove(removed)
        self._returning.pass_on(removed)
        self.report.removed += len(gone) - len(withheld)
        self.report.withheld += len(withheld)
        self.report.away += [str(self._source.location)] if withheld else []
        log.debug("%d images are gone from %s, %d stay", len(gone), self._source.location, len(withheld))

    def _withheld(self, gone: Mapping[int, str], expected: int) -> set[int]:
        """Which rows stay although they are gone: all that are lost, or none."""
        had, is_empty = self._before(expected)
        if not is_suspicious(len(gone), had, is_empty):
            return set()
        lost = self._lost(gone)
        return lost if is_suspicious(len(lost), had, is_empty) else set()

    def _before(self, expected: int) -> tuple[int, bool]:
        """How many images the source had before this run, and whether it yields nothing now.

        What a watcher reports is a part of the folder, and deleting all of a part is nothing unusual.
        """
        if not isinstance(self._source, Part) or self._source.is_folder:
            return expected, self._done == 0
        count = self._store.catalog.count_live(self._id) - self._added
        return count, next(iter(self._source.whole.entries()), None) is None

    def _lost(self, gone: Mapping[int, str]) -> set[int]:
        """Rows whose file is not there, and whose content has no other name in this source."""
        contents = self._store.catalog.contents_of(list(gone))
        live = self._store.catalog.live_contents(list(contents.values()))
        kept = {sha256 for sha256, rows in live.items() if any(map(self._is_seen, rows))}
        return {
            row
            for row, key in gone.items()
            if contents.get(row) not in kept and is_gone(self._source, key.removeprefix(self._prefix))
        }


def _blocks(entries: Iterable[SourceEntry]) -> Iterator[list[SourceEntry]]:
    """Entries that are looked up together; a sequential one is alone, since it is read before the next comes."""
    block: list[SourceEntry] = []
    for entry in entries:
        block.append(entry)
        if entry.sequential or len(block) == LOOKED_UP:
            yield block
            block = []
    if block:
        yield block
