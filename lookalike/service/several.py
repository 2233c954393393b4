"""Several collections in one service: each with its own API and page below its path, the first one at the top."""

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
from lookalike.service.app import create_app
from lookalike.service.served import Served, Shared
from lookalike.service.settings import Settings

BELOW = "/c"


class Several:
    """An ASGI application of several: a request goes to the one below whose path its own is.

    `state.served` is that of the first; limits on memory and threads hold for all together.
    """

    def __init__(self, apps: Sequence[tuple[str, FastAPI]]) -> None:
        self._apps = list(apps)
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
        app = self._lifespan if scope["type"] == "lifespan" else self._owner(scope["path"])
        await app(scope, receive, send)

    def _owner(self, path: str) -> ASGIApp:
        inner = self._apps[0][1].state.served.settings.inner_path(path)
        for below, app in self._apps[1:]:
            if inner == below or inner.startswith(f"{below}/"):
                return app
        return self._apps[0][1]


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
    apps: list[tuple[str, FastAPI]] = []
    for number, collection in enumerate(collections):
        below = f"{BELOW}/{_unused(_word(collection), apps)}" if number else ""
        own = replace(settings, root_path=top + below, cookie_path=f"{top}/")
        apps.append((below, create_app(collection, own, shared)))
    served: list[Served] = [app.state.served for _, app in apps]
    for one in served:
        one.all_served = [(each.settings.root_path, each.name) for each in served]
    return Several(apps)


def _word(collection: Collection) -> str:
    """The name of a collection's folder in letters, digits and dashes."""
    plain = unicodedata.normalize("NFKD", collection.path.resolve().parent.name).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-") or "collection"


def _unused(word: str, apps: Sequence[tuple[str, FastAPI]]) -> str:
    taken = {below.rpartition("/")[2] for below, _ in apps}
    return next(name for name in (word, *(f"{word}-{number}" for number in range(2, 1000))) if name not in taken)
