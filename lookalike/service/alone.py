"""One collection that is served, with an encoder that puts the images of several requests into one batch."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from lookalike.collection.collection import Collection
from lookalike.encoders.whitened import bare
from lookalike.images.facts import PhotoFacts
from lookalike.search.hybrid import Space
from lookalike.service.batching import BATCH, Batcher, Slots, batched
from lookalike.service.engine import EngineState
from lookalike.service.errors import ApiError, try_later
from lookalike.service.metrics import Metrics
from lookalike.service.subject import Lookup, Needs
from lookalike.storage import photo_facts
from lookalike.storage.store import Item, Store


class Alone:
    """A collection; meets `Subject`. Created before it is loaded."""

    def __init__(self, collection: Collection) -> None:
        self.unbatched = collection
        self.batcher: Batcher | None = None
        self.engine: EngineState | None = None
        self.settled = threading.Event()
        self.needs = Needs(0, False)
        self._loaded: Collection | None = None

    names: Sequence[str] = ()

    @cached_property
    def name(self) -> str:
        """The name of the collection's folder."""
        path = self.unbatched.path.resolve()
        return path.parent.name if path.name == ".lookalike" else path.name

    def load(self, slots: Slots, metrics: Metrics) -> Needs:
        """As `Subject.load`; `settled` is set when it has ended, however it did."""
        try:
            return self._load(slots, metrics)
        finally:
            self.settled.set()

    def _load(self, slots: Slots, metrics: Metrics) -> Needs:
        encoder = self.unbatched.encoder
        batch = getattr(encoder, "batch_size", BATCH)
        if batch > 1:
            # The encoder as it is without maps, which `adapt` may exchange while it is served.
            encoder = bare(encoder)
            self.batcher = Batcher(encoder.encode_batch, slots, batch, metrics.batch_size.observe)
            encoder = batched(encoder, self.batcher)
        loaded = self.unbatched.through(encoder)
        loaded.encoder  # noqa: B018 - maps it
        len(loaded)  # opens the files
        if loaded.reads_text:
            loaded.text_set.encoder  # noqa: B018 - loaded now, not by the first request
        has_engine = loaded.store.header.engine is not None
        if has_engine:
            self.engine = EngineState(self._health, metrics)
        self._loaded, self.needs = loaded, Needs(batch if batch > 1 else 0, has_engine)
        return self.needs

    def _health(self) -> None:
        # Of the store that is open now: a rebuild puts another one in its place.
        self.unbatched.store.vectors.health()

    @property
    def collection(self) -> Collection:
        """The collection with its batching encoder; ApiError 503 before it is loaded."""
        if self._loaded is None:
            raise try_later("loading", "the collection is being loaded")
        return self._loaded

    def single(self) -> Collection:
        """The same."""
        return self.collection

    def again(self) -> Collection:
        """Readers of the served one must not see what is not committed."""
        return self.collection.through(self.collection.encoder)

    def stores(self) -> Sequence[Store]:
        """The files of all vector sets."""
        return [each.store for each in self.collection.sets.values()]

    def spaces(self) -> Sequence[Space]:
        """Its vectors."""
        return [Space(self.collection.gallery, lambda: self.collection.encoder)]

    def away(self) -> Mapping[str, str]:
        """None: a collection that cannot answer refuses."""
        return {}

    async def refusal(self) -> ApiError | None:
        """While its search server, if there is one, does not answer."""
        return None if self.engine is None else await self.engine.refusal()

    @contextmanager
    def lookup(self) -> Iterator[Lookup]:
        """Of one committed state."""
        # Read once: another store may take its place at any moment.
        catalog = self.collection.store.catalog
        with catalog.snapshot():
            yield catalog.live_item

    def read(self, item: Item) -> bytes:
        """The image file of an item; raises ImageError."""
        return self.collection.gallery.origins.read(item)

    def details(self, item: Item) -> dict[str, Any]:
        """All facts of an item that are known."""
        return photo_facts.of_item(self.collection.store.catalog, item)

    def facts(self, items: Sequence[Item]) -> dict[str, PhotoFacts]:
        """What is known of some contents."""
        return self.collection.gallery.facts(items)

    def close(self) -> None:
        """Close what it opened, the collection last."""
        if self.engine is not None:
            self.engine.close()
        if self.batcher:
            self.batcher.close()
        if self._loaded is not None:
            self._loaded.close()
