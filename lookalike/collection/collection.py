"""The public face of a collection on disk: search it, write to it, and read what it contains."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from PIL.Image import Image

from lookalike.collection.photos import photo, sampled
from lookalike.collection.reader import FOLDER, Reader, Requested
from lookalike.errors import CollectionError, EncoderMismatch, QueryError
from lookalike.index.exact import refuse_other_length
from lookalike.integrations import addresses as engines
from lookalike.search import hybrid
from lookalike.search.combine import Combine
from lookalike.search.evidence import assess
from lookalike.search.gallery import StoredGallery
from lookalike.search.hits import Ranked, intact, unless_replaced
from lookalike.search.options import Fuse, SearchOptions, Sort, key_of
from lookalike.search.query import (
    Example,
    Query,
    Region,
    Resolved,
    box_of,
    examples,
    query_picture,
    resolve,
    weights_of,
)
from lookalike.search.results import Results
from lookalike.storage import distinct, marks, store
from lookalike.storage.manifest import remains
from lookalike.storage.store import Store
from lookalike.storage.swap import MOVES
from lookalike.types import Box, Encoder, Photo, Probe, Progress, Reranker, Scores, TextEncoder
from lookalike.utils.arguments import number, optional, several
from lookalike.utils.arguments import path as path_argument
from lookalike.utils.arguments import text as text_argument
from lookalike.utils.text import command, counted

if TYPE_CHECKING:
    from lookalike.analysis.adapt import Adaptation
    from lookalike.analysis.duplicates import Groups, Level
    from lookalike.analysis.explain import Explanation
    from lookalike.analysis.journal import Journal
    from lookalike.analysis.zero_shot import Label
    from lookalike.collection.places import IndexedSource
    from lookalike.collection.read_facts import FactsReport
    from lookalike.collection.regions import RegionCost, RegionReport
    from lookalike.collection.sync import IndexReport
    from lookalike.collection.writer import Writer
    from lookalike.encoders.whitening import Whitening
    from lookalike.search.regions import Regions
    from lookalike.storage.maintenance.build_index import IndexBuild
    from lookalike.storage.maintenance.compact import Compaction
    from lookalike.storage.maintenance.transfer import Format
    from lookalike.storage.maintenance.verify import Damage


def open(
    path: str | Path,
    *,
    encoder: str | Encoder | None = None,
    collection: str | Path | None = None,
    device: str | None = None,
    engine: str | None = None,
) -> "Collection":
    """Open the collection of a photo folder (or archive, or list), or the one in the folder `path`.

    Nothing is written before `index`.

    Parameters
    ----------
    path
        A folder of photos, or a collection.
    encoder
        A name, a path or an `Encoder`; needed only for a new collection. For an existing collection it must be the one
        that made its vectors.
    collection
        The folder of the collection, if it is not ``path/.lookalike``.
    device
        Where the encoder computes: cuda, mps, cpu. By default a GPU where PyTorch finds one, else ONNX Runtime.
    engine
        The URI of a search server for the vectors of a new collection; see `integrations`.

    Returns
    -------
    Collection
        Close it after use, or use it in a ``with`` statement.

    Raises
    ------
    CollectionError
        Where there is neither a collection nor anything to index.

    Examples
    --------
    >>> with lookalike.open("holiday", encoder="thumbnail") as photos:
    ...     photos.index().added
    3
    """
    path = Path(path).expanduser()
    if collection is not None:
        return Collection(Path(collection).expanduser(), encoder, [path], device, engine)
    if store.is_collection(path) or path.name == FOLDER or remains(path):
        return Collection(path, encoder, device=device, engine=engine)
    if path.is_dir():
        return Collection(path / FOLDER, encoder, [path], device, engine)
    if path.exists():
        way = f"`{command('index', path, '--collection', 'DIR')}` makes one of an archive or a list"
        raise CollectionError(f"{path} is no folder and no collection; {way}")
    raise CollectionError(f"{path}: no such folder or collection")


class Collection:
    """A collection of images to search: a `Reader` of what is on disk, and a `Writer` to it."""

    def __init__(
        self,
        path: str | Path,
        encoder: str | Encoder | None = None,
        sources: Sequence[Path] = (),
        device: str | None = None,
        engine: str | None = None,
    ) -> None:
        """The collection in the folder `path`, made by the first `index`, which then indexes `sources`."""
        requested = Requested(encoder, tuple(sources), device, engines.stored(engine) if engine else None)
        self._reader = Reader(Path(path), requested)

    @classmethod
    def _of(cls, reader: Reader) -> Self:
        collection = cls.__new__(cls)
        collection._reader = reader
        return collection

    @cached_property
    def _writer(self) -> "Writer":
        # Loaded by those who write: a search in a new process takes as long to load as to do.
        from lookalike.collection.writer import Writer

        return Writer(self._reader)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._reader)

    def __iter__(self) -> Iterator[str]:
        """The keys of all images."""
        return iter(self.keys())

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self.row(key) is not None

    def __getitem__(self, key: str) -> Photo:
        """The image of a key; raises UnknownKey, which is a KeyError and a QueryError.

        Examples
        --------
        >>> photos = lookalike.open("photos")
        >>> photos["door.jpg"].image.size, "door.jpg" in photos, "window.jpg" in photos
        ((64, 48), True, False)
        """
        return photo(self.gallery, key, str(self.path))

    def __repr__(self) -> str:
        return f"Collection({str(self.folder)!r}, {self._summary()})"

    def _summary(self) -> str:
        if not self.exists:
            return "not indexed yet"
        try:
            return f"{counted(len(self), 'image')}, {self.store.header.encoder}"
        except CollectionError as error:
            return str(error)

    def _repr_html_(self) -> str:
        """A few images from all over it."""
        from lookalike.images.html import fragment

        lead = f"{self.folder}: {self._summary()}"
        return sampled(self.gallery, lead) if self.exists else fragment(lead)

    def close(self) -> None:
        """Close the files; the next use opens them again."""
        self._reader.close()

    # Searching

    def search(  # noqa: PLR0913 - the keywords make two objects, and no other function takes so many
        self,
        query: Example | Sequence[Example] | None = None,
        k: int = 10,
        *,
        box: Region | None = None,
        text: str | None = None,
        negatives: Example | Sequence[Example] | None = None,
        negative_text: str | None = None,
        weights: float | Sequence[float] | None = None,
        combine: Combine = "mean",
        invariant: str | Sequence[str] = (),
        offset: int = 0,
        min_score: float | None = None,
        exclude_self: bool = False,
        where: str | None = None,
        exclude: str | Sequence[str] = (),
        rerank: str | Reranker | Sequence[str | Reranker] = (),
        recall: float | None = None,
        fuse: Fuse = "rank",
        found: bool = False,
        verify: bool = False,
        sort: Sort = "score",
        regions: bool | None = None,
    ) -> Results:
        """The `k` images that look most like `query`, best first; fewer where there are fewer.

        Parameters
        ----------
        query
            A path, a key of the collection, an open image, image bytes, a URL, a vector (dim,), the pixels of a picture
            (height, width, 3) as uint8 in RGB (of OpenCV's BGR give ``array[..., ::-1]``), or several of these.
        box, text, negatives, negative_text, weights, combine, invariant
            Further parts of the query; see `Query`.
        k, offset, min_score, exclude_self, where, exclude, rerank, recall, fuse, found, verify, sort, regions
            Options of the search; see `SearchOptions`.

        Returns
        -------
        Results
            A list of `Hit`, best first, or as `sort` says; a notebook shows it as pictures. An image of the collection
            that is the query itself comes first with score 1, or is left out with `exclude_self`. `found` says whether
            the collection has the same thing, not only something alike; None where no confidence was measured.

        Raises
        ------
        QueryError
            Where a query cannot be made into a vector, or an option has a wrong value.

        Examples
        --------
        >>> photos = lookalike.open("photos")
        >>> [hit.key for hit in photos.search("photos/door.jpg", k=3, where="key:*.jpg", min_score=0.9)]
        ['door.jpg']
        """
        question = Query(
            examples=examples(query),
            text=text,
            negatives=examples(negatives),
            negative_text=negative_text,
            box=box_of(box),
            weights=weights_of(weights),
            combine=combine,
            invariant=several("invariant", invariant),
        )
        options = SearchOptions(
            k=k,
            offset=offset,
            min_score=min_score,
            exclude_self=exclude_self,
            where=where,
            exclude=frozenset(several("exclude", exclude, key_of)),
            rerank=several("rerank", rerank),
            recall=recall,
            fuse=fuse,
            found=found,
            verify=verify,
            sort=sort,
            regions=regions,
        )
        return self.find(question, options)

    def find(self, query: Query, options: SearchOptions) -> Results:
        """As `search`, with the query and the options as objects."""

        def ranked() -> Ranked:
            answer = self.rank(query, options)
            return Ranked(answer.ranking, answer.space.gallery, assess(answer, options), answer.parts)

        return unless_replaced(lambda: intact(ranked, options), lambda: self.store)

    @property
    def damaged(self) -> list[str]:
        """The keys that searches left out because their vectors or entries do not match their checksums.

        A part of an image that was left out is named as ``KEY#xywh=left,top,width,height``.
        """
        return self._reader.damaged()

    def rank(self, query: Query, options: SearchOptions) -> hybrid.Answer:
        """As `find`, but rows and scores: for evaluation, which needs few of the keys."""
        return hybrid.answer(query, options, self._reader.space(options), lambda: self._reader.text_set.space(options))

    def resolve(self, query: Query) -> Resolved:
        """A query as vectors, with the rows of the collection that are the query itself; raises QueryError."""
        space = self._reader.space(SearchOptions())
        return resolve(query, space.encoder, space.gallery)

    def explain(self, query: Example, key: str, box: Region | None = None) -> "Explanation":
        """The matching parts of a query picture (or a region of it) and an image of the collection.

        Raises QueryError for a key that the collection does not have and for a query that is no picture.
        """
        from lookalike.analysis.explain import CONVINCING
        from lookalike.analysis.explain import explain as matched
        from lookalike.search.rerank.patches import PatchEncoder

        gallery = self.gallery
        row = _row_of(key, gallery)
        picture, image = self.picture(query, box), gallery.image(row)
        explanation = matched(picture, image)
        if explanation.inliers < CONVINCING and isinstance(self.encoder, PatchEncoder):
            explanation = matched(picture, image, self.encoder)
        # Read again where they are drawn: two pictures at full size are not kept with each explanation.
        pictures = lambda: (self.picture(query, box), self[key].image)  # noqa: E731
        return replace(explanation, pictures=pictures, part=self._part(query, row, box))

    def _part(self, query: Example, row: int, box: Region | None) -> Box | None:
        """The region of an image that is nearer to a query than the whole image; None where there are no regions."""
        space = self._reader.space(SearchOptions())
        if not self.has_regions:
            return None
        resolved = resolve(Query(examples(query), box=box_of(box)), space.encoder, space.gallery)
        part = space.gallery.best_parts(resolved.probe.vectors, np.array([row])).get(row)
        return part.box if part else None

    def picture(self, query: Example, box: Region | None = None) -> Image:
        """The upright picture of a query at full size, cut to its box; raises QueryError."""
        return query_picture(query, box, self.gallery)

    def distances(self, probe: Probe, keys: Sequence[str]) -> Scores:
        """Squared Euclidean distances (n,) of n images to the probe's first vector, as IndexFlatL2 gives them.

        Raises QueryError for a key that the collection does not have.
        """
        gallery = self.gallery
        refuse_other_length(probe.vectors, gallery.dim)
        rows = [_row_of(key, gallery) for key in several("keys", keys, text_argument)]
        differences = gallery.vectors(np.array(rows, np.int64)) - probe.vectors[0]
        return np.asarray(np.einsum("ij,ij->i", differences, differences), np.float32)

    def duplicates(
        self,
        level: "Level" = "exact",
        threshold: float | None = None,
        other: "Collection | None" = None,
        progress: Progress | None = None,
        keep: str = "best",
        by_content: bool = False,
    ) -> "Groups":
        """Groups of copies, or the images of `other` that have copies here, as their files are now.

        Parameters
        ----------
        level
            exact: the same bytes; same: the same pixels; near: re-encoded or resized; similar: also cropped, framed,
            turned, mirrored or written on, to be looked at. They work with any encoder.
        threshold
            The lowest cosine of candidates, which are then compared by their pixels. With level exact, the lowest
            cosine of two copies, by the vectors of this collection alone.
        other
            A second collection, whose copies of images here are found; all images here are kept.
        progress
            Called now and then with (done, total).
        keep
            Which copy is kept: best, oldest, newest, largest, or a pattern of its path.
        by_content
            Read the bytes of all files in groups again, for a list by which files are removed.

        Returns
        -------
        list of Group
            Largest first. Each extra is a copy of the image that is kept; `Group.reason` says why that one is kept. Its
            `unseen` counts images that could not be looked at, such as those on a drive that is away.

        Raises
        ------
        QueryError, EncoderMismatch
            Where there are only imported vectors and no pictures; where vectors of `other` are of another encoder, and
            only they are compared.

        Examples
        --------
        >>> photos = lookalike.open("photos")
        >>> photos.duplicates("near")
        []
        """
        from lookalike.analysis.group_copies import Rules, copies

        threshold = optional(number, "threshold", threshold)
        mine, theirs = self.store.header, (other or self).store.header
        if threshold is not None and level == "exact" and mine.fingerprint != theirs.fingerprint:
            raise EncoderMismatch(f"{self.path} was made with {mine.encoder}, the other with {theirs.encoder}")
        apart = distinct.pairs(self.store) | (distinct.pairs(other.store) if other else frozenset())
        rules = Rules(level, threshold, keep, apart, by_content)
        return copies([self.gallery, other.gallery] if other else [self.gallery], rules, progress)

    def not_duplicates(self, a: str | Path, b: str | Path, forget: bool = False) -> None:
        """Remember, by their content, that two images (keys or paths) are no duplicates; with `forget`, not any more.

        Raises QueryError for a key that the collection does not have.
        """
        self._writer.not_duplicates([distinct.pair(self._content(a), self._content(b))], forget)

    def not_duplicates_of(self, pairs: Sequence[distinct.Pair], forget: bool = False) -> None:
        """As `not_duplicates`, for many pairs of contents (SHA-256) at once."""
        self._writer.not_duplicates(pairs, forget)

    def mark(self, a: str | Path, b: str | Path, same: bool | None) -> None:
        """Remember, by their content, whether two images (keys or paths) show the same thing; None forgets it.

        `adapt(marks=True)` learns from these marks. Raises QueryError for a key that the collection does not have, and
        for two names of one content.

        Examples
        --------
        >>> photos = lookalike.open("photos")
        >>> photos.mark("door.jpg", "beach.jpg", same=False)
        >>> [mark.same for mark in photos.marks()]
        [False]
        >>> photos.mark("door.jpg", "beach.jpg", same=None)
        """
        contents = distinct.pair(self._content(a), self._content(b))
        if contents[0] == contents[1]:
            raise QueryError(f"{a} and {b} are the same file; mark images that differ")
        self.mark_contents(contents, same)

    def mark_contents(self, contents: tuple[str, str], same: bool | None) -> None:
        """As `mark`, for two contents (SHA-256), whose images may be gone; see `marks`."""
        self._writer.mark(distinct.pair(*contents), same)

    def marks(self) -> list[marks.Mark]:
        """What was marked as the same thing or not, by content, the newest first."""
        return marks.marks(self.store)

    def _content(self, name: str | Path) -> str:
        row = self.gallery.row(str(path_argument("the name of an image", name)))
        rows = [row] if row is not None else self.gallery.rows_of_file(Path(name))
        sha256 = self.gallery.content(rows[0]) if rows else ""
        if not sha256:
            raise QueryError(f"{name}: no image of {self.path} of that key or path, or one whose bytes were never read")
        return sha256

    @property
    def moves(self) -> "Journal":
        """The journal of duplicates that were moved away from here."""
        from lookalike.analysis.journal import Journal

        return Journal(self.path / MOVES)

    def label(
        self,
        labels: str | Sequence[str],
        k: int = 1,
        templates: str | Sequence[str] | None = None,
        min_score: float = -1.0,
    ) -> "tuple[Iterator[str], Iterator[list[Label]]]":
        """The keys of all images and, in step with them, the best `k` labels of each; see `zero_shot.label`."""
        from lookalike.analysis.zero_shot import BLOCK, TEMPLATE
        from lookalike.analysis.zero_shot import label as labelled

        reader = self._reader.text_set
        gallery, encoder = reader.gallery, reader.encoder
        assert isinstance(encoder, TextEncoder), "the encoder of text_set reads text"
        rows = np.array([item.row for item in gallery.live_items()], np.int64)
        blocks = (gallery.vectors(rows[at : at + BLOCK]) for at in range(0, len(rows), BLOCK))
        keys = (item.key for item in gallery.live_items())
        sentences = (TEMPLATE,) if templates is None else several("templates", templates, text_argument)
        return keys, labelled(blocks, several("labels", labels, text_argument), encoder, k, sentences, min_score)

    def map(
        self, out: str | Path, groups: int | None = None, most: int | None = None, progress: Progress | None = None
    ) -> int:
        """Write a page to `out` that shows all images, similar ones together; how many it shows. See `map.make`."""
        from lookalike.analysis.map import MOST, make

        most = MOST if most is None else most
        return make(self.gallery, out, groups, self.folder.resolve().name, None, most, progress)

    # Reading

    @property
    def path(self) -> Path:
        """The folder of the collection."""
        return self._reader.path

    @property
    def folder(self) -> Path:
        """Its name on the command line: its folder of photos where it lies in one, else its own folder."""
        return self._reader.folder

    @property
    def exists(self) -> bool:
        """Whether anything was indexed yet."""
        return self._reader.exists

    @property
    def store(self) -> Store:
        """The files behind it; raises CollectionError where nothing was indexed yet."""
        return self._reader.store

    @property
    def gallery(self) -> StoredGallery:
        """What is searched: the state that was committed last, by this process or another."""
        return self._reader.gallery

    @property
    def encoder(self) -> Encoder:
        """The encoder, loaded when first needed; raises EncoderMismatch where the vectors are of another encoder."""
        return self._reader.encoder

    @property
    def sets(self) -> dict[str, "Collection"]:
        """Encoder names to vector sets: this collection itself first, then those that were added to it."""
        return {
            name: self if reader is self._reader else Collection._of(reader)
            for name, reader in self._reader.sets.items()
        }

    def regions_of(self, gallery: StoredGallery, wanted: bool | None = None) -> "Regions | None":
        """The regions of a state of it, for `StoredGallery.view`; see `SearchOptions.regions`."""
        return self._reader.regions_of(gallery, wanted)

    @property
    def has_regions(self) -> bool:
        """Whether its images can count with their best parts; see `add_regions`."""
        return self._reader.has_own_regions

    @property
    def reads_text(self) -> bool:
        """Whether it can be searched by text."""
        return any(reader.reads_text for reader in self._reader.sets.values())

    @property
    def text_set(self) -> "Collection":
        """The vector set that words are searched in: this one, or the first that reads text. Raises QueryError."""
        reader = self._reader.text_set
        return self if reader is self._reader else Collection._of(reader)

    def chosen(self, encoder: str | None) -> "Collection":
        """The vector set of an encoder; this one where none is named. Raises EncoderMismatch where it has none."""
        reader = self._reader.chosen(encoder)
        return self if reader is self._reader else Collection._of(reader)

    def through(self, encoder: Encoder) -> "Collection":
        """The same collection opened again, with `encoder` in place of its own: for a wrapper of that."""
        return Collection._of(self._reader.through(encoder))

    def keys(self) -> list[str]:
        """The keys of all images, in the order of their rows."""
        return self._reader.keys()

    def key(self, row: int) -> str:
        """The key of a row."""
        return self._reader.key(row)

    def row(self, key: str) -> int | None:
        """The row of a key."""
        return self._reader.row(key)

    def facts(self, key: str) -> dict[str, Any]:
        """What the file of a key says of itself, as far as that is known.

        Parameters
        ----------
        key
            As hits have it.

        Returns
        -------
        dict
            ``taken`` (ISO 8601), ``camera``, ``lens``, ``focal_length`` (mm), ``iso``, ``exposure`` (seconds),
            ``latitude``, ``longitude`` (degrees), ``width``, ``height``, ``format``, ``bytes``, ``folder``,
            ``orientation``, ``has_alpha``, ``software``, ``rating``, ``label``, ``keywords``: those that are known.

        Raises
        ------
        QueryError
            Where there is no such key.

        Examples
        --------
        >>> facts = lookalike.open("photos").facts("beach.jpg")
        >>> facts["format"], facts["folder"]
        ('JPEG', '')
        """
        from lookalike.storage import photo_facts

        return photo_facts.of_item(self.store.catalog, self.gallery.item(_row_of(key, self.gallery)))

    def skipped(self) -> list[tuple[str, str]]:
        """(key, reason) of every file that the last run could not use."""
        return self._reader.skipped()

    def sources(self) -> "list[IndexedSource]":
        """Where the images come from, whether that can be reached now, and how many images each has."""
        from lookalike.collection.places import listed

        return listed(self.store)

    def info(self) -> dict[str, Any]:
        """Facts about the collection, ready for JSON."""
        return self._reader.info()

    # Writing

    def index(
        self,
        sources: str | Path | Sequence[str | Path] = (),
        progress: Progress | bool | None = None,
        rebuild: bool = False,
        precision: str | None = None,
        dtype: str | None = None,
        meta: str | Path | Sequence[str | Path] = (),
        ignore: str | Sequence[str] | None = None,
        allow_removals: bool = False,
    ) -> "IndexReport":
        """Bring the collection into step with `sources`, or with those that it was made from.

        New and changed images are embedded, renamed and duplicate ones are recognised by their content, missing ones
        are removed. Nothing is removed where a source yields nothing, or has lost more than half of 20 images or more:
        its disk may be away. The report counts these images as `withheld`; a rebuild is refused instead. May be
        interrupted at any moment and run again.

        Parameters
        ----------
        sources
            Folders, tars, zips or text lists.
        progress
            Called now and then with (done, total). By default a bar in a terminal or a notebook; False shows none.
        rebuild
            Embed everything again; the old collection can be searched until the new one is complete.
        precision
            fp32, int8, or auto: a new collection tries both on 64 of its images, and `info()` reports the result.
        dtype
            How a new collection stores its vectors: float32, float16 or int8.
        meta
            CSV or Parquet files with columns about the images, which `where` can then test.
        ignore
            Patterns of files to pass over, in the syntax of .gitignore, beside those of the ``.lookalikeignore`` files
            in the folders. They are remembered with each source; None keeps what the last run had, ``[]`` forgets it.
        allow_removals
            Remove missing images even where a source yields nothing or has lost most of what it had.

        Returns
        -------
        IndexReport
            How many images were added, changed, renamed, removed, left unchanged, skipped (`skipped()` says why) and
            withheld from removal.

        Raises
        ------
        CollectionError, SourceError, EncoderError
            Where there is nothing to index, another process is writing, or a source or the encoder cannot be used.

        Examples
        --------
        >>> photos = lookalike.open("photos")
        >>> photos.index(meta=["labels.csv"]).unchanged
        4
        >>> photos.search("door.jpg", k=1, where="label = beach")[0].key
        'beach.jpg'
        """
        from lookalike.utils.progress import chosen

        places, tables = several("sources", sources, path_argument), several("meta", meta, path_argument)
        patterns = None if ignore is None else several("ignore", ignore, text_argument)
        with chosen(progress, "images") as callback:
            return self._writer.index(places, callback, rebuild, precision, dtype, tables, patterns, allow_removals)

    def read_facts(self, again: bool = False, progress: Progress | None = None) -> "FactsReport":
        """Read what images say of themselves where that is not known; nothing is embedded.

        `index` reads it of every image that it embeds, so this is for collections of earlier releases.

        Parameters
        ----------
        again
            Read all images, also those that were read before.
        progress
            Called now and then with (done, total).

        Returns
        -------
        FactsReport
            How many files were read, how many could not be (they are gone, or have changed), and how many sidecars
            were new, changed or gone.

        Examples
        --------
        >>> lookalike.open("photos").read_facts(again=True)
        FactsReport(read=4, unreadable=0, sidecars=0)
        """
        return self._writer.read_facts(again, progress)

    def refresh(
        self, paths: str | Path | Sequence[str | Path], progress: Progress | None = None, allow_removals: bool = False
    ) -> "IndexReport":
        """Bring only these files or folders into step, which lie in indexed folders; see `sync.Part`."""
        return self._writer.refresh(several("paths", paths, path_argument), progress, allow_removals)

    def add_set(
        self, encoder: str | Encoder, progress: Progress | None = None, allow_removals: bool = False
    ) -> "IndexReport":
        """Add vectors of another encoder for the same images, beside the first vectors, which do not change.

        A set that exists is brought into step. `sets` contains it afterwards.
        """
        return self._writer.add_set(encoder, progress, allow_removals)

    def add_regions(self, spec: str | None = None, progress: Progress | None = None) -> "RegionReport":
        """Add vectors of parts of each image, so that a search finds a thing inside a picture and says where it is.

        The first vectors do not change. Regions that exist are brought into step, as `index` and `refresh` do from then
        on. May be interrupted at any moment.

        Parameters
        ----------
        spec
            Which parts are taken; see `encoders.regions`. None is the spec of the regions that exist, else the default.
            Another spec replaces them.
        progress
            Called now and then with (done, total).

        Returns
        -------
        RegionReport
            How many images got regions in this run, how many regions these are, and which could not be read.

        Raises
        ------
        EncoderError
            For an unknown spec, or one that the encoder cannot be used with.

        Examples
        --------
        >>> photos = lookalike.open("photos")
        >>> photos.add_regions("grid").images
        4
        >>> photos.search("door.jpg", k=1)[0].box is None
        True
        """
        return self._writer.add_regions(spec, progress)

    def region_cost(self, spec: str | None = None) -> "RegionCost":
        """What `add_regions` would cost at most: images that have no regions yet, and for these bytes and seconds."""
        return self._writer.region_cost(spec)

    def drop_regions(self) -> bool:
        """Delete the regions, and nothing else; whether there were any."""
        return self._writer.drop_regions()

    def attach(self, table: str | Path) -> tuple[int, int]:
        """Store the columns of a CSV or Parquet file with the images it names: (lines, of these used). SourceError."""
        return self._writer.attach(table)

    def remove(self, keys: str | Sequence[str]) -> int:
        """Take images out of the collection, but leave their files; how many were removed.

        They stay out, also where they are moved, copied anew or embedded again, until their content changes or
        `restore` names them. Raises QueryError, and removes nothing, where a key is not in the collection.
        """
        return self._writer.remove(several("keys", keys, text_argument))

    def restore(self, keys: str | Sequence[str]) -> int:
        """Undo `remove`: the next `index` takes these images in again; how many.

        Raises QueryError, and changes nothing, where a key was not taken out by hand.
        """
        return self._writer.restore(several("keys", keys, text_argument))

    def move_source(self, old: str | Path, new: str | Path, force: bool = False) -> None:
        """Let a source lie elsewhere from now on (another drive letter or mount point), without embedding anything.

        Images keep their keys. Raises CollectionError where `new` does not hold the same images as the source: a sample
        of them is compared, unless `force` is given. Further vector sets follow.

        Examples
        --------
        >>> import shutil
        >>> with lookalike.open("photos", collection="kept", encoder="thumbnail") as kept:
        ...     kept.index().added
        ...     moved = shutil.copytree("photos", "moved")
        ...     kept.move_source("photos", "moved")
        ...     kept.index(["moved"]).added
        ...     [source.state for source in kept.sources()]
        4
        0
        ['reachable']
        """
        self._writer.move_source(old, new, force)

    def forget_source(self, source: str | Path) -> int:
        """Drop a source with its images; how many. Columns come back with the images if they are indexed again."""
        return self._writer.forget_source(path_argument("source", source))

    def verify(self, repair: bool = False) -> "Damage":
        """What does not match its checksum; with `repair` these rows are removed, and the next run embeds them."""
        return self._writer.verify(repair)

    def optimize(self, spec: str = "auto", progress: Progress | None = None) -> "IndexBuild":
        """Build an index for fast search among many images; see `build_index.optimize`."""
        return self._writer.optimize(spec, progress)

    def compact(
        self, dtype: str | None = None, progress: Progress | None = None, engine: str | None = None
    ) -> "Compaction":
        """Drop the rows of removed images; see `compact.compact`.

        Vectors in an engine are copied to a new collection there, named by `engine` (a URI) or by the old name and a
        number. So a copy of a folder gets vectors of its own. Nothing is embedded again.
        """
        return self._writer.compact(dtype, progress, engine)

    def export(self, out: str | Path, kind: "Format", progress: Progress | None = None) -> list[Path]:
        """Write vectors and keys to files of another format; see `transfer.export`."""
        return self._writer.export(out, kind, progress)

    def whiten(
        self, dim: int | None = None, power: float = 1.0, shrinkage: float = 0.0, source: str | Path | None = None
    ) -> "Whitening":
        """Whiten all vectors, by a whitening fitted to this collection or to another; see `whitening.fit`.

        Queries and new images are whitened likewise from then on. Raises CollectionError where the collection is
        whitened already.
        """
        return self._writer.whiten(dim, power, shrinkage, source)

    def adapt(
        self,
        labels: str | Path | None = None,
        folders: bool = False,
        pairs: str | Path | None = None,
        source: str | Path | None = None,
        dry_run: bool = False,
        progress: Progress | None = None,
        marks: bool = False,
    ) -> "Adaptation":
        """Learn from labelled images which directions of the vectors matter here, and map all vectors accordingly.

        Nothing is embedded again. The gain is measured by cross-validation on groups that the map was not learned on,
        and nothing changes unless it is above zero by its 95 % interval. Queries and new images are mapped likewise
        from then on. `undo_adapt` takes it back. May be interrupted at any moment.

        Parameters
        ----------
        labels
            A CSV or Parquet file: a column names images (as for `attach`), the column ``label`` says what they show.
        folders
            Take images of one folder for the same thing.
        pairs
            A CSV or Parquet file with the columns ``a``, ``b`` (images) and ``same`` (1 or 0).
        source
            Another collection of the same encoder, whose map is taken as it is.
        dry_run
            Only measure.
        progress
            Called now and then with (done, total) while an index is built again, where there was one.
        marks
            Take what was marked as the same thing, here or on the page; see `mark`.

        Returns
        -------
        Adaptation
            `applied`, and `gain`: mAP and the share of right first results before and after, with intervals.
            `refitted`: whether the collection has a `confidence` of its own now, which has its figures and, as
            `shortfall`, what is missing.

        Raises
        ------
        QueryError, SourceError, CollectionError
            For fewer than five groups of two images, a table that cannot be read, a collection that is adapted already.

        Examples
        --------
        >>> photos = lookalike.open("photos")
        >>> try:
        ...     photos.adapt(labels="labels.csv")
        ... except lookalike.LookalikeError as error:
        ...     print(str(error).partition(",")[0])
        adapt: 0 groups of two or more labelled images
        """
        return self._writer.adapt(labels, folders, pairs, source, dry_run, progress, marks)

    def undo_adapt(self, progress: Progress | None = None) -> int:
        """Take `adapt` back: vectors and fingerprint are what they were, and an index is of the same kind.

        Returns how many images were added since, and so have no former vector; the next `index` embeds them. Raises
        CollectionError where the collection is not adapted.
        """
        return self._writer.undo_adapt(progress)


def _row_of(key: str, gallery: StoredGallery) -> int:
    row = gallery.row(text_argument("key", key))
    if row is None:
        raise QueryError(f"{key}: no such key in {gallery.store.path}")
    return row
