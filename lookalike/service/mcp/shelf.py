"""The collections that an assistant may ask, by name; each is loaded when it is first asked."""

import threading
from collections.abc import Sequence

from lookalike.collection.collection import Collection
from lookalike.errors import LookalikeError
from lookalike.service.alone import Alone
from lookalike.service.errors import ApiError, not_found, of_library
from lookalike.service.ids import key_text
from lookalike.service.served import Served
from lookalike.service.settings import Settings


class Shelf:
    """Served collections by name; `collections` has them as they were opened."""

    def __init__(self, collections: Sequence[Collection], settings: Settings) -> None:
        self.collections: dict[str, Collection] = {}
        self._served: dict[str, Served] = {}
        self._loading = threading.Lock()
        for collection in collections:
            served = Served(Alone(collection), settings)
            name = _free(key_text(served.subject.name), self._served)
            self.collections[name], self._served[name] = collection, served

    def named(self, name: str | None) -> Served:
        """The collection of a name, which may still have to be loaded; raises ApiError."""
        if name is None and len(self._served) == 1:
            return next(iter(self._served.values()))
        if name is None:
            raise ApiError(422, "invalid", "collection: say which", f"one of {', '.join(self._served)}")
        if name not in self._served:
            raise not_found(f"there is no collection {name[:80]!a}", f"there is {', '.join(self._served)}")
        return self._served[name]

    def load(self, served: Served) -> None:
        """Load a collection that is not loaded yet; in a thread. Raises ApiError where it cannot be."""
        with self._loading:
            if served.reason_not_ready is None:
                return
            served.failure = None
            served.load()
        if isinstance(served.failure, LookalikeError):
            raise of_library(served.failure)
        if served.failure is not None:
            raise served.failure

    def close(self) -> None:
        """Close all that was opened."""
        for served in self._served.values():
            served.close()


def _free(name: str, taken: dict[str, Served]) -> str:
    number, free = 2, name
    while free in taken:
        number, free = number + 1, f"{name}-{number}"
    return free
