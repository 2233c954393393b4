"""A collection on disk, opened for reading: its store, encoder, gallery, regions and further vector sets."""

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lookalike.collection import parents, places
from lookalike.encoders import adaptation, load_encoder, reads_text, whitening
from lookalike.encoders import precision as precisions
from lookalike.encoders.adaptation import LearnedMap
from lookalike.encoders.whitened import bare, whitened
from lookalike.errors import CollectionError, EncoderError, EncoderMismatch, QueryError, SourceError
from lookalike.images.remote import is_remote, located
from lookalike.images.sources import Source
from lookalike.index.ann import facts
from lookalike.integrations import addresses as engines
from lookalike.search.gallery import StoredGallery
from lookalike.search.hybrid import Space
from lookalike.search.options import SearchOptions
from lookalike.search.regions import Regions
from lookalike.storage import photo_facts, refitted, store
from lookalike.storage import regions as stored_regions
from lookalike.storage.maintenance.adapt import report
from lookalike.storage.manifest import refuse_remains, remains
from lookalike.storage.origins import Origins
from lookalike.storage.store import Store
from lookalike.storage.swap import SETS, recover
from lookalike.types import Encoder, TextEncoder
from lookalike.utils.text import command

log = logging.getLogger(__name__)

FOLDER = parents.FOLDER
KEPT_OPEN = 2
"""Stores of collections that were replaced, for searches that began before."""


@dataclass(frozen=True)
class Requested:
    """What a collection was opened with; a new one uses `encoder` and `engine`, an existing one must match them."""

    encoder: str | Encoder | None = None
    sources: tuple[Path, ...] = ()
    device: str | None = None
    engine: str | None = None
    adaptation: LearnedMap | None = None
    """The map of `adapt` for a new collection, where its encoder's vectors are those that the map was learned on."""


