"""A collection of images on disk that can be asked which of them look alike."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lookalike import precision as precisions
from lookalike import search, store
from lookalike.encoders import load_encoder, with_options
from lookalike.encoders.quantize import PrecisionFinding
from lookalike.errors import CollectionError, EncoderMismatch, QueryError
from lookalike.gallery import StoredGallery, prefix_for
from lookalike.query import Query, Resolved, resolve
from lookalike.sources import Source, open_source
from lookalike.store import Damage, Header, Store
from lookalike.sync import IndexReport, Sync
from lookalike.types import Box, Encoder, Hit, Ids, Probe, Progress, Ranking, Reranker, Scores

FOLDER = ".lookalike"
DEFAULT_ENCODER = "dinov2-base"


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
        raise CollectionError(
            f"{path} is no folder and no collection; `lookalike index {path} --collection DIR` makes one of an archive "
            "or a list"
        )
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
        self._encoder: Encoder | None = None if encoder is None or isinstance(encoder, str) else encoder
        self._sources = list(sources)
        self._device = {"device": device} if device else {}
        self._open_store: Store | None = None
        self._open_gallery: StoredGallery | None = None
        _recover(self.path)

    def __len__(self) -> int:
        return len(self.gallery)

    def close(self) -> None:
        """Let go of the files."""
        if self._open_store:
            self._open_store.close()
        self._open_store = self._open_gallery = None

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
            self._open_gallery = StoredGallery(self.store)
        return self._open_gallery

    @property
    def encoder(self) -> Encoder:
        """The encoder, loaded when first needed; raises EncoderMismatch where the vectors are another's."""
        if self._encoder is None:
            name, stored = self._name(), self.store.header.encoder if self.exists else None
            self._encoder = load_encoder(precisions.settled(name, stored) if stored else name, **self._device)
        if self.exists and self._encoder.fingerprint != self.store.header.fingerprint:
            stored = self.store.header.encoder
            raise EncoderMismatch(
                f"{self.path} was made with {stored} ({self.store.header.fingerprint[:12]}), not "
                f"{self._encoder.name} ({self._encoder.fingerprint[:12]}); open it with --encoder {stored}, index "
                "again with --rebuild, or give another --collection"
            )
        return self._encoder

    def _name(self) -> str:
        """What the encoder was asked for by, or is known by to the collection."""
        if isinstance(self._given, str):
            return self._given
        return self.store.header.encoder if self.exists else DEFAULT_ENCODER

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
        if rebuild and self.exists:
            return self._rebuild(sources, progress)
        opened = [open_source(source) for source in sources or self._sources]
        if not self.exists:
            if not opened:
                raise CollectionError(f"{self.path}: nothing to index; name a folder")
            finding = self._settle_precision(opened)
            encoder = self.encoder
            self._open_store = store.create(self.path, Header(self._encoder_spec(), encoder.fingerprint, encoder.dim))
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

    def _rebuild(self, sources: Sequence[str | Path], progress: Progress | None) -> IndexReport:
        """Make the new one beside the old one, then let it take its place."""
        registered = [source.location for source, _, _ in self._registered()]
        places = [*sources] or [*registered] or [*self._sources]
        encoder = self._given or self.store.header.encoder
        fresh, old = _beside(self.path, "new"), _beside(self.path, "old")
        if not _continues(fresh, encoder):
            shutil.rmtree(fresh, ignore_errors=True)
        with Collection(fresh, encoder, device=self._device.get("device")) as made, self.store.writing():
            report = made.index([Path(place).absolute() for place in places], progress)
            made.store.relocate(self.path)
        self.close()
        shutil.rmtree(old, ignore_errors=True)
        self.path.rename(old)
        fresh.rename(self.path)
        shutil.rmtree(old, ignore_errors=True)
        self._encoder = None if isinstance(self._given, str) or self._given is None else self._given
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

    def search(
        self,
        query: Query | Sequence[Query],
        k: int = 10,
        box: Box | None = None,
        min_score: float | None = None,
        exclude_self: bool = False,
        rerank: Sequence[Reranker] = (),
    ) -> list[Hit]:
        """The `k` images that look most like `query`, best first; fewer where there are fewer.

        `query` is a path, a key of the collection, an open image, image bytes, a URL, a vector, or several of these,
        whose mean is searched for. `box` is a region of it in pixels of the upright image. The query itself comes
        first with score 1 where the collection has it, or not at all with `exclude_self`. Raises QueryError.
        """
        resolved = self.resolve(query, box)
        return self.hits(self.rank(resolved, k, bool(box), exclude_self, rerank), min_score)

    def resolve(self, query: Query | Sequence[Query], box: Box | None = None) -> Resolved:
        """The query as vectors, and which rows of the collection are the query itself."""
        if self._given is not None:
            # Where an encoder was named it is held against the collection, even if a stored vector will do.
            self.encoder  # noqa: B018
        return resolve(query, box, lambda: self.encoder, self.gallery)

    def rank(
        self, resolved: Resolved, k: int, is_region: bool, exclude_self: bool, rerank: Sequence[Reranker] = ()
    ) -> Ranking:
        """The search path: candidates, exact cosines, re-ranking, and the query itself put where it belongs."""
        given, wanted = resolved.probe.vectors.shape[1], self.store.header.dim
        if given != wanted:
            raise QueryError(f"the query vector has {given} numbers, the collection's have {wanted}")
        own = np.array(resolved.own_rows, np.int64)
        ranking = search.rank(resolved.probe, self.gallery, k + len(own), rerank)
        if not len(own) or (is_region and not exclude_self):
            return ranking.head(k)
        others = ~np.isin(ranking.ids, own)
        ids, scores = ranking.ids[others], ranking.scores[others]
        if not exclude_self:
            ids, scores = np.concatenate([own, ids]), np.concatenate([np.ones(len(own), np.float32), scores])
        return Ranking(ids, scores).head(k)

    def hits(self, ranking: Ranking, min_score: float | None = None, offset: int = 0) -> list[Hit]:
        """Rows and scores as keys and paths; ranks count from `offset` + 1."""
        found: list[Hit] = []
        for row, score in zip(ranking.ids.tolist(), ranking.scores.tolist(), strict=True):
            if min_score is None or score >= min_score:
                item = self.gallery.item(row)
                found.append(Hit(offset + len(found) + 1, item.key, self.gallery.origins.path(item), float(score)))
        return found

    def distances(self, probe: Probe, ids: Ids) -> Scores:
        """Squared Euclidean distances between the probe's first vector and these rows, as IndexFlatL2 gives them."""
        scores, found = self.gallery.search_by(probe.vectors[:1], len(self), "l2")
        by_row = dict(zip(found[0].tolist(), scores[0].tolist(), strict=True))
        return np.array([by_row[row] for row in ids.tolist()], np.float32)

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
        return len(items)

    def verify(self, repair: bool = False) -> Damage:
        """What does not match its checksum; with `repair` those rows are taken out, for the next run to embed again."""
        damage = self.store.damage()
        if repair and damage.rows:
            with self.store.writing() as opened:
                opened.remove([row for row, _ in damage.rows], "damaged")
            self._open_gallery = None
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
            "sources": [str(origins.locate(location)) for _, location, _ in self.store.sources()],
            "format": header.format,
            **({"precision": found} if (found := precisions.facts(self.path)) else {}),
        }


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(f"{path.name}.{suffix}")


def _recover(path: Path) -> None:
    """Finish the exchange that a rebuild was interrupted in: the name is free between two renames."""
    old = _beside(path, "old")
    if not path.exists() and store.is_collection(old):
        old.rename(path)


def _continues(fresh: Path, encoder: str | Encoder) -> bool:
    """Whether an interrupted rebuild with this encoder can go on."""
    if not store.is_collection(fresh):
        return False
    name, stored = encoder if isinstance(encoder, str) else encoder.name, store.read_header(fresh).encoder
    return precisions.settled(name, stored) == stored
