"""Everything that changes a collection: index, refresh, remove, repair, optimize, compact, whiten."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from lookalike.collection import places
from lookalike.collection import regions as region_runs
from lookalike.collection.lost import refuse_losses
from lookalike.collection.read_facts import FactsReport, read_facts, read_sidecars
from lookalike.collection.reader import FOLDER, Reader, Requested
from lookalike.collection.regions import RegionCost, RegionReport
from lookalike.collection.sync import IndexReport, Part, Sync
from lookalike.encoders import adaptation, whitening, with_options
from lookalike.encoders import precision as precisions
from lookalike.encoders.default import default_encoder
from lookalike.encoders.precision import PrecisionFinding
from lookalike.encoders.regions import RegionEncoder, region_encoder
from lookalike.encoders.whitened import fingerprint
from lookalike.encoders.whitening import Whitening
from lookalike.errors import CollectionError, CollectionLocked, EncoderMismatch, IndexSpecError, QueryError, SourceError
from lookalike.images.remote import is_remote
from lookalike.images.sources import Source, open_source
from lookalike.index import ann
from lookalike.integrations import addresses as engines
from lookalike.storage import distinct, kept_columns, marks, metadata, photo_facts, refitted, store, taken_out
from lookalike.storage import regions as stored_regions
from lookalike.storage.fence import discard_draft, supersede
from lookalike.storage.maintenance import whiten as whitenings
from lookalike.storage.maintenance.adapt import (
    apply,
    carry,
    forget,
    learned_map,
    refit,
    refuse,
    taken_confidence,
    taken_from,
    undo,
)
from lookalike.storage.maintenance.build_index import IndexBuild, optimize
from lookalike.storage.maintenance.compact import Compaction, compact, size
from lookalike.storage.maintenance.recovery import Recovered, recovered
from lookalike.storage.maintenance.transfer import Format, export
from lookalike.storage.maintenance.verify import Damage, verify
from lookalike.storage.manifest import encoder_in, refuse_remains, remains
from lookalike.storage.origins import Origins, location_of, prefix_for
from lookalike.storage.rekey import rekeyed
from lookalike.storage.store import Header, Store
from lookalike.storage.swap import SETS, beside, copy_former, exchange, sweep
from lookalike.storage.vectors import usual_dtype
from lookalike.types import Encoder, Progress
from lookalike.utils.text import command

if TYPE_CHECKING:
    from lookalike.analysis.adapt import Adaptation
    from lookalike.analysis.labels import Labels

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelSource:
    """Where `adapt` learns from: exactly one of a table of labels, folders, a table of pairs, another's map, marks."""

    labels: Path | None = None
    folders: bool = False
    pairs: Path | None = None
    other: Path | None = None
    marks: bool = False

    def __post_init__(self) -> None:
        """Raises QueryError."""
        if sum(map(bool, (self.labels, self.folders, self.pairs, self.other, self.marks))) != 1:
            raise QueryError(
                "adapt: give one of labels (a table), folders, pairs (a table), another collection and marks"
            )

    def read(self, store: Store) -> "Labels":
        """The labels of a collection's images; raises SourceError."""
        from lookalike.analysis import labels

        if self.labels:
            return labels.from_table(store, self.labels)
        if self.marks:
            return labels.from_marks(store)
        return labels.from_pairs(store, self.pairs) if self.pairs else labels.by_folder(store)


