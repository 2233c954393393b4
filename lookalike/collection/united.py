"""Several collections that are asked as one."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

from PIL.Image import Image

from lookalike.collection.collection import Collection
from lookalike.collection.collection import open as open_collection
from lookalike.collection.photos import photo, sampled
from lookalike.collection.shared_sets import in_common, sets_of_words
from lookalike.errors import CollectionError, EngineError, QueryError
from lookalike.images.remote import located
from lookalike.search import several
from lookalike.search.gallery import StoredGallery
from lookalike.search.hits import intact, unless_replaced
from lookalike.search.hybrid import Space
from lookalike.search.options import SearchOptions
from lookalike.search.query import Example, Query, Region, query_picture
from lookalike.search.results import Results
from lookalike.search.united import UnitedGallery
from lookalike.storage import distinct
from lookalike.types import Photo, Progress
from lookalike.utils.text import counted

if TYPE_CHECKING:
    from lookalike.analysis.duplicates import Groups, Level
    from lookalike.analysis.explain import Explanation

KEPT_STATES = 8
"""United galleries that are kept: of all, and of each encoder."""


def open_many(paths: Sequence[str | Path], *, encoder: str | None = None, device: str | None = None) -> "Collections":
    """Open several collections, to be asked as one.

    Parameters
    ----------
    paths
        Folders of photos, or collections. Each is named by its folder.
    encoder
        Ask their vectors of this encoder. By default those of an encoder that all have, the first ones of each where
        there is none.
    device
        Where the encoders compute; see `open`.

    Returns
    -------
    Collections
        Close it after use, or use it in a ``with`` statement. `away` says which could not be opened, and why.

    Raises
    ------
    CollectionError
        Where none of them can be opened.

    Examples
    --------
    >>> with lookalike.open_many(["photos", "holiday", "gone"]) as both:
    ...     [hit.key for hit in both.search("holiday/lake.jpg", k=1)], list(both.away)
    (['holiday/lake.jpg'], ['gone'])
    """
    opened, away = list[Collection](), dict[str, str]()
    for path in dict.fromkeys(Path(path).expanduser() for path in paths):
        try:
            collection = _chosen(open_collection(path, device=device), encoder)
        except (CollectionError, EngineError) as error:
            away[str(path)] = str(error)
        else:
            opened.append(collection)
    if not opened:
        raise CollectionError("; ".join(away.values()) or "name at least one collection")
    return Collections(named(opened), away)


def _chosen(collection: Collection, encoder: str | None) -> Collection:
    """The vector set of an encoder; raises CollectionError where there is none, or nothing can be searched."""
    chosen = collection
    if encoder is not None:
        sets = collection.sets
        if encoder not in sets:
            raise CollectionError(f"{collection.folder} has no vectors of {encoder}; it has {', '.join(sets)}")
        chosen = sets[encoder]
    chosen.gallery  # noqa: B018 - opened here, where it is still known which one cannot be
    return chosen


def named(collections: Iterable[Collection]) -> dict[str, Collection]:
    """Each by the name that its keys begin with, in their order."""
    by_name = dict[str, Collection]()
    for collection in collections:
        by_name[_free_name(collection, by_name)] = collection
    return by_name


def _free_name(collection: Collection, taken: Mapping[str, object]) -> str:
    base = collection.folder.resolve().name or "root"
    names = [base, *(f"{base}-{number}" for number in range(2, len(taken) + 2))]
    return next(name for name in names if name not in taken)


class Collections:
    """Collections that are asked as one: keys begin with the name of the collection, as in ``trips/beach.jpg``.

    Those of one encoder are searched as one collection with all their images would be. Of several encoders, each is
    searched by its own, and the answers are merged by scores that are calibrated for each; see `mixes_encoders`.
    """

    def __init__(self, collections: Mapping[str, Collection], away: Mapping[str, str]) -> None:
        """`away` are places that could not be opened, with the reason."""
        self._whole, self.away = dict(collections), dict(away)
        self.collections = in_common(collections)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self.gallery)

    def __iter__(self) -> Iterator[str]:
        """The keys of all images."""
        return iter(self.keys())

    def __contains__(self, key: object) -> bool:
        try:
            return isinstance(key, str) and self.gallery.row(key) is not None
        except QueryError:
            # Several have it.
            return True

    def __getitem__(self, key: str) -> Photo:
        """The image of a key; raises UnknownKey."""
        return photo(self.gallery, key, ", ".join(self.collections))

    def __repr__(self) -> str:
        parts = ", ".join(f"{name!r}: {counted(len(each), 'image')}" for name, each in self.collections.items())
        return f"Collections({parts})"

    def _repr_html_(self) -> str:
        return sampled(self.gallery, repr(self))

    def close(self) -> None:
        """Close the files."""
        for collection in self._whole.values():
            collection.close()

    @property
    def encoders(self) -> list[str]:
        """The names of the encoders, that of the first collection first."""
        return list(dict.fromkeys(each.store.header.encoder for each in self.collections.values()))

    @property
    def mixes_encoders(self) -> bool:
        """Whether the vectors are of several encoders."""
        return len({each.store.header.fingerprint for each in self.collections.values()}) > 1

    @property
    def reads_text(self) -> bool:
        """Whether all can be searched by text."""
        return all(each.reads_text for each in self._whole.values())

    @property
    def has_regions(self) -> bool:
        """Whether the images of all can count with their best parts."""
        return all(each.has_regions for each in self.collections.values())

    def spaces(self) -> list[Space]:
        """The vectors of each encoder, those of the first collection first."""
        return [Space(part.pictures, part.space.encoder) for part in self._parts(SearchOptions())]

    @property
    def gallery(self) -> UnitedGallery:
        """All their images; its rows are of one state of each."""
        return _united(self.collections)

    def search(self, query: Example | Sequence[Example] | None = None, k: int = 10, **options: Any) -> Results:
        """The `k` images of all collections that look most like `query`; the options are those of `Collection.search`.

        Keys and filters name images by their keys here. Raises QueryError.

        Examples
        --------
        >>> with lookalike.open_many(["photos", "holiday"]) as both:
        ...     [hit.key for hit in both.search("photos/door.jpg", k=2, where="key:photos/*")]
        ['photos/door.jpg', 'photos/beach.jpg']
        """
        # It makes a query and options of the keywords, and calls `find`.
        return Collection.search(cast("Collection", self), query, k, **options)

    def find(self, query: Query, options: SearchOptions) -> Results:
        """As `search`, with the query and the options as objects."""
        ranked = lambda: several.rank(query, options, self._parts(options))  # noqa: E731
        stores = lambda: [collection.store for collection in self.collections.values()]  # noqa: E731
        return unless_replaced(lambda: intact(ranked, options), stores)

    def _parts(self, options: SearchOptions) -> list[several.Part]:
        """The collections of each encoder, as spaces to search in."""
        by_encoder: dict[str, dict[str, Collection]] = {}
        for name, collection in self.collections.items():
            by_encoder.setdefault(collection.store.header.fingerprint, {})[name] = collection
        return [self._part(collections, options) for collections in by_encoder.values()]

    def _part(self, collections: Mapping[str, Collection], options: SearchOptions) -> several.Part:
        words = lambda: _space(sets_of_words({name: self._whole[name] for name in collections}), options)  # noqa: E731
        return several.Part(_united(collections), _space(collections, options), words)

    @property
    def damaged(self) -> list[str]:
        """The keys that searches left out because their vectors or entries do not match their checksums."""
        return [f"{name}/{key}" for name, collection in self.collections.items() for key in collection.damaged]

    def keys(self) -> list[str]:
        """The keys of all images."""
        return [item.key for item in self.gallery.live_items()]

    def info(self) -> dict[str, Any]:
        """Facts about each, by its name, and which are away."""
        parts = {name: collection.info() for name, collection in self.collections.items()}
        return {"images": len(self), "collections": parts, "away": self.away}

    def picture(self, query: Example, box: Region | None = None) -> Image:
        """The upright picture of a query at full size, cut to its box; raises QueryError."""
        return query_picture(query, box, self.gallery)

    def explain(self, query: Example, key: str, box: Region | None = None) -> "Explanation":
        """As `Collection.explain`, for an image of any of them."""
        name, own = self._owner(key)
        return self.collections[name].explain(self.picture(query, box), own)

    def _owner(self, key: str) -> tuple[str, str]:
        """The collection of a key, and its key there."""
        gallery = self.gallery
        row = gallery.row(key)
        if row is None:
            raise QueryError(f"{key}: no such key in {', '.join(self.collections)}")
        name, _, own = gallery.item(row).key.partition("/")
        return name, own

    def duplicates(
        self,
        level: "Level" = "exact",
        threshold: float | None = None,
        progress: Progress | None = None,
        keep: str = "best",
        by_content: bool = False,
    ) -> "Groups":
        """Groups of copies within all of them and across; the parameters are those of `Collection.duplicates`."""
        from lookalike.analysis.group_copies import Rules, copies

        if threshold is not None and level == "exact" and self.mixes_encoders:
            raise QueryError(
                f"vectors of {' and '.join(self.encoders)} do not compare; use a level without --threshold"
            )
        apart = frozenset[tuple[str, str]]().union(*map(distinct.pairs, self.gallery.stores))
        return copies([self.gallery], Rules(level, threshold, keep, apart, by_content), progress)


def _space(collections: Mapping[str, Collection], options: SearchOptions) -> Space:
    first, galleries = next(iter(collections.values())), [each.gallery for each in collections.values()]
    pairs = zip(collections.values(), galleries, strict=True)
    regions = [each.regions_of(gallery, options.regions) for each, gallery in pairs]
    united = _of_state(tuple(collections), tuple(galleries))
    return Space(united.view(options.where, options.exclude, options.recall, regions), lambda: first.encoder)


def _united(collections: Mapping[str, Collection]) -> UnitedGallery:
    return _of_state(tuple(collections), tuple(collection.gallery for collection in collections.values()))


@lru_cache(KEPT_STATES)
def _of_state(names: tuple[str, ...], galleries: tuple[StoredGallery, ...]) -> UnitedGallery:
    doubles = tuple(_doubles(galleries))
    parts = zip(galleries, doubles, strict=True)
    return UnitedGallery(names, tuple(each.view(exclude=own) if own else each for each, own in parts), doubles)


def _doubles(galleries: Sequence[StoredGallery]) -> Iterator[frozenset[str]]:
    """Of each gallery the keys of files that an earlier one has too, from the same folder, as `merge` has it."""
    places = [_places(gallery) for gallery in galleries]
    for number, gallery in enumerate(galleries):
        earlier = [at for at in range(number) if places[at] & places[number]]
        taken = {galleries[at].path_of(item) for at in earlier for item in galleries[at].live_items()}
        items = gallery.live_items() if taken else iter(())
        yield frozenset(item.key for item in items if gallery.path_of(item) in taken - {None})


def _places(gallery: StoredGallery) -> frozenset[str]:
    """Where its images lie."""
    return frozenset(located(gallery.store.path, location) for _, location, _ in gallery.store.catalog.sources())
