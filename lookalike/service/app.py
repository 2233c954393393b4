"""`create_app`: a collection as an ASGI application."""

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema
from starlette.middleware.cors import CORSMiddleware

from lookalike.collection.collection import Collection
from lookalike.service import errors, routes
from lookalike.service.alone import Alone
from lookalike.service.edge import Edge
from lookalike.service.errors import ErrorAnswer
from lookalike.service.models import (
    ApartBody,
    BatchBody,
    EmbedBody,
    FindBody,
    LoginBody,
    MarkBody,
    SearchBody,
    TrashBody,
)
from lookalike.service.served import Served, Shared
from lookalike.service.settings import Settings

BODIES = (
    SearchBody, BatchBody, EmbedBody, LoginBody, MarkBody, FindBody, ApartBody, TrashBody, ErrorAnswer,
)  # fmt: skip
VERSION = "1"
ABOUT = """Which images here look like this one?

Scores are cosines: higher is better, 1 is the same. Boxes are corners in pixels of the upright image. Every refusal is
`{"error": {"code", "message", "hint"}}`. Uploaded query images are not kept."""


def create_app(collection: Collection, settings: Settings | None = None, shared: Shared | None = None) -> FastAPI:
    """The HTTP service of one collection, which is loaded in the background once the application starts.

    Parameters
    ----------
    collection
        What is searched. The service closes what it opens of it; the caller closes the collection itself.
    settings
        Tokens, limits and what is allowed; by default, anybody may search and nothing may be changed.
    shared
        The limits that hold for this and other collections of the process together.

    Returns
    -------
    FastAPI
        `app.state.served` holds what all requests share. A server may listen at once; `/readyz` says when it is ready.

    Examples
    --------
    >>> app = create_app(lookalike.open("photos"), Settings(token="a token of sixteen letters"))
    """
    return application(Served(Alone(collection), settings or Settings(), shared))


def application(served: Served) -> FastAPI:
    """The service of what is served, whether it is one collection or several."""
    settings = served.settings

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        threading.Thread(target=served.load, name="lookalike-load", daemon=True).start()
        yield
        served.close()

    app = FastAPI(
        title="lookalike", version=VERSION, description=ABOUT, lifespan=lifespan, docs_url=None, redoc_url=None,
        redirect_slashes=False,
    )  # fmt: skip
    # Not as an argument: FastAPI warns of that, as a server may know the path too; this one takes it from Settings.
    app.root_path = settings.root_path
    app.state.served = served
    errors.install(app)
    routes.install(app)
    if settings.origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=list(settings.origins), allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type"], expose_headers=["Retry-After"], max_age=600,
        )  # fmt: skip
    app.add_middleware(Edge, settings=settings, metrics=served.metrics, state=served)
    app.openapi = lambda: _document(app)  # type: ignore[method-assign]
    return app


def _document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, with the bodies that routes parse themselves and the errors of each route."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes,
        )  # fmt: skip
        bodies = [(model, "validation") for model in BODIES]
        _, definitions = models_json_schema(bodies, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
        components = document.setdefault("components", {})
        components["schemas"] = {**components.get("schemas", {}), **definitions["$defs"]}
        for unused in ("HTTPValidationError", "ValidationError"):
            components["schemas"].pop(unused, None)
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"token": []}, {}]
        if app.root_path:
            document["servers"] = [{"url": app.root_path}]
        app.openapi_schema = document
    return app.openapi_schema
