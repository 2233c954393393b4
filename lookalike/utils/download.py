"""A URL to a file, over HTTP, going on where an earlier attempt or an earlier run stopped.

Weights and data sets come through `fetch`. A query image is small and stays in memory: it shares only `open_url`.
"""

import hashlib
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


class TooLong(urllib.error.URLError):
    """More bytes than the caller takes; what had come of them is removed."""


def fetch(
    url: str,
    file: Path,
    progress: Progress | None = None,
    headers: Mapping[str, str] | None = None,
    most: int | None = None,
) -> None:
    """`url` (http or https) to `file`, which is there only once it is whole; what has come so far is FILE.part.

    Nothing is fetched where `file` is there already. `progress` hears bytes; there may be `most` of them. A connection
    that ends early is taken up again, up to five times and while it gets further. Raises `Failed`.
    """
    if file.exists():
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f"{file.name}.part")
    for attempt in range(1, ATTEMPTS + 1):
        before = _size(part)
        try:
            if _fetch_rest(url, part, progress, headers or {}, most):
                part.replace(file)
                return
            log.warning("%s: the connection ended early, going on", url)
        except Dropped as error:
            if attempt == ATTEMPTS or _size(part) == before:
                raise
            log.warning("%s: %s, going on", url, error)
        except TooLong:
            part.unlink(missing_ok=True)
            raise
    raise http.client.IncompleteRead(b"")


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _fetch_rest(url: str, part: Path, progress: Progress | None, headers: Mapping[str, str], most: int | None) -> bool:
    """Append what is missing of `part`; whether it is complete."""
    have = _size(part)
    try:
        response = open_url(url, TIMEOUT_SECONDS, {**headers, "Range": f"bytes={have}-"} if have else headers)
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
        _within(most, total)
        with part.open(mode) as file:
            while chunk := response.read(CHUNK):
                have += len(chunk)
                _within(most, have)
                file.write(chunk)
                if progress:
                    progress(have, total)
    return total is None or have == total


def _within(most: int | None, size: int | None) -> None:
    if most is not None and size is not None and size > most:
        raise TooLong(f"more than {most:,} bytes")


def _total(response: http.client.HTTPResponse, have: int) -> int | None:
    """The length of the whole file, as the server says it."""
    length = response.headers.get("Content-Length")
    if response.status != 206:
        return int(length) if length else None
    start, _, whole = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
    if not start.startswith(f"{have}-"):
        raise http.client.HTTPException(f"asked for bytes from {have}, got {start or 'others'}")
    return int(whole) if whole.isdecimal() else None


def open_url(url: str, seconds: float, headers: Mapping[str, str] | None = None) -> http.client.HTTPResponse:
    """The answer to a GET, within so many seconds for each wait; raises OSError, ValueError or HTTPException."""
    request = urllib.request.Request(url, headers={"User-Agent": "lookalike", **(headers or {})})  # noqa: S310
    response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=seconds, context=_certificates())  # noqa: S310
    return response


def digest(file: Path, algorithm: str) -> str:
    """The checksum of a file in hexadecimal, against damage and not against forgery where the algorithm is MD5."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


@cache
def _certificates() -> ssl.SSLContext:
    """The system's certificates, and certifi's where it is installed: some Pythons come without any."""
    context = ssl.create_default_context()
    if find_spec("certifi"):
        import certifi

        context.load_verify_locations(certifi.where())
    return context
