"""A collection of images on disk that can be asked which of them look alike."""

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL.Image import Image

from lookalike import compact as compacting
from lookalike import metadata, spaces, store, whitening
from lookalike import optimize as optimizing
from lookalike import precision as precisions
from lookalike.approximate import facts
from lookalike.combine import How
from lookalike.duplicates import Group, Level, find, threshold_for
from lookalike.encoders import load_encoder, reads_text, with_options
from lookalike.encoders.quantize import PrecisionFinding
from lookalike.encoders.whitened import whitened
from lookalike.errors import CollectionError, CollectionLocked, EncoderMismatch, QueryError
from lookalike.exchange import SETS, beside, exchange, recover
from lookalike.explain import CONVINCING, Explanation
from lookalike.explain import explain as matched
from lookalike.gallery import StoredGallery, prefix_for
from lookalike.label import BLOCK, TEMPLATE, Label
from lookalike.label import label as labelled
from lookalike.map import MOST, make
from lookalike.query import Asked, Query, Resolved, query_picture, resolve, several
from lookalike.rerank.patches import PatchEncoder
from lookalike.sources import Source, open_source
from lookalike.store import Header, Store
from lookalike.sync import IndexReport, Part, Sync
from lookalike.transfer import Format, export
from lookalike.types import Box, Encoder, Hit, Probe, Progress, Ranking, Reranker, Scores, TextEncoder
from lookalike.verify import Damage, verify
from lookalike.view import View, rerankers

FOLDER = ".lookalike"
DEFAULT_ENCODER = "dinov2-base"
KEPT_OPEN = 2
"""Collections that were replaced, for searches that began before."""


def open(
    path: str | Path,
    *,
    encoder: str | Encoder | None = None,
    collection: str | Path | None = None,
    device: str | None = None,
) -> "Collection":
    """The collection of a photo folder (or archive, or list), or the one that lies at `path`.

    Without `collection` it lies in `path/.lookalike`. Nothing is written before `index`. `encoder` (a name, a path or
    an Encoder) is needed only for a new collection; for one that exists it must be the one that it was made with.
    `device` is where it computes: cuda, mps, cpu; without one, a GPU where PyTorch finds one, else ONNX Runtime.
    Raises CollectionError where there is neither a collection nor anything to index.
    """
    path = Path(path).expanduser()
    if collection is not None:
        return Collection(Path(collection).expanduser(), encoder, [path], device)
    if store.is_collection(path) or path.name == FOLDER:
        return Collection(path, encoder, device=device)
    if path.is_dir():
        return Collection(path / FOLDER, encoder, [path], device)
    if path.exists():
        raise CollectionError(f"{path} is not a folder: say where its collection is to lie (--collection DIR)")
    raise CollectionError(f"{path}: no such folder or collection")


