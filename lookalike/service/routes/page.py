"""The page with its tabs, their files, and the data of the map."""

import re
from pathlib import Path

from fastapi import APIRouter
from starlette.responses import Response

from lookalike.analysis import map as maps
from lookalike.service.edge import PAGE_POLICY
from lookalike.service.errors import json_response, not_found
from lookalike.service.mapping import Drawn
from lookalike.service.routes.common import Service
from lookalike.service.served import Served

router = APIRouter(include_in_schema=False)

TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".html": "text/html"}
# The page has a dozen modules; the browser checks each again.
CACHING = {"Cache-Control": "no-cache"}
KEPT = {"Cache-Control": "private, no-cache"}
PART = re.compile(rb"<!--(\w+)-->\n")


def _files() -> dict[str, bytes]:
    """Static files by their names, read at the start: no name of a request becomes a path.

    A page says `<!--header-->` where the file header.html goes.
    """
    folder = Path(__file__).parents[1] / "static"
    files = {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}
    files |= {name: maps.part(name).encode() for name in ("map.js", "map.css")}
    parts = {name: files[f"{name}.html"] for name in ("head", "header", "login")}
    return {name: PART.sub(lambda part: parts[part[1].decode()], data) for name, data in files.items()}


FILES = _files()


@router.get("/")
async def index() -> Response:
    """The page."""
    return _file("index.html", {"Content-Security-Policy": PAGE_POLICY})


@router.get("/duplicates")
async def duplicates() -> Response:
    """Groups of duplicates; its data comes from the API."""
    return _file("duplicates.html", {"Content-Security-Policy": PAGE_POLICY})


@router.get("/docs")
async def docs() -> Response:
    """The API, from its own description."""
    return _file("docs.html", {"Content-Security-Policy": PAGE_POLICY})


@router.get("/favicon.ico")
async def favicon() -> Response:
    """The icon that browsers request by themselves."""
    return _file("icon.svg")


@router.get("/static/{name}")
async def static(name: str) -> Response:
    """A script, a style or a picture of the page."""
    return _file(name)


@router.get("/map")
async def map_page() -> Response:
    """The map of the whole collection; what is on it comes from the addresses below."""
    return _file("map.html", {"Content-Security-Policy": PAGE_POLICY})


@router.get("/map/state")
async def map_state(served: Service) -> Response:
    """Which map there is, and how far a new one is; the first request begins it."""
    await served.require_engine()
    return json_response(await served.work.run(served.maps.state))


@router.get("/map/data")
async def map_data(served: Service, version: int) -> Response:
    """Where each picture lies on a map."""
    return Response(_drawn(served, version).data, headers=KEPT, media_type="application/json")


@router.get("/map/sheets/{number}")
async def map_sheet(served: Service, number: int, version: int) -> Response:
    """Many thumbnails in one picture."""
    sheets = _drawn(served, version).sheets
    if not 0 <= number < len(sheets):
        raise not_found("there is no such sheet")
    return Response(sheets[number], headers=KEPT, media_type="image/jpeg")


def _drawn(served: Served, version: int) -> Drawn:
    drawn = served.maps.drawn(version)
    if drawn is None:
        raise not_found("there is a newer map", "ask for its state")
    return drawn


def _file(name: str, headers: dict[str, str] | None = None) -> Response:
    data = FILES.get(name)
    if data is None:
        raise not_found("there is no such file")
    return Response(data, headers={**CACHING, **(headers or {})}, media_type=TYPES["." + name.rpartition(".")[2]])