class Reader:
    """Images, their vectors and where they came from; safe to use from several threads and processes."""

    def __init__(self, path: Path, requested: Requested = Requested()) -> None:
        """The collection in the folder `path`, made by the first `Writer.index`."""
        self.path, self.requested = path, requested
        self._encoder: Encoder | None = None
        self._bare: Encoder | None = None
        self._open_store: Store | None = None
        self._open_gallery: StoredGallery | None = None
        self._retired: list[Store] = []
        self._open_sets: dict[Path, Reader] = {}
        self._parts: Reader | None = None
        self._warned: Store | None = None
        self._joined: tuple[StoredGallery, StoredGallery, Regions] | None = None
        # No thread has `_lock` while it reads a catalog, whose other readers may wait for that lock; `_loading` is
        # locked while weights are loaded.
        self._lock, self._loading = threading.RLock(), threading.RLock()
        recover(self.path)

    def __len__(self) -> int:
        return len(self.gallery)

    def close(self) -> None:
        """Close the files."""
        for further in (*self._open_sets.values(), *([self._parts] if self._parts is not None else [])):
            further.close()
        with self._lock:
            stores = [*self._retired, *([self._open_store] if self._open_store else [])]
            self._open_store = self._open_gallery = self._joined = None
            self._retired = []
        for open_store in stores:
            open_store.close()

    def forget_gallery(self) -> None:
        """Open the gallery again at its next use: `version` does not show commits of this object's own connection."""
        self._open_gallery = None

    def forget_sources(self) -> None:
        """Index what the catalog says from now on, not what the collection was opened with: a source was changed."""
        self.requested = replace(self.requested, sources=())
        self.forget_gallery()

    def use(self, encoder: str | Encoder | None) -> None:
        """Load this encoder, or the same one again, when it is needed next."""
        self.requested, self._encoder = replace(self.requested, encoder=encoder), None

    def adopt(self, new: Store) -> None:
        """Use the store of a collection that was just made."""
        self._open_store = new

    @property
    def exists(self) -> bool:
        """Whether anything was indexed yet."""
        return store.is_collection(self.path)

    @property
    def store(self) -> Store:
        """The files behind it; raises CollectionError where nothing was indexed yet."""
        with self._lock:
            outdated = self._retire() if self._open_store is not None and self._open_store.replaced else []
            if self._open_store is None:
                self._open_store = self._open()
            current = self._open_store
        # Outside the lock: a thread that still reads one of these may be waiting for it.
        for retired in outdated:
            retired.close()
        return current

    def _retire(self) -> list[Store]:
        """Set aside the open store where another process, or another object, has replaced the collection.

        A thread may still be searching it, so the last ones stay open. Returns those that may be closed.
        """
        recover(self.path)
        if self._open_store is None or not self._open_store.replaced or not self.exists:
            return []
        self._retired.append(self._open_store)
        self._open_store = self._open_gallery = self._encoder = None
        outdated, self._retired = self._retired[:-KEPT_OPEN], self._retired[-KEPT_OPEN:]
        return outdated

    def _open(self) -> Store:
        if not self.exists:
            refuse_remains(self.path)
            self.refuse_part()
            folder = self.requested.sources[0] if self.requested.sources else self.path
            raise CollectionError(f"{folder} has not been indexed; run `{command('index', folder)}`")
        new = Store(self.path)
        stored, engine = new.header.engine, self.requested.engine
        if engine and not (stored and engines.is_same(stored, engine)):
            place = stored or "a file of its own"
            new.close()
            raise CollectionError(
                f"{self.path} keeps its vectors in {place}, not in {engine}; give another --collection"
            )
        return new

    def refuse_part(self) -> None:
        """Raise CollectionError where this is a folder in another that is indexed, and has no collection itself."""
        for folder in self.requested.sources[:1] if not self.exists else ():
            if parent := parents.parent_of(folder):
                raise CollectionError(f"{folder} lies in {parent.folder}, which is indexed; name that folder")

    @property
    def gallery(self) -> StoredGallery:
        """What is searched: the state that was committed last, by this process or another."""
        # Each is read once: another thread may exchange either at any moment.
        current, gallery = self.store, self._open_gallery
        if gallery is None or gallery.store is not current or not gallery.is_newest:
            gallery = self._open_gallery = StoredGallery(current, lambda: self.encoder)
        return gallery

    @property
    def encoder(self) -> Encoder:
        """The encoder, loaded when first needed; raises EncoderMismatch where the vectors are of another encoder."""
        with self._loading:
            current = self.store if self.exists else None
            encoder = self._encoder
            if encoder is None:
                encoder = self._load_mapped()
            with self._lock:
                # An encoder that was loaded for a collection that was replaced meanwhile need not fit the new one.
                if current is self._open_store:
                    self._encoder = encoder
        if current is not None and encoder.fingerprint != current.header.fingerprint:
            stored = current.header.encoder
            if stored == encoder.name:
                raise EncoderMismatch(
                    f"{self.path} was made with {stored} of other weights or of an earlier release "
                    f"({current.header.fingerprint[:12]}, now {encoder.fingerprint[:12]}); index again with --rebuild"
                )
            raise EncoderMismatch(
                f"{self.path} was made with {stored} ({current.header.fingerprint[:12]}), not "
                f"{encoder.name} ({encoder.fingerprint[:12]}); open it with --encoder {stored}, keep both: "
                f"{command('index', self.folder, '--encoder', encoder.name)}, or index again with --rebuild"
            )
        return encoder

    def _load_mapped(self) -> Encoder:
        if self._bare is not None and (fitting := self._fitting(self._bare)):
            return fitting
        requested = self.requested.encoder
        encoder = requested if requested is not None and not isinstance(requested, str) else self._load()
        if not self.exists:
            kept = self.requested.adaptation
            return whitened(encoder, kept.map, "adapted") if kept and kept.source == encoder.fingerprint else encoder
        return self._mapped(encoder)

    def _fitting(self, encoder: Encoder) -> Encoder | None:
        """An encoder with the maps of the collection; None where the vectors are of another one by now."""
        try:
            mapped = self._mapped(encoder)
        except EncoderError:
            return None
        return mapped if mapped.fingerprint == self.store.header.fingerprint else None

    def _mapped(self, encoder: Encoder) -> Encoder:
        if learned := whitening.load(self.path):
            encoder = whitened(encoder, learned)
        adapted = whitening.load(self.path, adaptation.FILE)
        return whitened(encoder, adapted, "adapted") if adapted else encoder

    def through(self, encoder: Encoder) -> "Reader":
        """The same collection opened again, with `encoder` in place of its own: for a wrapper of that.

        What maps it may have are left aside: those of the collection follow, also where `adapt` exchanges them later.
        """
        reader = Reader(self.path, Requested(self.requested.encoder))
        reader._bare = bare(encoder)
        return reader

    @property
    def encoder_name(self) -> str:
        """The name of the encoder as requested, else as in the header."""
        if isinstance(self.requested.encoder, str):
            return self.requested.encoder
        if self.exists:
            return self.store.header.encoder
        # A collection that exists needs none of the encoders among which it chooses.
        from lookalike.encoders.default import default_encoder

        return default_encoder()

    def _load(self) -> Encoder:
        name, stored = self.encoder_name, self.store.header.encoder if self.exists else None
        device = {"device": self.requested.device} if self.requested.device else {}
        return load_encoder(precisions.settled(name, stored) if stored else name, **device)

    @property
    def further(self) -> list["Reader"]:
        """The vector sets that were added to this one, each a whole collection."""
        folders = sorted((self.path / SETS).glob("*")) if self.exists else []
        for folder in folders:
            if folder not in self._open_sets and store.is_collection(folder):
                self.open_set(folder)
        return [self._open_sets[folder] for folder in folders if folder in self._open_sets]

    @property
    def sets(self) -> dict[str, "Reader"]:
        """Encoder names to vector sets: this one itself first, and those that were added to it."""
        return {self.store.header.encoder: self} | {reader.store.header.encoder: reader for reader in self.further}

    def open_set(self, place: Path, encoder: str | Encoder | None = None) -> "Reader":
        """The vector set in `place`, which need not exist yet."""
        self._open_sets[place] = Reader(place, Requested(encoder, device=self.requested.device))
        return self._open_sets[place]

    def chosen(self, encoder: str | None) -> "Reader":
        """The vector set of an encoder; this one where none is named. Raises EncoderMismatch where it has none."""
        if encoder is None or encoder == self.store.header.encoder:
            return self
        return self.sets.get(encoder) or Reader(self.path, Requested(encoder))

    @property
    def parts(self) -> "Reader | None":
        """The regions of its images, as a collection; None where there are none."""
        place = stored_regions.folder(self.path)
        if self._parts is None:
            # Also finishes an exchange of the regions that was interrupted.
            self._parts = Reader(place)
            if remains(place):
                way = f"`lookalike verify {self.folder} --repair`, then `lookalike index {self.folder} --regions`"
                log.warning(
                    "the regions of %s lack their collection.json; searching whole pictures; %s", self.path, way
                )
        return self._parts if self._parts.exists else None

    def regions_of(self, gallery: StoredGallery, wanted: bool | None) -> Regions | None:
        """The regions of a state, where a search uses them; raises QueryError where there are none but must be."""
        parts = self.parts if wanted is not False else None
        if parts is None:
            if wanted:
                way = command("index", self.folder, "--regions")
                raise QueryError(f"{self.path} has no regions; add them: {way}")
            return None
        if not self.has_own_regions:
            message = (
                f"the regions of {self.path} are of other vectors; `{command('index', self.folder)}` makes them anew"
            )
            if wanted:
                raise EncoderMismatch(message)
            if self._warned is not parts.store:
                self._warned = parts.store
                log.warning("%s; searching whole pictures", message)
            return None
        of_parts, joined = parts.gallery, self._joined
        if joined is None or joined[0] is not gallery or joined[1] is not of_parts:
            whole, nearest = gallery.nearest, of_parts.nearest
            sides = (gallery.store.catalog, whole.rows, whole.live, of_parts.store.catalog, nearest.rows)
            regions = Regions(of_parts.store, nearest, whole, stored_regions.owners(*sides))
            joined = self._joined = (gallery, of_parts, regions)
        return joined[2]

    @property
    def has_own_regions(self) -> bool:
        """Whether there are regions, of the encoder (with its maps) that the vectors are of."""
        parts = self.parts
        return parts is not None and parts.store.header.fingerprint == self.store.header.fingerprint

    @property
    def reads_text(self) -> bool:
        """Whether its encoder reads text, as far as is known without loading it."""
        requested = self.requested.encoder
        if requested is None or isinstance(requested, str):
            return reads_text(self.store.header.encoder)
        return isinstance(requested, TextEncoder)

    @property
    def text_set(self) -> "Reader":
        """The vector set that words are searched in: this one, or the first that reads text. Raises QueryError."""
        for reader in (self, *self.further):
            if reader.reads_text:
                return reader
        way = command("index", self.folder, "--encoder", "siglip2-base")
        raise QueryError(f"{self.path} has no vectors of an encoder that reads text; add them: {way}")

    def space(self, options: SearchOptions) -> Space:
        """The vectors that a search with these options uses; raises EncoderMismatch where another encoder was named."""
        if self.requested.encoder is not None:
            # A named encoder is compared with the collection's, even where a stored vector is enough.
            self.encoder  # noqa: B018
        gallery = self.gallery
        regions = self.regions_of(gallery, options.regions)
        view = gallery.view(options.where, options.exclude, options.recall, regions=regions)
        return Space(view, lambda: self.encoder)

    def registered(self) -> list[tuple[Source, int, str]]:
        """(source, id, prefix) of every source; raises SourceError where one cannot be read here."""
        here, away = self.reachable()
        if away:
            raise places.nothing_here(away, self.folder)
        return here

    def reachable(self, holding: Sequence[Path] | None = None) -> tuple[list[tuple[Source, int, str]], dict[Path, str]]:
        """(source, id, prefix) of every source that can be read here, and why the others cannot.

        With `holding`, only of those that some of these paths lie in. SourceError where no source is here at all.
        """
        known = self.store.catalog.sources()
        sources = known if holding is None else [entry for entry in known if self._holds(entry[1], holding)]
        if remote := next((location for _, location, _ in sources if is_remote(location)), None):
            way = f"`lookalike embed` it, then `{command('index', '--from', 'RESULT', '--collection', self.path)}`"
            raise SourceError(f"{remote}: its images are brought from elsewhere; {way}, or name the folders to index")
        here, away = self._tried(sources)
        others = [entry for entry in known if entry not in sources and not is_remote(entry[1])]
        if away and not any(here) and not any(self._tried(others)[0]):
            raise places.nothing_here(away, self.folder)
        pairs = zip(here, sources, strict=True)
        return [(source, id_, prefix) for source, (id_, _, prefix) in pairs if source is not None], away

    def _tried(self, sources: Sequence[tuple[int, str, str]]) -> tuple[list[Source | None], dict[Path, str]]:
        # Not of the gallery, which needs the vectors: without them a rebuild is the way out.
        ignored, origins = self.store.catalog.ignored, Origins(self.store)
        return places.reachable([(origins.locate(location), ignored(id_)) for id_, location, _ in sources])

    def _holds(self, location: str, paths: Sequence[Path]) -> bool:
        place = Origins(self.store).locate(location)
        bases = (place.absolute(), place.resolve())
        return any(path.absolute().is_relative_to(base) for path in paths for base in bases)

    def skipped(self) -> list[tuple[str, str]]:
        """(key, reason) of every file that the last run could not use."""
        return self.store.catalog.skipped()

    def keys(self) -> list[str]:
        """The keys of all images, in the order of their rows."""
        return [item.key for item in self.store.catalog.live_items()]

    def key(self, row: int) -> str:
        """The key of a row."""
        return self.gallery.item(row).key

    def row(self, key: str) -> int | None:
        """The row of a key."""
        return self.gallery.row(key)

    @property
    def folder(self) -> Path:
        """Its name on the command line: its folder of photos where it lies in one, else its own folder."""
        return self.path.parent if self.path.name == FOLDER else self.path

    def damaged(self) -> list[str]:
        """The keys of rows that searches left out, and the names of parts of images that they left out."""
        damaged, joined = self.gallery.damaged, self._joined
        if joined is None or not joined[2].damaged:
            return damaged
        return [*damaged, *map(self._part_name, sorted(joined[2].damaged))]

    def _part_name(self, row: int) -> str:
        parts = self.parts
        assert parts is not None, "searched before"
        item = parts.store.catalog.item(row)
        box = stored_regions.box_of(item.key)
        keys = [self.key(row) for row in self.gallery.rows_of_content(item.sha256)]
        return stored_regions.part(keys[0], box) if keys and box else item.key

    def _region_facts(self) -> dict[str, Any]:
        parts = self.parts
        if parts is None:
            return {}
        header, (images, rows) = parts.store.header, stored_regions.summary(parts.store.catalog)
        size = sum(file.stat().st_size for file in parts.path.rglob("*") if file.is_file())
        known = {"spec": stored_regions.spec_of(header), "images": images, "regions": rows, "dtype": header.dtype}
        index = facts(parts.path, header.id, parts.store.catalog.count_rows())
        return {"regions": {**known, "bytes": size, **({"index": index} if index else {})}}

    def _engine_facts(self) -> dict[str, Any]:
        """Facts of the engine, and which share of its rows no search returns: `compact` leaves them behind."""
        known = self.store.vectors.facts()
        if rows := known.get("engine_rows"):
            known["dead_share"] = round(1 - len(self) / rows, 4)
        return known

    def info(self) -> dict[str, Any]:
        """Facts about the collection, ready for JSON."""
        header = self.store.header
        index = facts(self.path, header.id, self.store.catalog.count_rows())
        precision = precisions.facts(self.path)
        adapted = (self.path / adaptation.FILE).exists()
        confidence = refitted.read(self.store, header.fingerprint)
        catalog = self.store.catalog
        described = photo_facts.summary(catalog)
        ignored = [pattern for id_, _, _ in catalog.sources() for pattern in catalog.ignored(id_)]
        return {
            "path": str(self.path),
            "encoder": header.encoder,
            "fingerprint": header.fingerprint,
            "dim": header.dim,
            "dtype": header.dtype,
            "images": len(self),
            "removed": len(self.store.catalog.removed_rows()),
            "skipped": len(self.skipped()),
            "bytes": sum(file.stat().st_size for file in self.path.rglob("*") if file.is_file()),
            "sets": [name for name in self.sets if name != header.encoder],
            "whitened": whitening.load(self.path) is not None,
            "sources": [located(self.path, location) for _, location, _ in self.store.catalog.sources()],
            "format": header.format,
            **({"adapted": report(self.store)} if adapted else {}),
            **({"confidence": confidence.get("figures", {})} if confidence else {}),
            **({"ignore": ignored} if ignored else {}),
            **({"facts": described} if described else {}),
            **({"index": index} if index else {}),
            **self._engine_facts(),
            **({"precision": precision} if precision else {}),
            **self._region_facts(),
        }
