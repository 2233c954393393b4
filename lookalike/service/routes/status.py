"""What is served, and the state of the service."""

import asyncio

from fastapi import APIRouter, Request
from starlette.responses import PlainTextResponse, Response

from lookalike.collection.collection import Collection
from lookalike.service import tokens
from lookalike.service.answers import encoder_names, together
from lookalike.service.bodies import kind
from lookalike.service.errors import ApiError, json_response, responses, try_later
from lookalike.service.models import About, AllServed, Facets, LoginBody, State
from lookalike.service.queries import methods
from lookalike.service.routes.common import Service, body_of, json_only
from lookalike.service.settings import Settings

router = APIRouter(tags=["service"])

LOGIN_BYTES = 16 * 1024
"""Enough for the longest token, however its letters are escaped."""
METRICS = "text/plain; version=0.0.4; charset=utf-8"


@router.get("/healthz", response_model=State)
async def healthz() -> Response:
    """Whether the process is alive."""
    return json_response({"status": "ok"})


@router.get("/readyz", response_model=State, responses={503: responses()[503]})
async def readyz(served: Service) -> Response:
    """Whether to send requests here: not while it loads, its search server is silent, or it ends."""
    if served.is_draining:
        raise try_later("draining", "this process is about to end")
    if served.reason_not_ready:
        raise try_later("loading", served.reason_not_ready)
    await served.require_engine()
    return json_response({"status": "ready"})


@router.get(
    "/metrics",
    response_class=PlainTextResponse,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, 401: responses()[401]},
)
async def metrics(served: Service) -> Response:
    """Counters and histograms for Prometheus: requests by route, and seconds in decode, encode, search and rerank."""
    # Counting images may wait for a disk or a search server: never on the event loop, and in one thread at a time.
    async with served.scraping:
        text = await asyncio.to_thread(served.metrics.text)
    return Response(text, headers={"Content-Type": METRICS})


@router.get("/v1/collection", response_model=About, responses=responses())
async def about(served: Service) -> Response:
    """What is served, and what requests may ask of it."""
    facts = await served.pictures.run(lambda: _facts(served))
    return json_response(facts)


@router.get("/v1/collections", response_model=AllServed, responses=responses())
async def collections(served: Service) -> Response:
    """The collections that this service serves; each has this API below its own path."""
    own, together = served.settings.root_path, served.all_path
    entries = [
        {"name": each.name, "path": f"{each.path}/", "is_this": each.path == own, "key_prefix": each.key_prefix}
        for each in served.siblings
    ]
    all_of_them = None if together is None else {"path": f"{together}/", "is_this": together == own}
    return json_response({"collections": entries, "all": all_of_them})


@router.get("/v1/facets", response_model=Facets, responses=responses())
async def facets(served: Service) -> Response:
    """Columns and facts with their commonest values, each as a test for `where`; none of very large collections."""
    counted = await served.pictures.run(lambda: _facets(served))
    return json_response({"facets": counted})


def _facets(served: Service) -> list[dict[str, object]]:
    collection = served.collection
    prefixes = [""] if isinstance(collection, Collection) else [f"{name}/" for name in collection.collections]
    return served.facets.of(collection.gallery, prefixes)


def _facts(served: Service) -> dict[str, object]:
    collection, settings = served.collection, served.settings
    header, encoders = collection.gallery.stores[0].header, [space.encoder() for space in served.subject.spaces()]
    return {
        "name": served.subject.name,
        "images": len(collection),
        "encoder": encoder_names(collection),
        "dim": header.dim,
        "fingerprint": header.fingerprint,
        "reads_text": collection.reads_text,
        "allow_urls": settings.allow_urls,
        "writable": settings.writable,
        "can_learn": settings.writable and not header.engine,
        "rerankers": methods(encoders),
        "limits": _limits(settings),
        "names": list(served.subject.names),
        **together(collection),
    }


def _limits(settings: Settings) -> dict[str, int]:
    return {
        "upload_bytes": settings.limits.bytes,
        "pixels": settings.limits.pixels,
        "files": settings.files,
        "k": settings.k,
        "depth": settings.depth,
        "searches": settings.searches,
    }


@router.post(
    "/v1/login",
    status_code=204,
    response_class=Response,
    responses={204: {"description": "The cookie is set."}, **responses(413, 415, 422)},
    openapi_extra=json_only(LoginBody),
)
async def login(request: Request, served: Service) -> Response:
    """For the page: a token for a cookie that no script can read, so that the browser can load pictures."""
    if kind(request) != "json":
        raise ApiError(415, "content_type", "a login is JSON", "send application/json")
    with body_of(request, served) as body:
        candidate = (await body.json(LoginBody, LOGIN_BYTES)).token
    settings = served.settings
    token = settings.token
    if token is not None and not tokens.matches(token, candidate):
        raise ApiError(401, "unauthorized", "that is not the token", "it was set when the service was started")
    cookie = (
        {
            "Set-Cookie": tokens.set_cookie(
                token, request.url.scheme == "https", settings.cookie_path or f"{settings.root_path}/"
            )
        }
        if token
        else {}
    )
    return Response(status_code=204, headers=cookie)
