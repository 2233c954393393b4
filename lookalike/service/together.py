"""All collections of a service asked as one: those that can answer now, by what each of them has loaded."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import cache
from typing import Any

from lookalike.collection.collection import Collection
from lookalike.collection.united import Collections, named
from lookalike.errors import LookalikeError
from lookalike.images.facts import PhotoFacts
from lookalike.search.hybrid import Space
from lookalike.service.alone import Alone
from lookalike.service.batching import Slots
from lookalike.service.errors import ApiError, of_library, try_later
from lookalike.service.metrics import Metrics
from lookalike.service.subject import Lookup, Needs
from lookalike.storage import photo_facts
from lookalike.storage.catalog import Catalog
from lookalike.storage.store import Item, Store


class Together:
    """Collections that are served alone too, which opens and closes them; meets `Subject`."""

    def __init__(self, members: Sequence[Alone]) -> None:
        self._members = dict(zip(named(each.unbatched for each in members), members, strict=True))

    @property
    def name(self) -> str:
        """The names of all."""
        return ", ".join(self.names)

    @property
    def names(self) -> Sequence[str]:
        """With what the keys of each begin."""
        return list(self._members)

    def load(self, slots: Slots, metrics: Metrics) -> Needs:
        """Wait until each was loaded; then load what they are only asked by together."""
        for member in self._members.values():
            member.settled.wait()
        # What cannot answer yet, as a search server that is silent, is asked again by each request.
        with suppress(ApiError, LookalikeError):
            for space in self.spaces():
                space.encoder()
        needs = [member.needs for member in self._members.values()]
        return Needs(max(each.batch for each in needs), any(each.has_engine for each in needs))

    def _now(self) -> tuple[dict[str, Collection], dict[str, str]]:
        """The collections that can answer, and why the others cannot."""
        here, away = dict[str, Collection](), dict[str, str]()
        for name, member in self._members.items():
            try:
                here[name] = _opened(member)
            except ApiError as error:
                away[name] = error.message
            except LookalikeError as error:
                # Without its own message, which may name paths of this machine.
                away[name] = of_library(error).message
        return here, away

    @property
    def collection(self) -> Collections:
        """Those that can answer; their keys begin with the same names whichever are away."""
        here, away = self._now()
        if not here:
            raise try_later("collection", "none of the collections can answer at the moment")
        return Collections(here, away)

    def single(self) -> Collection:
        """Refused: what is for one collection is asked of it."""
        hint = "ask one of them, below its own path: GET /v1/collections"
        raise ApiError(404, "of_one", "this is for one collection, not for all together", hint)

    def again(self) -> Collections:
        """Those that can answer, opened again."""
        here, away = self._now()
        return Collections({name: each.through(each.encoder) for name, each in here.items()}, away)

    def stores(self) -> Sequence[Store]:
        """The files of all vector sets of each."""
        return [each.store for collection in self._now()[0].values() for each in collection.sets.values()]

    def spaces(self) -> Sequence[Space]:
        """The vectors of each encoder."""
        return self.collection.spaces()

    def away(self) -> Mapping[str, str]:
        """Which cannot answer at the moment."""
        return self._now()[1]

    async def refusal(self) -> ApiError | None:
        """Where no collection has a search server that answers, and each needs one."""
        refusals = [await member.refusal() for member in self._members.values()]
        return None if None in refusals else refusals[0]

    @contextmanager
    def lookup(self) -> Iterator[Lookup]:
        """Of one committed state of each."""
        with ExitStack() as stack:

            @cache
            def catalog(name: str) -> Catalog:
                found = self._members[name].collection.store.catalog
                stack.enter_context(found.snapshot())
                return found

            def find(key: str) -> Item | None:
                name, _, own = key.partition("/")
                item = catalog(name).live_item(own) if name in self._members else None
                return replace(item, key=key) if item else None

            yield find

    def _own(self, item: Item) -> tuple[Collection, Item]:
        """The collection of an item, and the item as it is there."""
        name, _, own = item.key.partition("/")
        return self._members[name].collection, replace(item, key=own)

    def read(self, item: Item) -> bytes:
        """The image file of an item; raises ImageError."""
        collection, own = self._own(item)
        return collection.gallery.origins.read(own)

    def details(self, item: Item) -> dict[str, Any]:
        """All facts of an item that are known; its folder begins with the collection's name, as its key does."""
        collection, own = self._own(item)
        return photo_facts.whole(item, photo_facts.of_items(collection.store.catalog, [own])[0])

    def facts(self, items: Sequence[Item]) -> dict[str, PhotoFacts]:
        """What is known of some contents."""
        return self.collection.gallery.facts(items)

    def close(self) -> None:
        """Each is closed by the service of itself."""


def _opened(member: Alone) -> Collection:
    """What is searched of a member; raises why it cannot be at the moment."""
    if member.engine and (refused := member.engine.known_refusal()):
        raise refused
    collection = member.collection
    collection.gallery  # noqa: B018 - opened here, where it is still known which one cannot be
    return collection
