"""Several collections in one service: each with its own API and page below its path, the first one at the top too.

Below a path of their own they are asked as one.
"""

import re
import unicodedata
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.datastructures import State
from starlette.types import ASGIApp, Receive, Scope, Send

from lookalike.collection.collection import Collection
from lookalike.service.alone import Alone
from lookalike.service.app import application
from lookalike.service.served import Served, Shared, Sibling
from lookalike.service.settings import Settings
from lookalike.service.together import Together

BELOW = "/c"
ALL = "/all"
"""Where they are asked as one: not below `/c`, where a folder might have that name."""


class Several:
    """An ASGI application of several: a request goes to the one below whose path its own is.

    `state.served` is that of the first; limits on memory and threads hold for all together.
    """

    def __init__(self, apps: Sequence[tuple[str, FastAPI]], first: str | None = None) -> None:
        """The first application is at the top; `first` is the path below which it answers too."""
        self._apps, self._first = list(apps), first
        self.state = State({"served": Family([app.state.served for _, app in self._apps])})
        self._lifespan = Starlette(lifespan=self._alive)

    @asynccontextmanager
    async def _alive(self, _: ASGIApp) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for _path, app in self._apps:
                await stack.enter_async_context(app.router.lifespan_context(app))
            yield

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the lifespan of all."""
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        settings = self._apps[0][1].state.served.settings
        inner = settings.inner_path(scope["path"])
        if self._first is not None and _is_below(inner, self._first):
            inner = inner.removeprefix(self._first)
            scope = {**scope, "path": settings.root_path + inner}
        await self._owner(inner)(scope, receive, send)

    def _owner(self, inner: str) -> ASGIApp:
        return next((app for below, app in self._apps[1:] if _is_below(inner, below)), self._apps[0][1])


def _is_below(path: str, place: str) -> bool:
    return path == place or path.startswith(f"{place}/")


class Family:
    """What a server has to know of all collections: their settings, whether they end, and which one failed."""

    def __init__(self, members: Sequence[Served]) -> None:
        self._members = members
        self.settings = members[0].settings

    @property
    def is_draining(self) -> bool:
        """Whether the process is about to end."""
        return self._members[0].is_draining

    @is_draining.setter
    def is_draining(self, value: bool) -> None:
        for served in self._members:
            served.is_draining = value

    @property
    def failure(self) -> Exception | None:
        """Why a collection could not be loaded; None where all could."""
        return next((served.failure for served in self._members if served.failure is not None), None)


def create_several(collections: Sequence[Collection], settings: Settings) -> Several:
    """The service of several collections; the first one is served as `create_app` alone would serve it."""
    shared, top = Shared.of(settings), settings.root_path
    members, paths = [Alone(collection) for collection in collections], _paths(collections)
    everything = Together(members)
    served = [Served(one, _below(settings, path), shared) for one, path in zip(members, paths, strict=True)]
    together = Served(everything, replace(_below(settings, ALL), writable=False), shared)
    # Kept by content: those of all need no memory of their own.
    together.thumbnails = served[0].thumbnails
    trio = zip(paths, members, everything.names, strict=True)
    siblings = [Sibling(top + path, one.name, f"{name}/") for path, one, name in trio]
    for each in (*served, together):
        each.siblings, each.all_path = siblings, top + ALL
    first = f"{BELOW}/{_word(collections[0])}"
    apps = [(path, application(each)) for path, each in zip((*paths, ALL), (*served, together), strict=True)]
    return Several(apps, None if first in paths else first)


def _below(settings: Settings, path: str) -> Settings:
    return replace(settings, root_path=settings.root_path + path, cookie_path=f"{settings.root_path}/")


def _paths(collections: Sequence[Collection]) -> list[str]:
    """Of each, where it is mounted; of two of one name, the later one has a number."""
    paths = [""]
    for collection in collections[1:]:
        paths.append(f"{BELOW}/{_unused(_word(collection), paths)}")
    return paths


def _word(collection: Collection) -> str:
    """The name of a collection's folder in letters, digits and dashes."""
    plain = unicodedata.normalize("NFKD", collection.path.resolve().parent.name).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-") or "collection"


def _unused(word: str, paths: Sequence[str]) -> str:
    taken = {path.rpartition("/")[2] for path in paths}
    return next(name for name in (word, *(f"{word}-{number}" for number in range(2, 1000))) if name not in taken)