class Writer:
    """Writes to the collection of a `Reader`, which sees the changes at once; only one process can write at a time."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    @property
    def _path(self) -> Path:
        return self._reader.path

    def _further(self) -> list["Writer"]:
        """A writer for every further vector set."""
        return [Writer(reader) for reader in self._reader.further]

    def index(
        self,
        sources: Sequence[str | Path] = (),
        progress: Progress | None = None,
        rebuild: bool = False,
        precision: str | None = None,
        dtype: str | None = None,
        meta: Sequence[str | Path] = (),
        ignore: Sequence[str] | None = None,
        allow_removals: bool = False,
    ) -> IndexReport:
        """Bring the collection into step with `sources`, or with its own; see `Collection.index`."""
        if dtype and self._reader.exists and not rebuild and dtype != self._reader.store.header.dtype:
            way = f"`{command('compact', self._path, '--store', dtype)}`"
            raise CollectionError(f"{self._path} keeps {self._reader.store.header.dtype}; {way}")
        if precision:
            encoder = self._reader.requested.encoder
            if encoder is not None and not isinstance(encoder, str):
                raise CollectionError(f"precision {precision!r} goes with the name of an encoder, not with an open one")
            self._reader.use(with_options(self._reader.encoder_name, precision=precision))
        again = rebuild and (self._reader.exists or bool(remains(self._path)))
        named, away = self._named(self._photos(sources), ignore, again)
        if again:
            report = self._rebuild(named, progress, dtype, allow_removals, keeps_patterns=ignore is None)
        else:
            report = self._index(named, progress, dtype, allow_removals)
        self._note_away(away, ignore, report)
        for further in self._further():
            # What was named, where something was: another source may be away. A rebuild has only what it was made from.
            further._follow(self._reader, progress, rebuild, allow_removals, () if again else named)
        self._follow_regions(progress, anew=again)
        for table in meta:
            self.attach(table)
        return report

    def _named(
        self, named: Sequence[str | Path], ignore: Sequence[str] | None, rebuild: bool
    ) -> tuple[list[Source], dict[Path, str]]:
        """The sources that a run names, or is to give other patterns; each with these, or those of its last run.

        Where none is named, those of the collection that are not here are left out: their places, with the reasons.
        """
        known, own = self._known(), not named and not rebuild
        if own:
            named = self._reader.requested.sources
        if not named and ignore is not None:
            named = list(known)
        paths = [Path(place).expanduser() for place in named]
        kept = [(path, known.get(path.resolve(), ()) if ignore is None else ignore) for path in paths]
        if not own or any(path.resolve() not in known for path in paths):
            return [open_source(path, patterns) for path, patterns in kept], {}
        here, away = places.reachable(kept)
        if away and not any(here):
            raise places.nothing_here(away, self._reader.folder)
        return [source for source in here if source is not None], away

    def _note_away(self, away: dict[Path, str], ignore: Sequence[str] | None, report: IndexReport) -> None:
        """Say which sources were left out, and remember the patterns for them all the same."""
        report.unreachable |= {str(place): why for place, why in away.items()}
        if ignore is None or not away:
            return
        with self._reader.store.writing() as written:
            for place in away:
                if source := places.find(written, str(place)):
                    written.catalog.set_ignored(source[0], ignore)

    def _known(self) -> dict[Path, tuple[str, ...]]:
        """Where the sources of the last run lie, and their patterns; empty where the catalog cannot be read."""
        if not self._reader.exists:
            return {}
        try:
            catalog, origins = self._reader.store.catalog, Origins(self._reader.store)
            return {origins.locate(place).resolve(): catalog.ignored(id_) for id_, place, _ in catalog.sources()}
        except CollectionError:
            return {}

    def _follow(
        self,
        first: Reader,
        progress: Progress | None,
        rebuild: bool = False,
        allow_removals: bool = False,
        named: Sequence[Source] = (),
    ) -> IndexReport:
        """Bring a further vector set into step with these sources of the first one; without `named`, with all."""
        here, away = ([], {}) if named else first.reachable()
        sources = list(named) or [source for source, _, _ in here]
        if rebuild and (self._reader.exists or remains(self._path)):
            return self._rebuild(sources, progress, None, allow_removals)
        origins = Origins(first.store)
        prefixes = {origins.locate(place).resolve(): prefix for _, place, prefix in first.store.catalog.sources()}
        report = self._index(sources, progress, None, allow_removals, prefixes)
        self._note_away(away, None, report)
        return report

    def _photos(self, sources: Sequence[str | Path]) -> list[str | Path]:
        """Sources without this collection's own folder, which stands for its own; raises SourceError for another's."""
        others = [source for source in sources if Path(source).expanduser().resolve() != self._path.resolve()]
        for source in others:
            if store.is_collection(Path(source).expanduser()):
                raise SourceError(f"{source} is a collection, not a folder of photos; `lookalike merge` joins two")
        return others

    def attach(self, table: str | Path) -> tuple[int, int]:
        """Store the columns of a CSV or Parquet file with the images it names: (lines, of these used). SourceError."""
        for further in self._further():
            further.attach(table)
        with self._reader.store.writing() as written:
            return metadata.attach(written, Path(table))

    def read_facts(self, again: bool = False, progress: Progress | None = None) -> FactsReport:
        """Read what images say of themselves where that is not known; see `Collection.read_facts`."""
        with self._reader.store.writing() as written:
            report = read_facts(written, again, progress)
            report = replace(report, sidecars=read_sidecars(written, self._here()))
        self._reader.forget_gallery()
        for further in self._further():
            with further._reader.store.writing() as written:
                photo_facts.carry(self._reader.store, written, again)
                read_sidecars(written, further._here())
            further._reader.forget_gallery()
        return report

    def _here(self) -> list[tuple[Source, int, str]]:
        """The sources that can be read here; none where none can."""
        try:
            return self._reader.reachable()[0]
        except SourceError:
            return []

    def refresh(
        self, paths: Sequence[str | Path], progress: Progress | None = None, allow_removals: bool = False
    ) -> IndexReport:
        """Bring only these files or folders into step, which lie in indexed folders; see `sync.Part`."""
        report, encoder = IndexReport(), self._reader.encoder
        with self._reader.store.writing():
            first = self._reader.store.catalog.count_rows()
            here, away = self._reader.reachable([Path(path) for path in paths])
            self._note_away(away, None, report)
            for source, id_, prefix in here:
                part = Part.of(source, paths)
                if part is not None:
                    Sync(self._reader.store, part, id_, prefix, report, allow_removals).run(encoder, progress, 0, None)
        self._reader.forget_gallery()
        for further in self._further():
            further.refresh(paths, progress, allow_removals)
        self._follow_regions(progress, first)
        return report

    def add_regions(self, spec: str | None = None, progress: Progress | None = None) -> RegionReport:
        """Add vectors of parts of the images, or bring them into step; see `Collection.add_regions`."""
        parts, current = self._reader.parts, self._region_spec()
        encoder = self._region_encoder(spec or current)
        if parts is None or encoder.spec != current:
            self._make_regions(encoder.spec)
        return self._follow_regions(progress)

    def region_cost(self, spec: str | None = None) -> RegionCost:
        """What `add_regions` would cost; see `Collection.region_cost`."""
        parts, current = self._reader.parts, self._region_spec()
        encoder = self._region_encoder(spec or current)
        kept = parts is not None and encoder.spec == current and self._reader.has_own_regions
        return region_runs.cost(self._reader.store, parts.store if parts is not None and kept else None, encoder)

    def drop_regions(self) -> bool:
        """Delete the regions, if there are any; whether there were."""
        parts = self._reader.parts
        if parts is None:
            return False
        parts.close()
        region_runs.drop(parts.path)
        self._reader.forget_gallery()
        return True

    def _region_spec(self) -> str | None:
        parts = self._reader.parts
        return stored_regions.spec_of(parts.store.header) if parts is not None else None

    def _region_encoder(self, spec: str | None) -> RegionEncoder:
        return region_encoder(self._reader.encoder, spec)

    def _make_regions(self, spec: str) -> None:
        parts = self._reader.parts
        dtype = parts.store.header.dtype if parts is not None else None
        region_runs.make(stored_regions.folder(self._path), self._reader.store, spec, dtype)
        self._reader.forget_gallery()

    def _follow_regions(self, progress: Progress | None, first: int = 0, anew: bool = False) -> RegionReport:
        """Bring the regions into step, where there are any; those of images before row `first` are taken to be.

        Regions of vectors that the collection no longer has are made anew, as they are with `anew`.
        """
        spec = self._region_spec()
        if spec is None:
            return RegionReport()
        if anew or not self._reader.has_own_regions:
            self._make_regions(spec)
            first = 0
        parts = self._reader.parts
        assert parts is not None, "they have a spec"
        report = region_runs.embed_regions(
            self._reader.store, parts.store, lambda: self._region_encoder(spec), progress, first
        )
        parts.forget_gallery()
        for key, why in report.unreadable.items():
            log.info("%s has no regions: %s", key, why)
        return report

    def add_set(
        self, encoder: str | Encoder, progress: Progress | None = None, allow_removals: bool = False
    ) -> IndexReport:
        """Add vectors of another encoder for the same images, beside the first vectors, which do not change.

        A set that exists is brought into step. `sets` contains it afterwards.
        """
        name = encoder if isinstance(encoder, str) else encoder.name
        slug = "".join(letter if letter.isalnum() or letter in "-._" else "-" for letter in name)[-80:]
        further = self._reader.sets.get(name)
        if further is None:
            further = self._reader.open_set(self._path / SETS / (slug.strip(".") or "set"), encoder)
        report = Writer(further)._follow(self._reader, progress, allow_removals=allow_removals)
        with further.store.writing() as written:
            taken_out.carry(self._reader.store, written)
            distinct.carry(self._reader.store, written)
            marks.carry(self._reader.store, written)
            if written.catalog.count_values() < self._reader.store.catalog.count_values():
                kept_columns.carry(self._reader.store, written)
        return report

    def _index(
        self,
        named: Sequence[Source],
        progress: Progress | None,
        dtype: str | None,
        allow_removals: bool,
        prefixes: Mapping[Path, str] = MappingProxyType({}),
    ) -> IndexReport:
        """Bring the collection into step with these sources, else its own; `prefixes` are of new ones, by place."""
        if not self._reader.exists:
            refuse_remains(self._path)
        if not self._reader.exists:
            if not named:
                raise CollectionError(f"{self._path}: nothing to index; name a folder")
            if self._reader.requested.encoder is None:
                self._reader.use(default_encoder())
            finding = self._settle_precision(named, progress)
            self._reader.adopt(store.create(self._path, self._header(dtype)))
            self._keep_map()
            if finding:
                precisions.save(finding, self._path)
        places.refuse_moved(self._reader.store, named, self._reader.folder)
        encoder, report = self._reader.encoder, IndexReport()
        with self._reader.store.writing():
            registered = [self._register(source, prefixes) for source in named]
            if not named:
                registered, away = self._reader.reachable()
                self._note_away(away, None, report)
            counts = [source.count() for source, _, _ in registered]
            total = None if None in counts else sum(count or 0 for count in counts)
            done = 0
            for source, id_, prefix in registered:
                sync = Sync(self._reader.store, source, id_, prefix, report, allow_removals)
                done += sync.run(encoder, progress, done, total)
        self._reader.forget_gallery()
        return report

    def _keep_map(self) -> None:
        """Give a new collection the map of the one that it replaces, where its encoder has applied that."""
        kept = self._reader.requested.adaptation
        if kept is None:
            return
        if self._reader.store.header.fingerprint == fingerprint(kept.source, kept.map, "adapted"):
            kept.map.save(self._path, adaptation.FILE)
        else:
            log.warning("what `adapt` had learned is for vectors of another encoder or whitening, and is dropped")

    def _settle_precision(self, sources: Sequence[Source], progress: Progress | None) -> PrecisionFinding | None:
        """Decide the precision of a new collection; None for an encoder that is open already."""
        requested = self._reader.requested.encoder
        if not isinstance(requested, str):
            return None
        name, finding = precisions.decide(requested, sources, self._reader.requested.device, progress)
        if name != requested:
            self._reader.use(name)
        return finding

    def _header(self, dtype: str | None) -> Header:
        encoder = self._reader.encoder
        return Header(
            *(self._encoder_spec(), encoder.fingerprint, encoder.dim),
            *(dtype or usual_dtype(self._reader.requested.engine), self._reader.requested.engine),
        )

    def _encoder_spec(self) -> str:
        """The name by which this encoder can be loaded again on any machine."""
        requested = self._reader.requested.encoder
        return with_options(requested, device=None) if isinstance(requested, str) else self._reader.encoder.name

    def _register(self, source: Source, prefixes: Mapping[Path, str]) -> tuple[Source, int, str]:
        """(source, id, prefix), added to the catalog where it is new, with the prefix that its place has here."""
        registered, origins = self._reader.store.catalog.sources(), Origins(self._reader.store)
        for id_, location, prefix in registered:
            if origins.locate(location).resolve() == source.location.resolve():
                self._reader.store.catalog.set_ignored(id_, source.ignore)
                return source, id_, prefix
        given = prefixes.get(source.location.resolve())
        taken = [prefix for _, _, prefix in registered]
        prefix = prefix_for(source, taken, not registered) if given is None else given
        location = location_of(self._path, source.location.resolve())
        id_ = self._reader.store.catalog.add_source(location, prefix)
        self._reader.store.catalog.set_ignored(id_, source.ignore)
        return source, id_, prefix

    def _rebuild(
        self,
        sources: Sequence[Source],
        progress: Progress | None,
        dtype: str | None,
        allow_removals: bool,
        keeps_patterns: bool = False,
    ) -> IndexReport:
        """Make a new collection beside the old one, then replace the old one.

        A damaged one is not opened, but what its entries say that a user gave is taken over as far as it can be read;
        with `keeps_patterns` the patterns of what to pass over too.
        """
        requested = self._reader.requested
        try:
            with self._reader.store.locked() as old:
                # Those that are registered need not be here where others are named.
                registered = [] if sources else [source for source, _, _ in self._reader.registered()]
                encoder, dtype = requested.encoder or old.header.encoder, dtype or old.header.dtype
                places = [*sources] or [*registered] or [*map(open_source, requested.sources)]
                report = self._rebuild_beside(places, encoder, progress, dtype, old, allow_removals)
        except CollectionError as error:
            if isinstance(error, CollectionLocked | EncoderMismatch) or self._is_readable():
                raise
            with store.sole_writer(self._path), recovered(self._path) as rest:
                places = self._places_in(rest, sources, keeps_patterns)
                if not places:
                    raise
                name = rest.header.encoder if rest.header else encoder_in(self._path)
                dtype = dtype or (rest.header.dtype if rest.header else None)
                encoder = requested.encoder or name or default_encoder()
                report = self._rebuild_beside(places, encoder, progress, dtype, rest, allow_removals)
        self._reader.close()
        self._reader.use(self._reader.requested.encoder)
        return report

    def _places_in(self, rest: Recovered, sources: Sequence[Source], keeps_patterns: bool) -> list[Source]:
        """What to rebuild from: these sources, else those that are still known; with the patterns that they had."""
        origins, ignored = Origins(rest), rest.catalog.ignored
        local = [entry for entry in rest.catalog.sources() if not is_remote(entry[1])]
        known = {origins.locate(place).resolve(): ignored(id_) for id_, place, _ in local}
        if not sources:
            sources = [open_source(place) for place in known or self._reader.requested.sources]
        if not keeps_patterns:
            return list(sources)
        places = [(source.location, source.ignore or known.get(source.location.resolve(), ())) for source in sources]
        return [open_source(place, patterns) for place, patterns in places]

    def _is_readable(self) -> bool:
        try:
            return self._reader.store.catalog.count_rows() >= 0
        except CollectionError:
            return False

    def _rebuild_beside(
        self,
        places: Sequence[Source],
        encoder: str | Encoder,
        progress: Progress | None,
        dtype: str | None,
        old: Store | Recovered,
        allow_removals: bool,
    ) -> IndexReport:
        fresh = beside(self._path, "new")
        engine = old.header.engine if old.header else self._reader.requested.engine
        dtype = dtype or usual_dtype(engine)
        if not self._continues(fresh, places, encoder, dtype):
            discard_draft(fresh)
        new_engine = engines.renamed(engine) if engine else None
        kept = learned_map(old)
        draft = Reader(fresh, Requested(encoder, (), self._reader.requested.device, new_engine, kept))
        with closing(draft):
            # What a draft of an interrupted rebuild has is not the user's yet.
            report = Writer(draft)._index(places, progress, dtype, allow_removals=True)
            if not allow_removals:
                refuse_losses(old, draft.store, self._path)
            with draft.store.writing() as written:
                key_of = rekeyed(old, written)
                taken_out.carry(old, written, key_of)
                kept_columns.carry(old, written, key_of)
                distinct.carry(old, written)
                marks.carry(old, written)
                refitted.carry(old, written)
                if old.header:
                    supersede(old.catalog, old.header, written.catalog)
                if (fresh / adaptation.FILE).exists():
                    carry(old, written)
                    copy_former(self._path, fresh)
                written.relocate(self._path)
        exchange(self._path, fresh)
        sweep(self._path)
        return report

    def _continues(self, fresh: Path, places: Sequence[Source], encoder: str | Encoder, dtype: str) -> bool:
        """Whether an interrupted rebuild of these places with this very encoder can go on."""
        name = encoder if isinstance(encoder, str) else encoder.name
        try:
            with closing(Reader(fresh, Requested(encoder, device=self._reader.requested.device))) as draft:
                header, origins = draft.store.header, Origins(draft.store)
                registered = {origins.locate(location).resolve() for _, location, _ in draft.store.catalog.sources()}
                return (
                    precisions.settled(name, header.encoder) == header.encoder
                    and header.dtype == dtype
                    and registered <= {place.location.resolve() for place in places}
                    and _content(fresh / adaptation.FILE) == _content(self._path / adaptation.FILE)
                    # Last, since it loads the weights; raises EncoderMismatch where they have changed since.
                    and draft.encoder.fingerprint == header.fingerprint
                )
        except CollectionError:
            return False

    def remove(self, keys: Sequence[str]) -> int:
        """Take images out of the collection, but leave their files; how many. See `Collection.remove`."""
        with self._reader.store.writing() as written:
            items = {key: written.catalog.live_item(key) for key in dict.fromkeys(keys)}
            missing = [key for key, item in items.items() if item is None]
            if missing:
                raise QueryError(f"{missing[0]}: no such key in {self._path}; nothing was removed")
            taken_out.take_out(written, [item for item in items.values() if item])
        self._reader.forget_gallery()
        for further in self._further():
            further.remove([key for key in keys if further._reader.row(key) is not None])
        return len(items)

    def move_source(self, old: str | Path, new: str | Path, force: bool = False) -> None:
        """Let a source lie elsewhere from now on, without embedding anything. See `Collection.move_source`."""
        place = Path(new).expanduser().absolute()
        if not force:
            places.refuse_other(self._reader.store, str(old), open_source(place))
        for further in self._further():
            if places.find(further._reader.store, str(old)):
                further.move_source(old, new, force=True)
        with self._reader.store.writing() as written:
            places.move(written, str(old), place)
        self._reader.forget_sources()

    def forget_source(self, source: str | Path) -> int:
        """Drop a source with its images; how many. See `Collection.forget_source`."""
        with self._reader.store.writing() as written:
            count = places.forget(written, str(source))
        self._reader.forget_sources()
        for further in self._further():
            if places.find(further._reader.store, str(source)):
                further.forget_source(source)
        return count

    def restore(self, keys: Sequence[str]) -> int:
        """Let images that were taken out by hand in again; how many. See `Collection.restore`."""
        with self._reader.store.writing() as written:
            missing = [key for key in dict.fromkeys(keys) if not taken_out.let_in(written, key)]
            if missing:
                raise QueryError(f"{missing[0]}: was not taken out of {self._path} by hand; nothing was changed")
        for further in self._further():
            with further._reader.store.writing() as written:
                for key in keys:
                    taken_out.let_in(written, key)
        return len(dict.fromkeys(keys))

    def not_duplicates(self, pairs: Sequence[distinct.Pair], forget: bool = False) -> None:
        """Remember that the contents of pairs are no duplicates, or forget it; see `Collection.not_duplicates`."""
        with self._reader.store.writing() as written:
            (distinct.forget if forget else distinct.add)(written, pairs)
        self._reader.forget_gallery()
        for further in self._further():
            further.not_duplicates(pairs, forget)

    def mark(self, pair: distinct.Pair, same: bool | None) -> None:
        """Remember whether two contents show the same thing; None forgets it. See `Collection.mark`."""
        with self._reader.store.writing() as written:
            if same is None:
                marks.forget(written, pair)
            else:
                marks.put(written, pair, same)
        for further in self._further():
            further.mark(pair, same)

    def verify(self, repair: bool = False) -> Damage:
        """What does not match its checksum; with `repair` these rows are removed, and the next run embeds them."""
        if not self._path.is_dir():
            self._reader.refuse_part()
        damage = verify(self._path, repair)
        if repair and damage:
            self._reader.close()
        return damage

    def optimize(self, spec: str = "auto", progress: Progress | None = None) -> IndexBuild:
        """Build an index for fast search among many images; see `build_index.optimize`."""
        report = optimize(self._reader.store, spec, progress)
        self._reader.forget_gallery()
        if (parts := self._reader.parts) is not None:
            # Theirs are in a file, also where the images' are in an engine, which has indexes of other kinds.
            optimize(parts.store, "auto" if self._reader.store.header.engine else spec, progress)
            parts.forget_gallery()
        return report

    def compact(
        self, dtype: str | None = None, progress: Progress | None = None, engine: str | None = None
    ) -> Compaction:
        """Drop the rows of removed images; see `compact.compact` and `Collection.compact`."""
        current = self._reader.store.header.engine
        if engine and not current:
            raise CollectionError(
                f"{self._path} keeps its vectors in a file; `index --rebuild --engine URI` moves them"
            )
        target = engines.stored(engine) if engine else engines.renamed(current) if current else None
        before = size(self._path)
        if (parts := self._reader.parts) is not None:
            store.refuse_links(self._path)
            with parts.store.writing() as written:
                stored_regions.remove_unowned(self._reader.store.catalog, written.catalog)
            compact(parts.store, dtype, progress)
        report = compact(self._reader.store, dtype, progress, target)
        return replace(report, before=before)

    def export(self, out: str | Path, kind: Format, progress: Progress | None = None) -> list[Path]:
        """Write vectors and keys to files of another format; see `transfer.export`."""
        paths = export(self._reader.store, Path(out), kind, progress)
        if (parts := self._reader.parts) is not None:
            named = stored_regions.Named.of(self._reader.store, parts.store)
            paths += export(parts.store, Path(out) / stored_regions.FOLDER, kind, progress, named)
        return paths

    def whiten(
        self, dim: int | None = None, power: float = 1.0, shrinkage: float = 0.0, source: str | Path | None = None
    ) -> whitening.Whitening:
        """Whiten all vectors, by a whitening fitted to this collection or to another; see `Collection.whiten`."""
        parts = self._own_parts()
        learned = whitenings.whiten(self._reader.store, dim, power, shrinkage, _place(source))
        if parts is not None:
            whitenings.apply(parts.store, learned)
        self._open_again()
        return learned

    def adapt(
        self,
        labels: str | Path | None = None,
        folders: bool = False,
        pairs: str | Path | None = None,
        other: str | Path | None = None,
        dry_run: bool = False,
        progress: Progress | None = None,
        marks: bool = False,
    ) -> "Adaptation":
        """Map all vectors by what labels teach, where that is proven to be a gain; see `Collection.adapt`."""
        from lookalike.analysis.adapt import Adaptation, learn

        source = LabelSource(_file(labels), folders, _file(pairs), _place(other), marks)
        refuse(self._reader.store)
        if source.other is not None:
            learned: Whitening | None = taken_from(source.other, self._reader.store)
            assert learned is not None, "taken_from gives a map or raises"
            finding, confidence = Adaptation(applied=False, dim=learned.dim), taken_confidence(source.other)
        else:
            finding, learned = learn(self._reader.store, source.read(self._reader.store))
            confidence = finding.confidence.to_store() if finding.confidence else None
        finding = replace(
            finding,
            applied=learned is not None and not dry_run,
            refitted=confidence is not None and not dry_run,
            dry_run=dry_run,
        )
        if learned is not None and finding.applied:
            self._exchange(lambda: self._apply(learned, finding, confidence), progress)
        elif confidence is not None and finding.refitted:
            refit(self._reader.store, confidence)
        return finding

    def undo_adapt(self, progress: Progress | None = None) -> int:
        """Give the former vectors back; how many images have none. See `Collection.undo_adapt`."""
        if forget(self._reader.store):
            return 0
        counts: list[int] = []
        self._exchange(lambda: counts.append(self._undo()), progress)
        return counts[0]

    def _own_parts(self) -> Reader | None:
        """The regions, where they are of the vectors that the collection has."""
        return self._reader.parts if self._reader.has_own_regions else None

    def _apply(self, learned: Whitening, finding: "Adaptation", confidence: refitted.Confidence | None) -> None:
        parts = self._own_parts()
        apply(self._reader.store, learned, finding.facts(), confidence)
        if parts is not None:
            apply(parts.store, learned, finding.facts())

    def _undo(self) -> int:
        parts = self._own_parts()
        count = undo(self._reader.store)
        if parts is not None:
            undo(parts.store)
        return count

    def _exchange(self, change: Callable[[], None], progress: Progress | None) -> None:
        """Exchange all vectors, and make an index of the same kind again where there was one."""
        current, parts = self._reader.store, self._reader.parts
        specs = [_index_of(each) for each in (current, *([parts.store] if parts is not None else []))]
        spec = next((spec for spec in specs if spec), None)
        change()
        self._open_again()
        if spec:
            try:
                self.optimize(spec, progress)
            except IndexSpecError:
                # A kind that only vectors of the former length can have.
                self.optimize("auto", progress)

    def _open_again(self) -> None:
        self._reader.close()
        self._reader.use(self._reader.requested.encoder)


def _index_of(current: Store) -> str | None:
    """The spec of the index of a collection; None where it has none."""
    spec = ann.facts(current.path, current.header.id, current.catalog.count_rows()).get("spec")
    return None if spec is None else str(spec)


def _content(file: Path) -> bytes | None:
    return file.read_bytes() if file.is_file() else None


def _file(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path)


def _place(source: str | Path | None) -> Path | None:
    """The folder of a collection, named itself or by its folder of photos."""
    if source is None:
        return None
    path = Path(source).expanduser()
    return path / FOLDER if not store.is_collection(path) and store.is_collection(path / FOLDER) else path
