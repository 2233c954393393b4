"""A collection brought into step with its sources, and kept in order: indexed, repaired, compacted, whitened."""

import os
import shutil
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path

from lookalike.collection.reader import DEFAULT_ENCODER, FOLDER, Given, Reader
from lookalike.collection.sync import IndexReport, Part, Sync
from lookalike.encoders import precision as precisions
from lookalike.encoders import whitening, with_options
from lookalike.encoders.precision import PrecisionFinding
from lookalike.errors import CollectionError, CollectionLocked, EncoderMismatch, QueryError
from lookalike.images.sources import Source, open_source
from lookalike.integrations.milvus import address as engines
from lookalike.storage import metadata, store
from lookalike.storage.maintenance.build_index import IndexBuild, optimize
from lookalike.storage.maintenance.compact import Compaction, compact
from lookalike.storage.maintenance.transfer import Format, export
from lookalike.storage.maintenance.verify import Damage, verify
from lookalike.storage.manifest import refuse_remains, remains
from lookalike.storage.origins import Origins, prefix_for
from lookalike.storage.store import Header, Store
from lookalike.storage.swap import SETS, beside, exchange
from lookalike.types import Encoder, Progress


class Writer:
    """What writes to the collection of a `Reader`, which sees it at once; by one process at a time."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    @property
    def _path(self) -> Path:
        return self._reader.path

    def _further(self) -> list["Writer"]:
        """The same for every vector set that was added."""
        return [Writer(reader) for reader in self._reader.further]

    def index(
        self,
        sources: Sequence[str | Path] = (),
        progress: Progress | None = None,
        rebuild: bool = False,
        precision: str | None = None,
        dtype: str | None = None,
        meta: Sequence[str | Path] = (),
    ) -> IndexReport:
        """Bring the collection into step with `sources`, or with those that it was made from.

        New and changed images are embedded, renamed and duplicate ones recognised by their content, missing ones
        forgotten. What cannot be used is listed by `skipped()`. May be interrupted at any moment and run again. With
        `rebuild` everything is embedded anew, and the old collection serves until the new one is complete. `precision`
        is fp32, int8, or auto: a new collection tries both on 64 of its images, and `info()` says what was found.
        `dtype` is how a new collection keeps its vectors: float32, float16 or int8. `meta` are CSV or Parquet files of
        columns about the images, which `where` can then ask for.
        """
        if dtype and self._reader.exists and not rebuild and dtype != self._reader.store.header.dtype:
            raise CollectionError(
                f"{self._path} keeps {self._reader.store.header.dtype}; `lookalike compact --store {dtype}`"
            )
        if precision:
            given = self._reader.given.encoder
            if given is not None and not isinstance(given, str):
                raise CollectionError(f"precision {precision!r} goes with the name of an encoder, not with an open one")
            self._reader.use(with_options(self._reader.encoder_name, precision=precision))
        begin = self._rebuild if rebuild and (self._reader.exists or remains(self._path)) else self._index
        report = begin(sources, progress, dtype)
        for further in self._further():
            further.index([source.location for source, _, _ in self._reader.registered()], progress, rebuild)
        for table in meta:
            self.attach(table)
        return report

    def attach(self, table: str | Path) -> tuple[int, int]:
        """Keep the columns of a CSV or Parquet file with the images it names: (lines, of these used). SourceError."""
        for further in self._further():
            further.attach(table)
        with self._reader.store.writing() as opened:
            return metadata.attach(opened, Path(table))

    def refresh(self, paths: Sequence[str | Path], progress: Progress | None = None) -> IndexReport:
        """Bring just these files or folders into step, which lie in folders that were indexed; see `sync.Part`."""
        report, encoder = IndexReport(), self._reader.encoder
        with self._reader.store.writing():
            for source, id_, prefix in self._reader.registered():
                part = Part.of(source, paths)
                if part is not None:
                    Sync(self._reader.store, part, id_, prefix, report).run(encoder, progress, 0, None)
        self._reader.look_again()
        for further in self._further():
            further.refresh(paths, progress)
        return report

    def add_set(self, encoder: str | Encoder, progress: Progress | None = None) -> IndexReport:
        """Vectors of one more encoder for the same images, kept beside the first ones, which are not touched.

        Where there is such a set already, it is brought into step. `sets` has it afterwards.
        """
        name = encoder if isinstance(encoder, str) else encoder.name
        slug = "".join(letter if letter.isalnum() or letter in "-._" else "-" for letter in name)[-80:]
        further = self._reader.sets.get(name)
        if further is None:
            further = self._reader.open_set(self._path / SETS / (slug.strip(".") or "set"), encoder)
        report = Writer(further).index([source.location for source, _, _ in self._reader.registered()], progress)
        if metadata.known(further.store) < metadata.known(self._reader.store):
            with further.store.writing() as written:
                metadata.carry(self._reader.store, written)
        return report

    def _index(self, sources: Sequence[str | Path], progress: Progress | None, dtype: str | None) -> IndexReport:
        if not self._reader.exists:
            refuse_remains(self._path)
        opened = [open_source(source) for source in sources or self._reader.given.sources]
        if not self._reader.exists:
            if not opened:
                raise CollectionError(f"{self._path}: nothing to index; name a folder")
            finding = self._settle_precision(opened, progress)
            self._reader.adopt(store.create(self._path, self._header(dtype)))
            if finding:
                precisions.save(finding, self._path)
        encoder, report = self._reader.encoder, IndexReport()
        with self._reader.store.writing():
            registered = [self._register(source) for source in opened] if opened else self._reader.registered()
            counts = [source.count() for source, _, _ in registered]
            total = None if None in counts else sum(count or 0 for count in counts)
            done = 0
            for source, id_, prefix in registered:
                done += Sync(self._reader.store, source, id_, prefix, report).run(encoder, progress, done, total)
        self._reader.look_again()
        return report

    def _settle_precision(self, sources: Sequence[Source], progress: Progress | None) -> PrecisionFinding | None:
        given = self._reader.given.encoder
        if not isinstance(given, str):
            return None
        name, finding = precisions.decide(given, sources, self._reader.given.device, progress)
        if name != given:
            self._reader.use(name)
        return finding

    def _header(self, dtype: str | None) -> Header:
        encoder = self._reader.encoder
        return Header(
            self._encoder_spec(), encoder.fingerprint, encoder.dim, dtype or "float32", self._reader.given.engine
        )

    def _encoder_spec(self) -> str:
        """The name by which this encoder can be loaded again from anywhere."""
        given = self._reader.given.encoder
        return with_options(given, device=None) if isinstance(given, str) else self._reader.encoder.name

    def _register(self, source: Source) -> tuple[Source, int, str]:
        known, places = self._reader.store.catalog.sources(), Origins(self._reader.store)
        for id_, location, prefix in known:
            if places.locate(location).resolve() == source.location.resolve():
                return source, id_, prefix
        prefix = prefix_for(source, [prefix for _, _, prefix in known], not known)
        place = source.location.resolve()
        inside = self._path.resolve().is_relative_to(place)
        # A collection inside its folder moves with it.
        stored = os.path.relpath(place, self._path.resolve()) if inside else str(place)
        return source, self._reader.store.catalog.add_source(stored, prefix), prefix

    def _rebuild(self, sources: Sequence[str | Path], progress: Progress | None, dtype: str | None) -> IndexReport:
        """Make the new one beside the old one, then let it take its place; of one that is damaged nothing is asked."""
        try:
            with self._reader.store.locked() as old:
                registered = [source.location for source, _, _ in self._reader.registered()]
                encoder, dtype = self._reader.given.encoder or old.header.encoder, dtype or old.header.dtype
                report = self._made_anew(
                    [*sources] or [*registered] or [*self._reader.given.sources], encoder, progress, dtype, old
                )
        except CollectionError as error:
            places = [*sources] or [*self._reader.given.sources]
            if isinstance(error, CollectionLocked | EncoderMismatch) or not places or self._is_readable():
                raise
            with store.sole_writer(self._path):
                report = self._made_anew(places, self._reader.given.encoder or DEFAULT_ENCODER, progress, dtype, None)
        self._reader.close()
        self._reader.use(self._reader.given.encoder)
        return report

    def _is_readable(self) -> bool:
        try:
            return self._reader.store.catalog.count_rows() >= 0
        except CollectionError:
            return False

    def _made_anew(
        self,
        places: Sequence[str | Path],
        encoder: str | Encoder,
        progress: Progress | None,
        dtype: str | None,
        old: Store | None,
    ) -> IndexReport:
        fresh = beside(self._path, "new")
        if not self._continues(fresh, places, encoder, dtype):
            _discard(fresh)
        engine = old.header.engine if old else self._reader.given.engine
        beside_engine = engines.renamed(engine) if engine else None
        draft = Reader(fresh, Given(encoder, device=self._reader.given.device, engine=beside_engine))
        with closing(draft):
            report = Writer(draft).index([Path(place).absolute() for place in places], progress, dtype=dtype)
            with draft.store.writing() as written:
                written.relocate(self._path)
                if old is not None:
                    metadata.carry(old, written)
        exchange(self._path, fresh)
        if old is not None:
            old.vectors.drop()
        return report

    def _continues(self, fresh: Path, places: Sequence[str | Path], encoder: str | Encoder, dtype: str | None) -> bool:
        """Whether an interrupted rebuild of these places with this very encoder can go on."""
        name = encoder if isinstance(encoder, str) else encoder.name
        try:
            with closing(Reader(fresh, Given(encoder, device=self._reader.given.device))) as draft:
                header, origins = draft.store.header, Origins(draft.store)
                known = {origins.locate(location).resolve() for _, location, _ in draft.store.catalog.sources()}
                return (
                    precisions.settled(name, header.encoder) == header.encoder
                    and header.dtype == (dtype or "float32")
                    and known <= {Path(place).resolve() for place in places}
                    # Last, since it loads the weights: raises EncoderMismatch where they are others by now.
                    and draft.encoder.fingerprint == header.fingerprint
                )
        except CollectionError:
            return False

    def remove(self, keys: Sequence[str]) -> int:
        """Take images out of the collection, whose files stay where they are; how many were there.

        They stay out until their files change or the collection is rebuilt. Raises QueryError, and removes nothing,
        where a key is not in the collection.
        """
        with self._reader.store.writing() as opened:
            items = {key: opened.catalog.live_item(key) for key in dict.fromkeys(keys)}
            missing = [key for key, item in items.items() if item is None]
            if missing:
                raise QueryError(f"{missing[0]}: no such key in {self._path}; nothing was removed")
            opened.catalog.dismiss([item for item in items.values() if item])
        self._reader.look_again()
        for further in self._further():
            further.remove([key for key in keys if further._reader.row(key) is not None])
        return len(items)

    def verify(self, repair: bool = False) -> Damage:
        """What does not match its checksum; with `repair` those rows are taken out, for the next run to embed again."""
        damage = verify(self._path, repair)
        if repair and damage:
            self._reader.close()
        return damage

    def optimize(self, spec: str = "auto", progress: Progress | None = None) -> IndexBuild:
        """Make an index for searching many images quickly; see `optimize.optimize`."""
        report = optimize(self._reader.store, spec, progress)
        self._reader.look_again()
        return report

    def compact(self, dtype: str | None = None, progress: Progress | None = None) -> Compaction:
        """Leave the rows of removed images behind; see `compact.compact`."""
        return compact(self._reader.store, dtype, progress)

    def export(self, out: str | Path, kind: Format, progress: Progress | None = None) -> list[Path]:
        """Write vectors and keys to files of another format; see `transfer.export`."""
        return export(self._reader.store, Path(out), kind, progress)

    def whiten(
        self, dim: int | None = None, power: float = 1.0, shrinkage: float = 0.0, source: str | Path | None = None
    ) -> whitening.Whitening:
        """Turn and scale all vectors so that their directions count alike, by what this collection holds or another.

        Queries and new images are whitened likewise from then on. See `whitening.fit`; raises CollectionError where it
        is whitened already.
        """
        from lookalike.storage.maintenance.whiten import whiten

        learned = whiten(self._reader.store, dim, power, shrinkage, _place(source))
        self._reader.close()
        self._reader.use(self._reader.given.encoder)
        return learned


def _place(source: str | Path | None) -> Path | None:
    """Where the collection of a folder lies, or one that is named itself."""
    if source is None:
        return None
    path = Path(source).expanduser()
    return path / FOLDER if not store.is_collection(path) and store.is_collection(path / FOLDER) else path


def _discard(draft: Path) -> None:
    """Delete a collection that was never completed, and its side of an engine."""
    with suppress(CollectionError), closing(Store(draft)) as opened:
        len(opened.vectors)  # raises where an engine holds another's under that name
        opened.vectors.drop()
    shutil.rmtree(draft, ignore_errors=True)
