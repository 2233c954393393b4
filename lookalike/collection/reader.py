"""A collection as it lies on disk: opened, with its encoder and its further vector sets, and what it holds."""

import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lookalike.encoders import load_encoder, reads_text, whitening
from lookalike.encoders import precision as precisions
from lookalike.encoders.whitened import whitened
from lookalike.errors import CollectionError, EncoderMismatch, QueryError, SourceError
from lookalike.images.remote import is_remote, located
from lookalike.images.sources import Source, open_source
from lookalike.index.ann import facts
from lookalike.integrations.milvus import address as engines
from lookalike.search.gallery import StoredGallery
from lookalike.search.hybrid import Space
from lookalike.search.options import SearchOptions
from lookalike.storage import store
from lookalike.storage.manifest import refuse_remains
from lookalike.storage.store import Store
from lookalike.storage.swap import SETS, recover
from lookalike.types import Encoder, TextEncoder

FOLDER = ".lookalike"
DEFAULT_ENCODER = "dinov2-base"
KEPT_OPEN = 2
"""Collections that were replaced, for searches that began before."""


@dataclass(frozen=True)
class Given:
    """What a collection was opened with: `encoder` and `engine` hold for a new one, and are held against an old one."""

    encoder: str | Encoder | None = None
    sources: tuple[Path, ...] = ()
    device: str | None = None
    engine: str | None = None