class Collection:
    """Images, their vectors and where they came from. Reading is safe from several threads and processes."""

    def __init__(
        self,
        path: str | Path,
        encoder: str | Encoder | None = None,
        sources: Sequence[Path] = (),
        device: str | None = None,
    ) -> None:
        """The collection in the folder `path`, made by the first `index`; `sources` are what that indexes."""
        self.path = Path(path)
        self._given = encoder
        self._encoder: Encoder | None = None
        self._sources = list(sources)
        self._device = {"device": device} if device else {}
        self._open_store: Store | None = None
        self._open_gallery: StoredGallery | None = None
        self._retired: list[Store] = []
        self._open_sets: dict[Path, Collection] = {}
        recover(self.path)

    def __len__(self) -> int:
        return len(self.gallery)

    def close(self) -> None:
        """Let go of the files."""
        for further in self._open_sets.values():
            further.close()
        for opened in (*self._retired, *([self._open_store] if self._open_store else [])):
            opened.close()
        self._open_store = self._open_gallery = None
        self._retired = []

    def __enter__(self) -> "Collection":
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
        if self._open_store is not None and self._open_store.replaced and self.exists:
            # Another process, or another object of this one, has put another collection in its place. A thread that
            # is still searching the old one needs its files.
            self._retired.append(self._open_store)
            while len(self._retired) > KEPT_OPEN:
                self._retired.pop(0).close()
            self._open_store = self._open_gallery = self._encoder = None
        if self._open_store is None:
            if not self.exists:
                folder = self._sources[0] if self._sources else self.path
                raise CollectionError(f"{folder} has not been indexed; run `lookalike index {folder}`")
            self._open_store = Store(self.path)
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

    def _name(self) -> str:
        """What the encoder was asked for by, or is known by to the collection."""
        if isinstance(self._given, str):
            return self._given
        return self.store.header.encoder if self.exists else DEFAULT_ENCODER

    def _load(self) -> Encoder:
        name, stored = self._name(), self.store.header.encoder if self.exists else None
        return load_encoder(precisions.settled(name, stored) if stored else name, **self._device)

    @property
    def sets(self) -> dict[str, "Collection"]:
        """Encoder names to vector sets: this collection itself, and those that were added to it, each a whole one."""
        places = sorted((self.path / SETS).glob("*")) if self.exists else []
        for place in places:
            if place not in self._open_sets and store.is_collection(place):
                self._open_sets[place] = Collection(place, device=self._device.get("device"))
        further = [self._open_sets[place] for place in places if place in self._open_sets]
        return {self.store.header.encoder: self} | {one.store.header.encoder: one for one in further}

    def add_set(self, encoder: str | Encoder, progress: Progress | None = None) -> IndexReport:
        """Vectors of one more encoder for the same images, kept beside the first ones, which are not touched.

        Where there is such a set already, it is brought into step. `sets` has it afterwards.
        """
        name = encoder if isinstance(encoder, str) else encoder.name
        slug = "".join(letter if letter.isalnum() or letter in "-._" else "-" for letter in name)[-80:]
        further = self.sets.get(name)
        if further is None:
            place = self.path / SETS / (slug.strip(".") or "set")
            further = self._open_sets[place] = Collection(place, encoder, device=self._device.get("device"))
        return further.index([source.location for source, _, _ in self._registered()], progress)

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
        if dtype and self.exists and not rebuild and dtype != self.store.header.dtype:
            raise CollectionError(f"{self.path} keeps {self.store.header.dtype}; `lookalike compact --store {dtype}`")
        if precision:
            if self._given is not None and not isinstance(self._given, str):
                raise CollectionError(f"precision {precision!r} goes with the name of an encoder, not with an open one")
            self._given, self._encoder = with_options(self._name(), precision=precision), None
        begin = self._rebuild if rebuild and self.exists else self._index
        report = begin(sources, progress, dtype)
        for table in meta:
            self.attach(table)
        for further in list(self.sets.values())[1:]:
            further.index([source.location for source, _, _ in self._registered()], progress, rebuild)
        return report

    def attach(self, table: str | Path) -> tuple[int, int]:
        """Keep the columns of a CSV or Parquet file with the images it names: (lines, of these used). SourceError."""
        with self.store.writing() as opened:
            return metadata.attach(opened, Path(table))

    def _index(self, sources: Sequence[str | Path], progress: Progress | None, dtype: str | None) -> IndexReport:
        opened = [open_source(source) for source in sources or self._sources]
        if not self.exists:
            if not opened:
                raise CollectionError(f"{self.path}: nothing to index; name a folder")
            finding = self._settle_precision(opened)
            encoder = self.encoder
            header = Header(self._encoder_spec(), encoder.fingerprint, encoder.dim, dtype or "float32")
            self._open_store = store.create(self.path, header)
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

    def _encoder_spec(self) -> str:
        """The name by which this encoder can be loaded again from anywhere."""
        assert self._encoder is not None
        if not isinstance(self._given, str):
            return self._encoder.name
        return with_options(self._given, device=None)

    def _rebuild(self, sources: Sequence[str | Path], progress: Progress | None, dtype: str | None) -> IndexReport:
        """Make the new one beside the old one, then let it take its place; of one that is damaged nothing is asked."""
        try:
            with self.store.locked() as old:
                registered = [source.location for source, _, _ in self._registered()]
                encoder, dtype = self._given or old.header.encoder, dtype or old.header.dtype
                report = self._made_anew([*sources] or [*registered] or [*self._sources], encoder, progress, dtype, old)
        except CollectionError as error:
            places = [*sources] or [*self._sources]
            if isinstance(error, CollectionLocked | EncoderMismatch) or not places or self._is_readable():
                raise
            report = self._made_anew(places, self._given or DEFAULT_ENCODER, progress, dtype, None)
        self.close()
        self._encoder = None
        return report

    def _is_readable(self) -> bool:
        try:
            return self.store.count_rows() >= 0
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
        fresh = beside(self.path, "new")
        if not _continues(fresh, encoder, dtype):
            shutil.rmtree(fresh, ignore_errors=True)
        with Collection(fresh, encoder, device=self._device.get("device")) as made:
            report = made.index([Path(place).absolute() for place in places], progress, dtype=dtype)
            with made.store.writing() as written:
                written.relocate(self.path)
                if old is not None:
                    metadata.carry(old, written)
        exchange(self.path, fresh)
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

    def search(  # noqa: PLR0913 - what can be asked at once
        self,
        query: Query | Sequence[Query] | None = None,
        k: int = 10,
        box: Box | None = None,
        min_score: float | None = None,
        exclude_self: bool = False,
        rerank: Sequence[str | Reranker] = (),
        *,
        text: str | None = None,
        negatives: Query | Sequence[Query] | None = None,
        negative_text: str | None = None,
        weights: Sequence[float] | None = None,
        combine: How = "mean",
        invariant: Sequence[str] = (),
        where: str | None = None,
        offset: int = 0,
        fuse: spaces.Fuse = "rank",
        recall: float | None = None,
    ) -> list[Hit]:
        """The `k` images that look most like `query`, best first; fewer where there are fewer.

        `query` is a path, a key of the collection, an open image, image bytes, a URL, a vector, or several of these,
        whose mean is searched for (or, with `combine="max"`, all of them at once). `box` is a region of it in pixels of
        the upright image. The query itself comes first with score 1 where the collection has it, or not at all with
        `exclude_self`. `text` says what is wanted in words, with or without images; it needs a vector set of an encoder
        that reads. What `negatives` and `negative_text` show is pushed away. `rerank` names methods of `rerank`, with
        their parameters; `where` narrows the search to some images (see `filters`). `offset` passes over the first
        results. `recall` is which share of the true nearest an index must find: 1 is exact. Raises QueryError.
        """
        given = tuple(weights) if weights is not None else None
        asked = Asked(
            several(query), text, several(negatives), negative_text, box, given, combine, tuple(invariant)
        )  # fmt: skip
        return self.find(asked, k, min_score, exclude_self, rerank, where, offset, fuse, recall)

    def find(  # noqa: PLR0913, PLR0917 - as above
        self,
        asked: Asked,
        k: int = 10,
        min_score: float | None = None,
        exclude_self: bool = False,
        rerank: Sequence[str | Reranker] = (),
        where: str | None = None,
        offset: int = 0,
        fuse: spaces.Fuse = "rank",
        recall: float | None = None,
    ) -> list[Hit]:
        """As `search`, with what is asked in one piece."""
        if k < 1 or offset < 0:
            raise QueryError(f"k = {k} and offset = {offset}: k is at least 1, offset at least 0")
        methods = rerankers(rerank)
        while True:
            opened = self.store
            try:
                hits = self._found(asked, k, min_score, exclude_self, methods, where, offset, fuse, recall)
            except CollectionError:
                if self.store is opened:
                    raise
                continue
            # Row numbers are those of one store: where another took its place meanwhile, they mean other images.
            if self.store is opened:
                return hits

    def _found(  # noqa: PLR0913, PLR0917 - as above
        self,
        asked: Asked,
        k: int,
        min_score: float | None,
        exclude_self: bool,
        methods: Sequence[Reranker],
        where: str | None,
        offset: int,
        fuse: spaces.Fuse,
        recall: float | None,
    ) -> list[Hit]:
        found = spaces.answer(
            spaces.parts(
                asked,
                View(self, methods, where, recall),
                lambda: View(self.reader(), methods, where, recall),
            ),
            k + offset,
            fuse,
        )
        space = self.reader() if asked.about_images is None else self
        resolved = found.resolved
        if where is not None:
            searched = space.gallery.where(where)
            resolved = replace(resolved, own_rows=tuple(filter(searched.holds, resolved.own_rows)))
        ranking = space.placed(found.ranking, resolved, k + offset, exclude_self)
        return space.hits(Ranking(ranking.ids[offset:], ranking.scores[offset:]), min_score, offset)

    @property
    def reads_text(self) -> bool:
        """Whether it can be searched with words."""
        return any(map(_reads, self.sets.values()))

    def reader(self) -> "Collection":
        """The vector set that words are searched in: this one, or the first that can read. Raises QueryError."""
        for one in (self, *self.sets.values()):
            if _reads(one):
                return one
        stored = self.store.header.encoder
        raise QueryError(
            f"{self.path} has no vectors of an encoder that reads text; add them: lookalike index "
            f"{self.folder} --encoder {stored} --encoder siglip2-base"
        )

    @property
    def folder(self) -> Path:
        """What commands call it: its folder of photos where it lies in one, else its own."""
        return self.path.parent if self.path.name == FOLDER else self.path

    def resolve(self, asked: Asked) -> Resolved:
        """What is asked as vectors, and which rows of the collection are the query itself."""
        return resolve(asked, lambda: self.encoder, self.gallery)

    def placed(self, ranking: Ranking, resolved: Resolved, k: int, exclude_self: bool) -> Ranking:
        """The query itself first with score 1, or left out; a region of it is no more than what it scores."""
        own = np.array(resolved.own_rows, np.int64)
        if not len(own) or (resolved.is_region and not exclude_self):
            return ranking.head(k)
        others = ~np.isin(ranking.ids, own)
        ids, scores = ranking.ids[others], ranking.scores[others]
        if not exclude_self:
            ids, scores = np.concatenate([own, ids]), np.concatenate([np.ones(len(own), np.float32), scores])
        return Ranking(ids, scores).head(k)

    def explain(self, query: Query, key: str, box: Box | None = None) -> Explanation:
        """What a query picture (or a region of it) and an image of the collection have in common.

        Raises QueryError for a key that is not there and for a query that is no picture.
        """
        row = self.row(key)
        if row is None:
            raise QueryError(f"{key}: no such key in {self.path}")
        asked, found = self.picture(query, box), self.gallery.image(row)
        explained = matched(asked, found)
        if explained.inliers < CONVINCING and isinstance(self.encoder, PatchEncoder):
            explained = matched(asked, found, self.encoder)
        return explained

    def picture(self, query: Query, box: Box | None = None) -> Image:
        """The upright picture of a query at full size, cut to its box; raises QueryError."""
        return query_picture(query, box, self.gallery)

    def whiten(
        self, dim: int | None = None, power: float = 1.0, shrinkage: float = 0.0, source: str | Path | None = None
    ) -> whitening.Whitening:
        """Turn and scale all vectors so that their directions count alike, by what this collection holds or another.

        Queries and new images are whitened likewise from then on. See `whitening.fit`; raises CollectionError where it
        is whitened already.
        """
        from lookalike.whiten import whiten

        self.store.header  # noqa: B018 - says so in a line where nothing was indexed yet
        learned = whiten(self.path, dim, power, shrinkage, None if source is None else open(source).path)
        self.close()
        self._encoder = None
        return learned

    def hits(self, ranking: Ranking, min_score: float | None = None, offset: int = 0) -> list[Hit]:
        """Rows and scores as keys and paths; ranks count from `offset` + 1."""
        found: list[Hit] = []
        for row, score in zip(ranking.ids.tolist(), ranking.scores.tolist(), strict=True):
            if min_score is None or score >= min_score:
                item = self.gallery.found(row)
                found.append(Hit(offset + len(found) + 1, item.key, self.gallery.origins.path(item), float(score)))
        return found

    def distances(self, probe: Probe, keys: Sequence[str]) -> Scores:
        """Squared Euclidean distances between the probe's first vector and these images, as IndexFlatL2 gives them."""
        scores, found = self.gallery.search_by(probe.vectors[:1], len(self), "l2")
        by_row = dict(zip(found[0].tolist(), scores[0].tolist(), strict=True))
        return np.array([by_row[self.row(key) or 0] for key in keys], np.float32)

    def chosen(self, encoder: str | None) -> "Collection":
        """The vector set of an encoder; this one where none is named. Raises EncoderMismatch where it has none."""
        if encoder is None or encoder == self.store.header.encoder:
            return self
        return self.sets.get(encoder) or Collection(self.path, encoder)

    def duplicates(
        self,
        level: Level = "exact",
        threshold: float | None = None,
        other: "Collection | None" = None,
        progress: Progress | None = None,
    ) -> list[Group]:
        """Groups of copies, or what of `other` has copies here; see `duplicates.find`. Raises QueryError."""
        mine, theirs = self.store.header, (other or self).store.header
        if (threshold is not None or level != "exact") and mine.fingerprint != theirs.fingerprint:
            raise EncoderMismatch(f"{self.path} was made with {mine.encoder}, the other with {theirs.encoder}")
        least = threshold_for(mine.encoder, level) if threshold is None else threshold
        return find([self.gallery, other.gallery] if other else [self.gallery], least, progress)

    def label(
        self, labels: Sequence[str], k: int = 1, templates: Sequence[str] = (TEMPLATE,), min_score: float = -1.0
    ) -> tuple[Iterator[str], Iterator[list[Label]]]:
        """The keys of all images and, in step with them, the best `k` labels of each; see `label.label`."""
        reader = self.reader()
        gallery, encoder = reader.gallery, reader.encoder
        assert isinstance(encoder, TextEncoder), "reader() gives one that reads"
        rows = np.array([item.row for item in gallery.live_items()], np.int64)
        blocks = (gallery.vectors(rows[at : at + BLOCK]) for at in range(0, len(rows), BLOCK))
        keys = (item.key for item in gallery.live_items())
        return keys, labelled(blocks, labels, encoder, k, templates, min_score)

    def map(
        self, out: str | Path, groups: int | None = None, most: int = MOST, progress: Progress | None = None
    ) -> int:
        """Write a page that shows all images, like ones together, to `out`; how many it shows. See `map.make`."""
        return make(self.gallery, out, groups, self.folder.resolve().name, None, most, progress)

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

    def optimize(self, spec: str = "auto", progress: Progress | None = None) -> optimizing.Report:
        """Make an index for searching many images quickly; see `optimize.optimize`."""
        self.store.header  # noqa: B018 - says so in a line where nothing was indexed yet
        report = optimizing.optimize(self.path, spec, progress)
        self._open_gallery = None
        return report

    def compact(self, dtype: str | None = None, progress: Progress | None = None) -> compacting.Report:
        """Leave the rows of removed images behind; see `compact.compact`."""
        self.store.header  # noqa: B018 - as above
        return compacting.compact(self.path, dtype, progress)

    def export(self, out: str | Path, kind: Format, progress: Progress | None = None) -> list[Path]:
        """Write vectors and keys to files of another format; see `transfer.export`."""
        return export(self.store, Path(out), kind, progress)

    def refresh(self, paths: Sequence[str | Path], progress: Progress | None = None) -> IndexReport:
        """Bring just these files or folders into step, which lie in folders that were indexed; see `sync.Part`."""
        report, encoder = IndexReport(), self.encoder
        with self.store.writing():
            for source, id_, prefix in self._registered():
                part = Part.of(source, paths)
                if part is not None:
                    Sync(self.store, part, id_, prefix, report).run(encoder, progress, 0, None)
        self._open_gallery = None
        for further in list(self.sets.values())[1:]:
            further.refresh(paths, progress)
        return report

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
            **({"index": index} if (index := facts(self.path, self.store.header.id, self.store.count_rows())) else {}),
            **({"precision": found} if (found := precisions.facts(self.path)) else {}),
        }


def _reads(collection: Collection) -> bool:
    """Whether its encoder reads text, as far as can be said without loading it."""
    given = collection._given
    if given is None or isinstance(given, str):
        return reads_text(collection.store.header.encoder)
    return isinstance(given, TextEncoder)


def _continues(fresh: Path, encoder: str | Encoder, dtype: str | None) -> bool:
    """Whether an interrupted rebuild with this encoder can go on."""
    if not store.is_collection(fresh):
        return False
    try:
        header = store.read_header(fresh)
    except CollectionError:
        return False
    name = encoder if isinstance(encoder, str) else encoder.name
    return precisions.settled(name, header.encoder) == header.encoder and header.dtype == (dtype or "float32")
