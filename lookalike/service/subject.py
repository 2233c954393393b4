"""What a service answers about: one collection, or all collections of the service asked as one."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from lookalike.collection.collection import Collection
from lookalike.collection.united import Collections
from lookalike.images.facts import PhotoFacts
from lookalike.search.hybrid import Space
from lookalike.service.batching import Slots
from lookalike.service.errors import ApiError
from lookalike.service.metrics import Metrics
from lookalike.storage.store import Item, Store

Searched = Collection | Collections
Lookup = Callable[[str], Item | None]
"""Keys to live items."""


@dataclass(frozen=True)
class Needs:
    """What was found out while loading: the most images of a batch (0: none are made), whether a server is asked."""

    batch: int
    has_engine: bool


class Subject(Protocol):
    """Met by `alone.Alone` and `together.Together`; keys are as requests name images."""

    @property
    def name(self) -> str:
        """For people, without any path."""
        ...

    @property
    def names(self) -> Sequence[str]:
        """With what the keys of each collection begin, where several are asked as one; else none."""
        ...

    def load(self, slots: Slots, metrics: Metrics) -> Needs:
        """Load the encoder and open the files; raises what keeps it from that."""
        ...

    @property
    def collection(self) -> Searched:
        """What is searched; raises ApiError 503 where nothing can be, for the moment."""
        ...

    def single(self) -> Collection:
        """The collection, where it is one; raises ApiError 404 where several are asked as one."""
        ...

    def again(self) -> Searched:
        """Opened again, for work in the background."""
        ...

    def stores(self) -> Sequence[Store]:
        """The files of all vector sets of what is searched."""
        ...

    def spaces(self) -> Sequence[Space]:
        """The vectors of each encoder."""
        ...

    def away(self) -> Mapping[str, str]:
        """Collections that cannot answer at the moment, with the reason, where others can."""
        ...

    async def refusal(self) -> ApiError | None:
        """The 503 while no search server that is needed answers."""
        ...

    def lookup(self) -> AbstractContextManager[Lookup]:
        """Finds items by the catalog alone, in one state."""
        ...

    def read(self, item: Item) -> bytes:
        """The image file of an item; raises ImageError."""
        ...

    def details(self, item: Item) -> dict[str, Any]:
        """All facts of an item that are known, by name."""
        ...

    def facts(self, items: Sequence[Item]) -> dict[str, PhotoFacts]:
        """What is known of the contents (SHA-256) of some items."""
        ...

    def close(self) -> None:
        """Close what it opened."""
        ...
