"""A collection of images on disk that can be asked which of them look alike."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL.Image import Image

from lookalike.analysis.duplicates import Group, Level, find, threshold_for
from lookalike.analysis.explain import CONVINCING, Explanation
from lookalike.analysis.explain import explain as matched
from lookalike.analysis.map import MOST, make
from lookalike.analysis.zero_shot import BLOCK, TEMPLATE, Label
from lookalike.analysis.zero_shot import label as labelled
from lookalike.collection.reader import FOLDER
from lookalike.collection.writer import GrowingCollection
from lookalike.encoders import reads_text
from lookalike.errors import CollectionError, EncoderMismatch, QueryError
from lookalike.index.exact import refuse_other_length
from lookalike.search import hybrid as spaces
from lookalike.search.combine import How
from lookalike.search.gallery import StoredGallery
from lookalike.search.query import Asked, Query, Resolved, query_picture, resolve, several
from lookalike.search.rerank.patches import PatchEncoder
from lookalike.search.view import View, rerankers
from lookalike.storage import store
from lookalike.storage.manifest import remains
from lookalike.types import Box, Encoder, Hit, Probe, Progress, Ranking, Reranker, Scores, TextEncoder


def open(
    path: str | Path,
    *,
    encoder: str | Encoder | None = None,
    collection: str | Path | None = None,
    device: str | None = None,
    engine: str | None = None,
) -> "Collection":
    """The collection of a photo folder (or archive, or list), or the one that lies at `path`.

    Without `collection` it lies in `path/.lookalike`. Nothing is written before `index`. `encoder` (a name, a path or
    an Encoder) is needed only for a new collection; for one that exists it must be the one that it was made with.
    `device` is where it computes: cuda, mps, cpu; without one, a GPU where PyTorch finds one, else ONNX Runtime.
    `engine` is the URI of a search server that is to hold the vectors of a new collection (see `engines.address`).
    Raises CollectionError where there is neither a collection nor anything to index.
    """
    path = Path(path).expanduser()
    if collection is not None:
        return Collection(Path(collection).expanduser(), encoder, [path], device, engine)
    if store.is_collection(path) or path.name == FOLDER or remains(path):
        return Collection(path, encoder, device=device, engine=engine)
    if path.is_dir():
        return Collection(path / FOLDER, encoder, [path], device, engine)
    if path.exists():
        raise CollectionError(
            f"{path} is no folder and no collection; `lookalike index {path} --collection DIR` makes one of an archive "
            "or a list"
        )
    raise CollectionError(f"{path}: no such folder or collection")


class Collection(GrowingCollection):
    """What a user of the library holds: it grows, and can be searched, explained and looked at as a whole."""

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
        # The first part, in whose rows the answer is, is one that is wanted.
        space = self if asked.images else self.reader()
        ranking = space.placed(found.ranking, found.resolved, k + offset, exclude_self)
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

    def resolve(self, asked: Asked) -> Resolved:
        """What is asked as vectors, and which rows of the collection are the query itself."""
        if self._given is not None:
            # Where an encoder was named it is held against the collection, even if a stored vector will do.
            self.encoder  # noqa: B018
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
        gallery = self.gallery
        row = _row_of(key, gallery)
        asked, found = self.picture(query, box), gallery.image(row)
        explained = matched(asked, found)
        if explained.inliers < CONVINCING and isinstance(self.encoder, PatchEncoder):
            explained = matched(asked, found, self.encoder)
        return explained

    def picture(self, query: Query, box: Box | None = None) -> Image:
        """The upright picture of a query at full size, cut to its box; raises QueryError."""
        return query_picture(query, box, self.gallery)

    def hits(self, ranking: Ranking, min_score: float | None = None, offset: int = 0) -> list[Hit]:
        """Rows and scores as keys and paths; ranks count from `offset` + 1."""
        found: list[Hit] = []
        # Once: each time the gallery is asked for, the disk is asked whether it is still the newest.
        gallery = self.gallery
        with self.store.snapshot():
            for row, score in zip(ranking.ids.tolist(), ranking.scores.tolist(), strict=True):
                if min_score is None or score >= min_score:
                    item = gallery.found(row)
                    found.append(Hit(offset + len(found) + 1, item.key, gallery.origins.path(item), float(score)))
        return found

    def distances(self, probe: Probe, keys: Sequence[str]) -> Scores:
        """Squared Euclidean distances between the probe's first vector and these images, as IndexFlatL2 gives them.

        Raises QueryError for a key that is not there.
        """
        gallery = self.gallery
        refuse_other_length(probe.vectors, gallery.dim)
        apart = gallery.vectors(np.array([_row_of(key, gallery) for key in keys], np.int64)) - probe.vectors[0]
        return np.asarray(np.einsum("ij,ij->i", apart, apart), np.float32)

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


def _row_of(key: str, gallery: StoredGallery) -> int:
    row = gallery.row(key)
    if row is None:
        raise QueryError(f"{key}: no such key in {gallery.store.path}")
    return row


def _reads(collection: Collection) -> bool:
    """Whether its encoder reads text, as far as can be said without loading it."""
    given = collection._given
    if given is None or isinstance(given, str):
        return reads_text(collection.store.header.encoder)
    return isinstance(given, TextEncoder)
