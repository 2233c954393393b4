"""A URL to a file, over HTTP, going on where an earlier attempt or an earlier run stopped."""

import http.client
import logging
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from lookalike.types import Progress

CHUNK = 1 << 20
TIMEOUT_SECONDS = 60
ATTEMPTS = 5
Dropped = (http.client.HTTPException, TimeoutError, ConnectionError)
Failed = (urllib.error.URLError, *Dropped)
"""What `fetch` raises where the network or the server is at fault; any other OSError is the disk's."""

log = logging.getLogger(__name__)


def fetch(url: str, file: Path, progress: Progress | None = None, headers: Mapping[str, str] | None = None) -> None:
    """`url` (http or https) to `file`, which is there only once it is whole; what has come so far is FILE.part.

    `progress` hears bytes. A connection that ends early is taken up again, up to five times and while it gets further.
    Raises `Failed`.
    """
    part = file.with_name(f"{file.name}.part")
    for attempt in range(1, ATTEMPTS + 1):
        before = _size(part)
        try:
            if _fetch_rest(url, part, progress, headers or {}):
                part.replace(file)
                return
            log.warning("%s: the connection ended early, going on", url)
        except Dropped as error:
            if attempt == ATTEMPTS or _size(part) == before:
                raise
            log.warning("%s: %s, going on", url, error)
    raise http.client.IncompleteRead(b"")


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _fetch_rest(url: str, part: Path, progress: Progress | None, headers: Mapping[str, str]) -> bool:
    """Append what is missing of `part`; whether it is complete."""
    have = _size(part)
    request = urllib.request.Request(url, headers={"User-Agent": "lookalike", **headers})  # noqa: S310 - as the caller says
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS, context=_certificates())  # noqa: S310
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416 and error.headers.get("Content-Range") == f"bytes */{have}":
                return True
            if error.code == 416:
                part.unlink()
                return False
        raise
    with response:
        total = _total(response, have)
        mode = "ab" if response.status == 206 else "wb"
        have = have if response.status == 206 else 0
        with part.open(mode) as file:
            while chunk := response.read(CHUNK):
                file.write(chunk)
                have += len(chunk)
                if progress:
                    progress(have, total)
    return total is None or have == total


def _total(response: http.client.HTTPResponse, have: int) -> int | None:
    """The length of the whole file, as the server says it."""
    length = response.headers.get("Content-Length")
    if response.status != 206:
        return int(length) if length else None
    start, _, whole = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
    if not start.startswith(f"{have}-"):
        raise http.client.HTTPException(f"asked for bytes from {have}, got {start or 'others'}")
    return int(whole) if whole.isdecimal() else None


@cache
def _certificates() -> ssl.SSLContext:
    """The system's certificates, and certifi's where it is installed: some Pythons come without any."""
    context = ssl.create_default_context()
    if find_spec("certifi"):
        import certifi

        context.load_verify_locations(certifi.where())
    return context
