"""A collection as it is kept on disk: opened, brought into step with its sources, repaired, and asked what it holds."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from lookalike import engines, store, whitening
from lookalike import precision as precisions
from lookalike.encoders import load_encoder, with_options
from lookalike.encoders.quantize import PrecisionFinding
from lookalike.encoders.whitened import whitened
from lookalike.errors import CollectionError, EncoderMismatch, QueryError
from lookalike.exchange import SETS, beside, exchange, recover
from lookalike.gallery import StoredGallery, prefix_for
from lookalike.sources import Source, open_source
from lookalike.store import Header, Store
from lookalike.sync import IndexReport, Sync
from lookalike.types import Encoder, Progress
from lookalike.vectors import SearchingRows
from lookalike.verify import Damage, verify

FOLDER = ".lookalike"
DEFAULT_ENCODER = "dinov2-base"


class KeptCollection:
    """Images, their vectors and where they came from. Reading is safe from several threads and processes."""

    def __init__(
        self,
        path: str | Path,
        encoder: str | Encoder | None = None,
        sources: Sequence[Path] = (),
        device: str | None = None,
        engine: str | None = None,
    ) -> None:
        """The collection in the folder `path`, made by the first `index`; `sources` are what that indexes."""
        self.path = Path(path)
        self._given = encoder
        self._encoder: Encoder | None = None
        self._sources = list(sources)
        self._device = {"device": device} if device else {}
        self._engine = engines.stored(engine) if engine else None
        self._open_store: Store | None = None
        self._open_gallery: StoredGallery | None = None
        self._open_sets: dict[Path, Self] = {}
        recover(self.path)

    def __len__(self) -> int:
        return len(self.gallery)

    def close(self) -> None:
        """Let go of the files."""
        for further in self._open_sets.values():
            further.close()
        if self._open_store:
            self._open_store.close()
        self._open_store = self._open_gallery = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def exists(self) -> bool:
        """Whether anything was indexed yet."""
        return store.is_collection(self.path)

    @property
    def store(self) -> Store:
        """The files behind it; raises CollectionError where nothing was indexed yet."""
        if self._open_store is None:
            if not self.exists:
                folder = self._sources[0] if self._sources else self.path
                raise CollectionError(f"{folder} has not been indexed; run `lookalike index {folder}`")
            opened = Store(self.path)
            if self._engine not in (None, opened.header.engine):
                place = opened.header.engine or "a file of its own"
                opened.close()
                raise CollectionError(
                    f"{self.path} keeps its vectors in {place}, not in {self._engine}; give another --collection"
                )
            self._open_store = opened
        return self._open_store

    @property
    def gallery(self) -> StoredGallery:
        """What is searched: the state that was committed last, by this process or another."""
        if self._open_gallery is None or self._open_gallery.version != self.store.version:
            self._open_gallery = StoredGallery(self.store, lambda: self.encoder)
        return self._open_gallery

    @property
    def encoder(self) -> Encoder:
        """The encoder, loaded when first needed; raises EncoderMismatch where the vectors are another's."""
        if self._encoder is None:
            plain = self._given if self._given is not None and not isinstance(self._given, str) else self._load()
            learned = whitening.load(self.path) if self.exists else None
            self._encoder = whitened(plain, learned) if learned else plain
        if self.exists and self._encoder.fingerprint != self.store.header.fingerprint:
            stored = self.store.header.encoder
            raise EncoderMismatch(
                f"{self.path} was made with {stored} ({self.store.header.fingerprint[:12]}), not "
                f"{self._encoder.name} ({self._encoder.fingerprint[:12]}); open it with --encoder {stored}, index "
                f"again with --rebuild, or keep both: lookalike index --encoder {stored} --encoder {self._encoder.name}"
            )
        return self._encoder

    def through(self, encoder: Encoder) -> Self:
        """The same collection opened once more, which encodes with `encoder`: its own one, wrapped in something."""
        opened = type(self)(self.path, self._given)
        opened._encoder = encoder
        return opened

    def _name(self) -> str:
        """What the encoder was asked for by, or is known by to the collection."""
        if isinstance(self._given, str):
            return self._given
        return self.store.header.encoder if self.exists else DEFAULT_ENCODER

    def _load(self) -> Encoder:
        name, stored = self._name(), self.store.header.encoder if self.exists else None
        return load_encoder(precisions.settled(name, stored) if stored else name, **self._device)

    @property
    def sets(self) -> dict[str, Self]:
        """Encoder names to vector sets: this collection itself, and those that were added to it, each a whole one."""
        places = sorted((self.path / SETS).glob("*")) if self.exists else []
        for place in places:
            if place not in self._open_sets and store.is_collection(place):
                self._further(place)
        further = [self._open_sets[place] for place in places if place in self._open_sets]
        return {self.store.header.encoder: self} | {one.store.header.encoder: one for one in further}

    def _further(self, place: Path, encoder: str | Encoder | None = None) -> Self:
        """The vector set in `place`, opened where it is or going to be."""
        self._open_sets[place] = type(self)(place, encoder, device=self._device.get("device"))
        return self._open_sets[place]

    def chosen(self, encoder: str | None) -> Self:
        """The vector set of an encoder; this one where none is named. Raises EncoderMismatch where it has none."""
        if encoder is None or encoder == self.store.header.encoder:
            return self
        return self.sets.get(encoder) or type(self)(self.path, encoder)

    def add_set(self, encoder: str | Encoder, progress: Progress | None = None) -> IndexReport:
        """Vectors of one more encoder for the same images, kept beside the first ones, which are not touched.

        Where there is such a set already, it is brought into step. `sets` has it afterwards.
        """
        name = encoder if isinstance(encoder, str) else encoder.name
        slug = "".join(letter if letter.isalnum() or letter in "-._" else "-" for letter in name)[-80:]
        further = self.sets.get(name)
        if further is None:
            place = self.path / SETS / (slug.strip(".") or "set")
            further = self._further(place, encoder)
        return further.index([source.location for source, _, _ in self._registered()], progress)

    def index(
        self,
        sources: Sequence[str | Path] = (),
        progress: Progress | None = None,
        rebuild: bool = False,
        precision: str | None = None,
    ) -> IndexReport:
        """Bring the collection into step with `sources`, or with those that it was made from.

        New and changed images are embedded, renamed and duplicate ones recognised by their content, missing ones
        forgotten. What cannot be used is listed by `skipped()`. May be interrupted at any moment and run again. With
        `rebuild` everything is embedded anew, and the old collection serves until the new one is complete. `precision`
        is fp32, int8, or auto: a new collection tries both on 64 of its images, and `info()` says what was found.
        """
        if precision:
            if self._given is not None and not isinstance(self._given, str):
                raise CollectionError(f"precision {precision!r} goes with the name of an encoder, not with an open one")
            self._given, self._encoder = with_options(self._name(), precision=precision), None
        begin = self._rebuild if rebuild and self.exists else self._index
        report = begin(sources, progress)
        for further in list(self.sets.values())[1:]:
            further.index([source.location for source, _, _ in self._registered()], progress, rebuild)
        return report

    def _index(self, sources: Sequence[str | Path], progress: Progress | None) -> IndexReport:
        opened = [open_source(source) for source in sources or self._sources]
        if not self.exists:
            if not opened:
                raise CollectionError(f"{self.path}: nothing to index; name a folder")
            finding = self._settle_precision(opened)
            self._open_store = store.create(self.path, self._header())
            if finding:
                precisions.save(finding, self.path)
        encoder, report = self.encoder, IndexReport()
        with self.store.writing():
            registered = [self._register(source) for source in opened] if opened else self._registered()
            counts = [source.count() for source, _, _ in registered]
            total = None if None in counts else sum(count or 0 for count in counts)
            done = 0
            for source, id_, prefix in registered:
                done += Sync(self.store, source, id_, prefix, report).run(encoder, progress, done, total)
        self._open_gallery = None
        return report

    def _settle_precision(self, sources: Sequence[Source]) -> PrecisionFinding | None:
        if not isinstance(self._given, str):
            return None
        self._given, finding = precisions.decide(self._given, sources, self._device.get("device"))
        return finding

    def _header(self) -> Header:
        encoder = self.encoder
        return Header(self._encoder_spec(), encoder.fingerprint, encoder.dim, engine=self._engine)

    def _encoder_spec(self) -> str:
        """The name by which this encoder can be loaded again from anywhere."""
        assert self._encoder is not None
        if not isinstance(self._given, str):
            return self._encoder.name
        return with_options(self._given, device=None)

    def _rebuild(self, sources: Sequence[str | Path], progress: Progress | None) -> IndexReport:
        """Make the new one beside the old one, then let it take its place."""
        registered = [source.location for source, _, _ in self._registered()]
        places = [*sources] or [*registered] or [*self._sources]
        encoder = self._given or self.store.header.encoder
        fresh = beside(self.path, "new")
        if not _continues(fresh, encoder):
            shutil.rmtree(fresh, ignore_errors=True)
        with self.store.locked():
            engine = self.store.header.engine
            beside_engine = engines.renamed(engine) if engine else None
            with type(self)(fresh, encoder, device=self._device.get("device"), engine=beside_engine) as made:
                report = made.index([Path(place).absolute() for place in places], progress)
                with made.store.writing() as written:
                    written.relocate(self.path)
            exchange(self.path, fresh)
        if isinstance(self.store.vectors, SearchingRows):
            self.store.vectors.drop()
        self.close()
        self._encoder = None
        return report

    def _registered(self) -> list[tuple[Source, int, str]]:
        places = self.gallery.origins
        return [(open_source(places.locate(at)), id_, prefix) for id_, at, prefix in self.store.sources()]

    def _register(self, source: Source) -> tuple[Source, int, str]:
        known, places = self.store.sources(), StoredGallery(self.store).origins
        for id_, location, prefix in known:
            if places.locate(location).resolve() == source.location.resolve():
                return source, id_, prefix
        prefix = prefix_for(source, [prefix for _, _, prefix in known], not known)
        place = source.location.resolve()
        inside = self.path.resolve().is_relative_to(place)
        # A collection inside its folder moves with it.
        stored = os.path.relpath(place, self.path.resolve()) if inside else str(place)
        return source, self.store.add_source(stored, prefix), prefix

    def remove(self, keys: Sequence[str]) -> int:
        """Take images out of the collection, whose files stay where they are; how many were there.

        They stay out until their files change or the collection is rebuilt. Raises QueryError, and removes nothing,
        where a key is not in the collection.
        """
        with self.store.writing() as opened:
            items = {key: opened.live_item(key) for key in keys}
            missing = [key for key, item in items.items() if item is None]
            if missing:
                raise QueryError(f"{missing[0]}: no such key in {self.path}; nothing was removed")
            opened.remove([item.row for item in items.values() if item], "by hand")
        self._open_gallery = None
        for further in list(self.sets.values())[1:]:
            further.remove([key for key in keys if further.row(key) is not None])
        return len(items)

    def verify(self, repair: bool = False) -> Damage:
        """What does not match its checksum; with `repair` those rows are taken out, for the next run to embed again."""
        damage = verify(self.path, repair)
        if repair and damage:
            self.close()
        return damage

    def skipped(self) -> list[tuple[str, str]]:
        """(key, reason) of what could not be used at the last run."""
        return self.store.skipped()

    def keys(self) -> list[str]:
        """The keys of all images, in the order of their rows."""
        return [item.key for item in self.store.live_items()]

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
        header, origins = self.store.header, self.gallery.origins
        return {
            "path": str(self.path),
            "encoder": header.encoder,
            "fingerprint": header.fingerprint,
            "dim": header.dim,
            "dtype": header.dtype,
            "images": len(self),
            "removed": len(self.store.removed_rows()),
            "skipped": len(self.skipped()),
            "bytes": sum(file.stat().st_size for file in self.path.rglob("*") if file.is_file()),
            "sets": [name for name in self.sets if name != header.encoder],
            "whitened": whitening.load(self.path) is not None,
            "sources": [str(origins.locate(location)) for _, location, _ in self.store.sources()],
            "format": header.format,
            **(self.store.vectors.facts() if isinstance(self.store.vectors, SearchingRows) else {}),
            **({"precision": found} if (found := precisions.facts(self.path)) else {}),
        }


def _continues(fresh: Path, encoder: str | Encoder) -> bool:
    """Whether an interrupted rebuild with this encoder can go on."""
    if not store.is_collection(fresh):
        return False
    name, stored = encoder if isinstance(encoder, str) else encoder.name, store.read_header(fresh).encoder
    return precisions.settled(name, stored) == stored
