"""What all requests share: what is served, threads, limits and metrics."""

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from lookalike.collection.collection import Collection
from lookalike.search.searched import SearchedGallery
from lookalike.service.batching import Slots
from lookalike.service.bodies import Buffered
from lookalike.service.copies import Copies
from lookalike.service.decoding import Examiner
from lookalike.service.errors import ApiError, try_later
from lookalike.service.facets import Facets
from lookalike.service.ids import to_key, unknown
from lookalike.service.learning import Learning
from lookalike.service.mapping import Maps
from lookalike.service.metrics import Metrics
from lookalike.service.settings import Settings
from lookalike.service.subject import Searched, Subject
from lookalike.service.thumbnails import ThumbnailCache
from lookalike.service.urls import Fetcher
from lookalike.service.work import Work
from lookalike.storage.store import Item

FETCHES = 8


@dataclass(frozen=True)
class Shared:
    """What all collections of one process share: how many requests compute at a time, and the bytes of bodies."""

    slots: Slots
    buffered: Buffered

    @classmethod
    def of(cls, settings: Settings) -> "Shared":
        """Made anew."""
        return cls(Slots(settings.workers), Buffered(settings.buffered_bytes))


@dataclass(frozen=True)
class Sibling:
    """A collection of the service: where it is mounted, its name, and with what its keys begin where all are asked."""

    path: str
    name: str
    key_prefix: str = ""


class Served:
    """What is served at one path; created before it is loaded, closed when the service ends."""

    def __init__(self, subject: Subject, settings: Settings, shared: Shared | None = None) -> None:
        shared = shared or Shared.of(settings)
        self.subject, self.settings = subject, settings
        self.metrics, self.scraping = Metrics(), asyncio.Lock()
        self.slots = shared.slots
        self.work = self._work()
        self.fetches = Work(Slots(FETCHES), FETCHES, FETCHES, self.metrics, "fetches")
        self.buffered = shared.buffered
        self.examiner = Examiner(settings.limits, settings.decode_seconds, self.slots)
        self.thumbnails = ThumbnailCache(settings.thumbnail_bytes)
        self.fetch = Fetcher(settings.limits.bytes, settings.url_seconds)
        self.writing = threading.Lock()
        self.facets = Facets()
        self.is_draining = False
        self.siblings: Sequence[Sibling] = (Sibling(settings.root_path, subject.name),)
        self.all_path: str | None = None
        self.failure: Exception | None = None
        self._pictures: Work | None = None
        self._is_loaded = False
        self.metrics.gauge("lookalike_images", "In the collection.", self._count)

    def _work(self, more: int = 0) -> Work:
        workers, waiting, seconds = self.settings.workers, self.settings.waiting, self.settings.decode_seconds
        return Work(self.slots, workers, waiting, self.metrics, "requests", more, seconds)

    @property
    def reason_not_ready(self) -> str | None:
        """Why no request can be answered yet; None where it can. Cheap, as every request needs it."""
        return None if self._is_loaded else "the collection is being loaded"

    @property
    def reason_to_wait(self) -> ApiError | None:
        """The refusal of a request that computes; None where it may."""
        return self.work.refusal()

    @property
    def collection(self) -> Searched:
        """What is searched; ApiError 503 where nothing can be, for the moment."""
        if not self._is_loaded:
            raise try_later("loading", "the collection is being loaded")
        return self.subject.collection

    @property
    def single(self) -> Collection:
        """The collection, where it is one; ApiError 404 where several are asked as one."""
        return self.subject.single()

    @cached_property
    def maps(self) -> Maps:
        """The map of all images, drawn at the first request for it."""
        return Maps(self._drawn)

    def _drawn(self) -> SearchedGallery:
        spaces = self.subject.spaces()
        if len(spaces) > 1:
            raise ApiError(422, "mixed", "vectors of several encoders do not compare", "look at one collection")
        return spaces[0].gallery

    @cached_property
    def learning(self) -> Learning:
        """What is learned from marks, in the background."""
        return Learning(self.writer, self.writing)

    @cached_property
    def copies(self) -> Copies:
        """Duplicates, looked for in the background."""
        return Copies(self.subject.again, self.writer, self.writing)

    def refuse_changes(self) -> None:
        """Raise ApiError 503 while a job changes the collection."""
        self.learning.refuse()
        self.copies.refuse()

    def writer(self) -> Collection:
        """The collection opened again: readers of the served one must not see what is not committed."""
        collection = self.single
        return collection.through(collection.encoder)

    def load(self) -> None:
        """Load what is served; `failure` has the exception, if any, for `server.run`."""
        try:
            needs = self.subject.load(self.slots, self.metrics)
            if needs.batch:
                # While a batch is encoded, the next one fills.
                self.work = self._work(2 * needs.batch)
            if needs.has_engine:
                self.pictures_apart()
            self._is_loaded = True
        except Exception as error:  # noqa: BLE001 - else the service would seem to load for ever
            self.failure = error

    def pictures_apart(self) -> None:
        """Threads of their own for what needs no search server, so that it never waits behind what does."""
        settings = self.settings
        self._pictures = Work(
            Slots(settings.workers), settings.workers, settings.waiting, self.metrics, "pictures", 0,
            settings.decode_seconds,
        )  # fmt: skip

    @property
    def pictures(self) -> Work:
        """The threads for thumbnails and facts about images."""
        return self._pictures or self.work

    async def require_engine(self) -> None:
        """Raise ApiError 503 at once while the search server, if there is one, does not answer."""
        if refusal := await self.subject.refusal():
            raise refusal

    def _count(self) -> float:
        return len(self.collection) if self._is_loaded else 0

    def item(self, id_: str) -> Item:
        """The item of an id, by the catalog alone; raises ApiError 404."""
        item = self.item_of(to_key(id_))
        if item is None:
            raise unknown(id_)
        return item

    def item_of(self, key: str) -> Item | None:
        """The item of a key, by the catalog alone."""
        with self.subject.lookup() as find:
            return find(key)

    def close(self) -> None:
        """Wait for what runs, then close everything."""
        if self._pictures is not None:
            self._pictures.close()
        self.work.close()
        self.fetches.close()
        for background in ("maps", "learning", "copies"):
            if background in vars(self):
                getattr(self, background).close()
        self.examiner.close()
        self.subject.close()
