"""The page, its files, and the map."""

import re
from pathlib import Path

from fastapi import APIRouter
from starlette.responses import HTMLResponse, Response

from lookalike.service.edge import PAGE_POLICY
from lookalike.service.errors import not_found
from lookalike.service.mapping import policy
from lookalike.service.routes.common import Service

router = APIRouter(include_in_schema=False)

TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".html": "text/html"}
# The page has a dozen modules; the browser checks each again.
CACHING = {"Cache-Control": "no-cache"}
WAITING = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Map</title><link rel="stylesheet" href="static/style.css"><body class="waiting"><main>
<h1>The map is being made</h1><p>This page shows it as soon as it is there.</p>
<p><a href="./">Back to the search</a></p>
</main></body></html>"""


PART = re.compile(rb"<!--(\w+)-->\n")


def _files() -> dict[str, bytes]:
    """Static files by their names, read at the start: no name of a request becomes a path.

    A page says `<!--header-->` where the file header.html goes.
    """
    folder = Path(__file__).parents[1] / "static"
    files = {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}
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


@router.get("/favicon.ico")
async def favicon() -> Response:
    """The icon that browsers request by themselves."""
    return _file("icon.svg")


@router.get("/static/{name}")
async def static(name: str) -> Response:
    """A script, a style or a picture of the page."""
    return _file(name)


@router.get("/map")
async def map_page(served: Service) -> Response:
    """The map of the whole collection; while it is rendered, a page that waits for it."""
    await served.require_engine()
    page = await served.work.run(served.maps.page)
    if page is None:
        return HTMLResponse(WAITING, headers={"Refresh": "2", "Content-Security-Policy": PAGE_POLICY})
    return HTMLResponse(page, headers={"Content-Security-Policy": policy(page)})


def _file(name: str, headers: dict[str, str] | None = None) -> Response:
    data = FILES.get(name)
    if data is None:
        raise not_found("there is no such file")
    return Response(data, headers={**CACHING, **(headers or {})}, media_type=TYPES["." + name.rpartition(".")[2]])
