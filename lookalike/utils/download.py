"""A URL to a file, over HTTP; the download is resumed where an earlier attempt or run stopped.

Weights and data sets come through `fetch`. A query image is small and stays in memory: it shares only `open_url`.
"""

import hashlib
import http.client
import logging
import ssl
import threading
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
"""The errors of `fetch` for faults of the network or the server; any other OSError is the disk's."""

log = logging.getLogger(__name__)


class TooLong(urllib.error.URLError):
    """More bytes than the caller admits; the bytes so far are removed."""


def fetch(
    url: str,
    file: Path,
    progress: Progress | None = None,
    headers: Mapping[str, str] | None = None,
    most: int | None = None,
) -> None:
    """Download `url` (http or https) to `file`, which exists only once it is whole; until then there is FILE.part.

    Nothing is fetched where `file` exists. `progress` counts bytes; more than `most` of them are refused. A connection
    that ends early is resumed, up to five times and as long as each attempt gets further. Raises `Failed`.
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
    """Append the missing bytes to `part`; returns whether it is complete."""
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
    """The length of the whole file in the server's answer; None where it is not stated."""
    length = response.headers.get("Content-Length")
    if response.status != 206:
        return int(length) if length else None
    start, _, whole = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
    if not start.startswith(f"{have}-"):
        raise http.client.HTTPException(f"asked for bytes from {have}, got {start or 'others'}")
    return int(whole) if whole.isdecimal() else None


def open_url(url: str, seconds: float, headers: Mapping[str, str] | None = None) -> http.client.HTTPResponse:
    """The response to a GET; `seconds` limits each wait. Raises OSError, ValueError or HTTPException."""
    request = urllib.request.Request(url, headers={"User-Agent": "lookalike", **(headers or {})})  # noqa: S310
    response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=seconds, context=_certificates())  # noqa: S310
    return response


def out_of_reach(url: str, seconds: float) -> str:
    """Why no server answers at `url`, decided within `seconds` in all; nothing where one answers, whatever it says.

    Looking up a name and trying each of its addresses have no common limit: they run in a thread that is left behind.
    """
    answers: list[str] = []

    def ask() -> None:
        try:
            request = urllib.request.Request(url, headers={"User-Agent": "lookalike"}, method="HEAD")  # noqa: S310
            with urllib.request.urlopen(request, timeout=seconds, context=_certificates()):  # noqa: S310
                answers.append("")
        except urllib.error.HTTPError as error:
            error.close()
            answers.append("")
        except (OSError, ValueError, http.client.HTTPException) as error:
            answers.append(" ".join(str(getattr(error, "reason", "") or error).split())[:80] or type(error).__name__)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return answers[0] if answers else f"no answer within {seconds:g} s"


def digest(file: Path, algorithm: str) -> str:
    """The checksum of a file in hexadecimal; MD5 detects damage, not forgery."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


@cache
def _certificates() -> ssl.SSLContext:
    """The system's certificates, and certifi's where it is installed: some Pythons have none."""
    context = ssl.create_default_context()
    if find_spec("certifi"):
        import certifi

        context.load_verify_locations(certifi.where())
    return context
