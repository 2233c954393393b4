"""What all requests share: the collection with its batching encoder, the threads, the limits, what was counted."""

import asyncio
import threading
from functools import cached_property

from lookalike.collection.collection import Collection
from lookalike.service.batching import BATCH, Batcher, Slots, batched
from lookalike.service.bodies import Buffered
from lookalike.service.decoding import Examiner
from lookalike.service.errors import ApiError, try_later
from lookalike.service.ids import to_key, unknown
from lookalike.service.mapping import Maps
from lookalike.service.metrics import Metrics
from lookalike.service.settings import Settings
from lookalike.service.thumbnails import ThumbnailCache
from lookalike.service.urls import Fetcher
from lookalike.service.work import Work
from lookalike.storage.store import Item
from lookalike.types import Encoder

FETCHES = 8


class Served:
    """One collection being served; made before it is loaded, closed when the service ends."""

    def __init__(self, given: Collection, settings: Settings) -> None:
        self._given, self.settings = given, settings
        self.metrics, self.scraping = Metrics(), asyncio.Lock()
        self.slots = Slots(settings.workers)
        self.work = self._work()
        self.fetches = Work(Slots(FETCHES), FETCHES, FETCHES, self.metrics, "fetches")
        self.buffered = Buffered(settings.buffered_bytes)
        self.examiner = Examiner(settings.limits, settings.decode_seconds, self.slots)
        self.thumbnails = ThumbnailCache(settings.thumbnail_bytes)
        self.fetch = Fetcher(settings.limits.bytes, settings.url_seconds)
        self.writing = threading.Lock()
        self.is_draining = False
        self.failure: Exception | None = None
        self._batcher: Batcher | None = None
        self._loaded: Collection | None = None
        self.metrics.gauge("lookalike_images", "In the collection.", self._count)

    def _work(self, more: int = 0) -> Work:
        return Work(self.slots, self.settings.workers, self.settings.waiting, self.metrics, "requests", more)

    @property
    def reason_not_ready(self) -> str | None:
        """Why nothing can be asked yet; None where all is well. Asked for every request: its images are not counted."""
        return None if self._loaded is not None else "the collection is being loaded"

    @property
    def reason_to_wait(self) -> ApiError | None:
        """What a request that wants to compute is told; None where it may."""
        return self.work.refusal()

    @property
    def collection(self) -> Collection:
        """What is searched; its encoder puts the images of several requests into one batch."""
        if self._loaded is None:
            raise try_later("loading", "the collection is being loaded")
        return self._loaded

    @cached_property
    def name(self) -> str:
        """What the collection is called: its folder, and no path of this machine."""
        path = self._given.path.resolve()
        return path.parent.name if path.name == ".lookalike" else path.name

    @cached_property
    def maps(self) -> Maps:
        """The map of the collection, made when it is first asked for."""
        return Maps(lambda: self.collection.gallery, self.name)

    def load(self) -> None:
        """Load the encoder and open the collection; a failure is kept for whoever runs the service."""
        try:
            encoder = self._given.encoder
            batch = getattr(encoder, "batch_size", BATCH)
            if batch > 1:
                self._batcher = Batcher(encoder.encode_batch, self.slots, batch, self._seen)
                encoder = batched(encoder, self._batcher)
                # While one batch is encoded, the next one gathers.
                self.work = self._work(2 * batch)
            self.encoder: Encoder = encoder
            loaded = self._given.through(self.encoder)
            len(loaded)  # opens the files
            if loaded.reads_text:
                loaded.text_set.encoder  # noqa: B018 - loaded now, and not by the first who asks
            self._loaded = loaded
        except Exception as error:  # noqa: BLE001 - whatever it is, the service must not seem to be loading for ever
            self.failure = error

    def _seen(self, size: int) -> None:
        self.metrics.batch_size.observe(size)

    def _count(self) -> float:
        return len(self._loaded) if self._loaded is not None else 0

    def item(self, id_: str) -> Item:
        """The item of an id; raises ApiError 404. Nothing but the catalog is asked."""
        found = self.collection.store.catalog.live_item(to_key(id_))
        if found is None:
            raise unknown(id_)
        return found

    def close(self) -> None:
        """Let what runs finish, then let go of everything."""
        self.work.close()
        self.fetches.close()
        if "maps" in vars(self):
            self.maps.close()
        if self._batcher:
            self._batcher.close()
        self.examiner.close()
        if self._loaded is not None:
            self._loaded.close()
