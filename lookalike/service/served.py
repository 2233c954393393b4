"""What all requests share: the collection with its batching encoder, threads, limits and metrics."""

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from lookalike.collection.collection import Collection
from lookalike.encoders.whitened import bare
from lookalike.service.batching import BATCH, Batcher, Slots, batched
from lookalike.service.bodies import Buffered
from lookalike.service.copies import Copies
from lookalike.service.decoding import Examiner
from lookalike.service.engine import EngineState
from lookalike.service.errors import ApiError, try_later
from lookalike.service.facets import Facets
from lookalike.service.ids import to_key, unknown
from lookalike.service.learning import Learning
from lookalike.service.mapping import Maps
from lookalike.service.metrics import Metrics
from lookalike.service.settings import Settings
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


class Served:
    """A collection that is served; created before it is loaded, closed when the service ends."""

    def __init__(self, collection: Collection, settings: Settings, shared: Shared | None = None) -> None:
        shared = shared or Shared.of(settings)
        self._unbatched, self.settings = collection, settings
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
        self.all_served: Sequence[tuple[str, str]] = ()
        self.failure: Exception | None = None
        self.engine: EngineState | None = None
        self._pictures: Work | None = None
        self._batcher: Batcher | None = None
        self._loaded: Collection | None = None
        self.metrics.gauge("lookalike_images", "In the collection.", self._count)

    def _work(self, more: int = 0) -> Work:
        workers, waiting, seconds = self.settings.workers, self.settings.waiting, self.settings.decode_seconds
        return Work(self.slots, workers, waiting, self.metrics, "requests", more, seconds)

    @property
    def reason_not_ready(self) -> str | None:
        """Why no request can be answered yet; None where it can. Cheap, as every request needs it."""
        return None if self._loaded is not None else "the collection is being loaded"

    @property
    def reason_to_wait(self) -> ApiError | None:
        """The refusal of a request that computes; None where it may."""
        return self.work.refusal()

    @property
    def collection(self) -> Collection:
        """The collection, whose encoder puts the images of several requests into one batch; ApiError 503 before."""
        if self._loaded is None:
            raise try_later("loading", "the collection is being loaded")
        return self._loaded

    @cached_property
    def name(self) -> str:
        """The name of the collection's folder, without the path."""
        path = self._unbatched.path.resolve()
        return path.parent.name if path.name == ".lookalike" else path.name

    def siblings(self) -> Sequence[tuple[str, str]]:
        """(path, name) of every collection of the service, the first one first."""
        return self.all_served or [(self.settings.root_path, self.name)]

    @cached_property
    def maps(self) -> Maps:
        """The map of the collection, drawn at the first request for it."""
        return Maps(lambda: self.collection.gallery)

    @cached_property
    def learning(self) -> Learning:
        """What is learned from marks, in the background."""
        return Learning(self.writer, self.writing)

    @cached_property
    def copies(self) -> Copies:
        """Duplicates, looked for in the background."""
        return Copies(self.writer, self.writing)

    def refuse_changes(self) -> None:
        """Raise ApiError 503 while a job changes the collection."""
        self.learning.refuse()
        self.copies.refuse()

    def writer(self) -> Collection:
        """The collection opened again: readers of the served one must not see what is not committed."""
        return self.collection.through(self.collection.encoder)

    def load(self) -> None:
        """Load the encoder and open the collection; `failure` has the exception, if any, for `server.run`."""
        try:
            encoder = self._unbatched.encoder
            batch = getattr(encoder, "batch_size", BATCH)
            if batch > 1:
                # The encoder as it is without maps, which `adapt` may exchange while it is served.
                encoder = bare(encoder)
                self._batcher = Batcher(encoder.encode_batch, self.slots, batch, self._seen)
                encoder = batched(encoder, self._batcher)
                # While a batch is encoded, the next one fills.
                self.work = self._work(2 * batch)
            loaded = self._unbatched.through(encoder)
            loaded.encoder  # noqa: B018 - maps it
            len(loaded)  # opens the files
            if loaded.reads_text:
                loaded.text_set.encoder  # noqa: B018 - loaded now, not by the first request
            if loaded.store.header.engine:
                self.pictures_apart()
                self.engine = EngineState(self._health, self.metrics)
            self._loaded = loaded
        except Exception as error:  # noqa: BLE001 - else the service would seem to load for ever
            self.failure = error

    def _health(self) -> None:
        # Of the store that is open now: a rebuild puts another one in its place.
        self._unbatched.store.vectors.health()

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
        if self.engine is not None and (refusal := await self.engine.refusal()):
            raise refusal

    def _seen(self, size: int) -> None:
        self.metrics.batch_size.observe(size)

    def _count(self) -> float:
        return len(self._loaded) if self._loaded is not None else 0

    def item(self, id_: str) -> Item:
        """The item of an id, by the catalog alone; raises ApiError 404."""
        item = self.collection.store.catalog.live_item(to_key(id_))
        if item is None:
            raise unknown(id_)
        return item

    def close(self) -> None:
        """Wait for what runs, then close everything."""
        if self.engine is not None:
            self.engine.close()
        if self._pictures is not None:
            self._pictures.close()
        self.work.close()
        self.fetches.close()
        for background in ("maps", "learning", "copies"):
            if background in vars(self):
                getattr(self, background).close()
        if self._batcher:
            self._batcher.close()
        self.examiner.close()
        if self._loaded is not None:
            self._loaded.close()