class Reader:
    """Images, their vectors and where they came from; safe to use from several threads and processes."""

    def __init__(self, path: Path, given: Given = Given()) -> None:
        """The collection in the folder `path`, made by the first `Writer.index`."""
        self.path, self.given = path, given
        self._encoder: Encoder | None = None
        self._open_store: Store | None = None
        self._open_gallery: StoredGallery | None = None
        self._retired: list[Store] = []
        self._open_sets: dict[Path, Reader] = {}
        # The first is never held while a catalog is asked, whose reader may be waiting for it; the second, while
        # weights are loaded.
        self._lock, self._loading = threading.RLock(), threading.RLock()
        recover(self.path)

    def __len__(self) -> int:
        return len(self.gallery)

    def close(self) -> None:
        """Let go of the files."""
        for further in self._open_sets.values():
            further.close()
        with self._lock:
            opened = [*self._retired, *([self._open_store] if self._open_store else [])]
            self._open_store = self._open_gallery = None
            self._retired = []
        for one in opened:
            one.close()

    def look_again(self) -> None:
        """Forget the gallery: what this object's own connection has committed does not show in its version."""
        self._open_gallery = None

    def use(self, encoder: str | Encoder | None) -> None:
        """Load this encoder, or the same one anew, when one is needed next."""
        self.given, self._encoder = replace(self.given, encoder=encoder), None

    def adopt(self, made: Store) -> None:
        """Go on with a collection that was just made."""
        self._open_store = made

    @property
    def exists(self) -> bool:
        """Whether anything was indexed yet."""
        return store.is_collection(self.path)

    @property
    def store(self) -> Store:
        """The files behind it; raises CollectionError where nothing was indexed yet."""
        with self._lock:
            gone = self._retire() if self._open_store is not None and self._open_store.replaced else []
            if self._open_store is None:
                self._open_store = self._opened()
            opened = self._open_store
        # Not inside the lock: whoever still reads one of these may be waiting for that.
        for one in gone:
            one.close()
        return opened

    def _retire(self) -> list[Store]:
        """Make way for what another process, or another object of this one, has put in the place of what is open.

        A thread may still be searching that: it is kept for a while. Given are those that may be closed.
        """
        recover(self.path)
        if self._open_store is None or not self._open_store.replaced or not self.exists:
            return []
        self._retired.append(self._open_store)
        self._open_store = self._open_gallery = self._encoder = None
        gone, self._retired = self._retired[:-KEPT_OPEN], self._retired[-KEPT_OPEN:]
        return gone

    def _opened(self) -> Store:
        if not self.exists:
            refuse_remains(self.path)
            folder = self.given.sources[0] if self.given.sources else self.path
            raise CollectionError(f"{folder} has not been indexed; run `lookalike index {folder}`")
        opened = Store(self.path)
        stored, engine = opened.header.engine, self.given.engine
        if engine and not (stored and engines.is_same(stored, engine)):
            place = stored or "a file of its own"
            opened.close()
            raise CollectionError(
                f"{self.path} keeps its vectors in {place}, not in {engine}; give another --collection"
            )
        return opened

    @property
    def gallery(self) -> StoredGallery:
        """What is searched: the state that was committed last, by this process or another."""
        # Looked at once each: another thread may exchange either at any moment.
        opened, found = self.store, self._open_gallery
        if found is None or found.store is not opened or not found.is_newest:
            found = self._open_gallery = StoredGallery(opened, lambda: self.encoder)
        return found

    @property
    def encoder(self) -> Encoder:
        """The encoder, loaded when first needed; raises EncoderMismatch where the vectors are another's."""
        with self._loading:
            opened = self.store if self.exists else None
            encoder = self._encoder
            if encoder is None:
                encoder = self._loaded()
            with self._lock:
                # What was loaded for a collection that has been replaced meanwhile need not fit the new one.
                if opened is self._open_store:
                    self._encoder = encoder
        if opened is not None and encoder.fingerprint != opened.header.fingerprint:
            stored = opened.header.encoder
            raise EncoderMismatch(
                f"{self.path} was made with {stored} ({opened.header.fingerprint[:12]}), not "
                f"{encoder.name} ({encoder.fingerprint[:12]}); open it with --encoder {stored}, index "
                f"again with --rebuild, or keep both: lookalike index --encoder {stored} --encoder {encoder.name}"
            )
        return encoder

    def _loaded(self) -> Encoder:
        given = self.given.encoder
        plain = given if given is not None and not isinstance(given, str) else self._load()
        learned = whitening.load(self.path) if self.exists else None
        return whitened(plain, learned) if learned else plain

    def through(self, encoder: Encoder) -> "Reader":
        """The same collection opened once more, which encodes with `encoder`: its own one, wrapped in something."""
        reader = Reader(self.path, Given(self.given.encoder))
        reader._encoder = encoder
        return reader

    @property
    def encoder_name(self) -> str:
        """What the encoder was asked for by, or is known by to the collection."""
        if isinstance(self.given.encoder, str):
            return self.given.encoder
        return self.store.header.encoder if self.exists else DEFAULT_ENCODER

    def _load(self) -> Encoder:
        name, stored = self.encoder_name, self.store.header.encoder if self.exists else None
        device = {"device": self.given.device} if self.given.device else {}
        return load_encoder(precisions.settled(name, stored) if stored else name, **device)

    @property
    def further(self) -> list["Reader"]:
        """The vector sets that were added to this one, each a whole collection."""
        places = sorted((self.path / SETS).glob("*")) if self.exists else []
        for place in places:
            if place not in self._open_sets and store.is_collection(place):
                self.open_set(place)
        return [self._open_sets[place] for place in places if place in self._open_sets]

    @property
    def sets(self) -> dict[str, "Reader"]:
        """Encoder names to vector sets: this one itself first, and those that were added to it."""
        return {self.store.header.encoder: self} | {reader.store.header.encoder: reader for reader in self.further}

    def open_set(self, place: Path, encoder: str | Encoder | None = None) -> "Reader":
        """The vector set in `place`, opened where it is or going to be."""
        self._open_sets[place] = Reader(place, Given(encoder, device=self.given.device))
        return self._open_sets[place]

    def chosen(self, encoder: str | None) -> "Reader":
        """The vector set of an encoder; this one where none is named. Raises EncoderMismatch where it has none."""
        if encoder is None or encoder == self.store.header.encoder:
            return self
        return self.sets.get(encoder) or Reader(self.path, Given(encoder))

    @property
    def reads_text(self) -> bool:
        """Whether its encoder reads text, as far as can be said without loading it."""
        given = self.given.encoder
        if given is None or isinstance(given, str):
            return reads_text(self.store.header.encoder)
        return isinstance(given, TextEncoder)

    @property
    def text_set(self) -> "Reader":
        """The vector set that words are searched in: this one, or the first that reads text. Raises QueryError."""
        for reader in (self, *self.further):
            if reader.reads_text:
                return reader
        stored = self.store.header.encoder
        raise QueryError(
            f"{self.path} has no vectors of an encoder that reads text; add them: lookalike index "
            f"{self.folder} --encoder {stored} --encoder siglip2-base"
        )

    def space(self, options: SearchOptions) -> Space:
        """What a search with these options asks; raises EncoderMismatch where another encoder was named."""
        if self.given.encoder is not None:
            # Where an encoder was named it is held against the collection, even if a stored vector will do.
            self.encoder  # noqa: B018
        return Space(self.gallery.view(options.where, options.exclude, options.recall), lambda: self.encoder)

    def registered(self) -> list[tuple[Source, int, str]]:
        """The sources to go through again; raises SourceError where one of them is not read from here."""
        sources = self.store.catalog.sources()
        if remote := next((location for _, location, _ in sources if is_remote(location)), None):
            way = f"`lookalike embed` it, then `lookalike index --from RESULT --collection {self.path}`"
            raise SourceError(f"{remote}: its images are brought from elsewhere; {way}, or name the folders to index")
        origins = self.gallery.origins
        return [(open_source(origins.locate(location)), id_, prefix) for id_, location, prefix in sources]

    def skipped(self) -> list[tuple[str, str]]:
        """(key, reason) of what could not be used at the last run."""
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
        """What commands call it: its folder of photos where it lies in one, else its own."""
        return self.path.parent if self.path.name == FOLDER else self.path

    def info(self) -> dict[str, Any]:
        """What there is to know about it, ready for JSON."""
        header = self.store.header
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
            **(
                {"index": index}
                if (index := facts(self.path, self.store.header.id, self.store.catalog.count_rows()))
                else {}
            ),
            **self.store.vectors.facts(),
            **({"precision": found} if (found := precisions.facts(self.path)) else {}),
        }
