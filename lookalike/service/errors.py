"""Every refusal as one JSON shape: {"error": {"code", "message", "hint"}}."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from lookalike.errors import CollectionLocked, ImageError, LookalikeError, QueryError
from lookalike.utils.wording import wording

log = logging.getLogger(__name__)

RETRY_SECONDS = 2
KINDS = ("By", "list[")
"""How pydantic names the kinds of a query: one of several models, or a list of them."""
TEXTS = {
    400: "The request makes no sense, or did not arrive whole.",
    401: "A token is wanted.",
    404: "There is no such thing.",
    405: "Not a method of this address.",
    413: "Too large: a body, an image in bytes or in pixels.",
    415: "Neither JSON nor a form, or no image of a format that is read.",
    422: "Understood, but some value in it cannot be used.",
    429: "Too many requests at once; come back after Retry-After seconds.",
    503: "Loading, shutting down, or busy with something that excludes this; come back after Retry-After seconds.",
}


class Problem(BaseModel):
    """Why a request was refused: `code` for programs, `message` for people, `hint` says what to do."""

    code: str
    message: str
    hint: str


class ErrorAnswer(BaseModel):
    """The body of every answer that is not a success."""

    error: Problem


@dataclass
class ApiError(Exception):
    """A refusal with its status; `headers` are sent with it."""

    status: int
    code: str
    message: str
    hint: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    def response(self) -> Response:
        """The refusal as an HTTP response."""
        body = {"error": {"code": self.code, "message": self.message, "hint": self.hint}}
        return json_response(body, self.status, self.headers)


def not_found(what: str, hint: str = "") -> ApiError:
    """A 404."""
    return ApiError(404, "not_found", what, hint)


def try_later(code: str, message: str, seconds: int = RETRY_SECONDS) -> ApiError:
    """A 503 with Retry-After."""
    return ApiError(503, code, message, "try again later", {"Retry-After": str(seconds)})


def json_response(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """One JSON document, in ASCII as names of files may hold anything, and without NaN."""
    body = json.dumps(content, separators=(",", ":"), allow_nan=False)
    return Response(body, status, headers, "application/json")


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI entries of these refusals, and of 400, 401, 422, 429 and 503, which any route may give."""
    return {status: _documented(status) for status in sorted({400, 401, 422, 429, 503, *statuses})}


def _documented(status: int) -> dict[str, Any]:
    # Written out: FastAPI leaves the schema out where a route answers with pictures.
    schema = {"$ref": f"#/components/schemas/{ErrorAnswer.__name__}"}
    content = {"application/json": {"schema": schema, "example": EXAMPLES[status].as_json()}}
    entry: dict[str, Any] = {"description": TEXTS[status], "content": content}
    if status in (429, 503):
        entry["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "seconds"}}
    return entry


@dataclass(frozen=True)
class _Example:
    code: str
    message: str
    hint: str

    def as_json(self) -> dict[str, Any]:
        return {"error": {"code": self.code, "message": self.message, "hint": self.hint}}


EXAMPLES = {
    400: _Example("bad_json", "the body is not JSON: expected value at line 1 column 1", "send one JSON object"),
    401: _Example("unauthorized", "this service wants a token", "send Authorization: Bearer TOKEN"),
    404: _Example("not_found", "there is no item 'YS5qcGc'", "ids are those in search results"),
    413: _Example("too_large", "the body is over 20.0 MiB", "send a smaller image"),
    415: _Example("not_an_image", "file: not an image", "send JPEG, PNG, WebP, GIF, TIFF, BMP or AVIF"),
    422: _Example("invalid", "k: Input should be greater than or equal to 1", "see /openapi.json"),
    429: _Example("busy", "128 requests are waiting already", "try again after 2 seconds"),
    503: _Example("loading", "the collection is being loaded", "try again later"),
}


def of_library(error: LookalikeError) -> ApiError:
    """A refusal of the library as one of the service."""
    if isinstance(error, ImageError):
        return of_image("the image", error)
    if isinstance(error, QueryError):
        # It may repeat a part of the request.
        return ApiError(422, "query", printable(str(error)), "see /openapi.json for what a query may be")
    if isinstance(error, CollectionLocked):
        return try_later("locked", "the collection is being written to by another process")
    # The message may name paths of this machine, which must not be sent.
    log.error("%s", error)
    return try_later("collection", "the collection cannot answer at the moment")


def of_image(name: str, error: ImageError) -> ApiError:
    """An image that cannot be used: too large (413), of no format that is read (415), or damaged (422)."""
    reason = str(error)
    if "over the limit" in reason or "too large" in reason:
        return ApiError(413, "too_large", f"{name}: {reason}", "send a smaller image")
    if reason in ("not an image", "empty file") or "unsupported" in reason or "needs `pip" in reason:
        hint = "send JPEG, PNG, WebP, GIF, TIFF, BMP, AVIF, JPEG 2000 or QOI"
        return ApiError(415, "not_an_image", f"{name}: {reason.partition(' needs `pip')[0]}", hint)
    return ApiError(422, "bad_image", f"{name}: {reason}", "the file is damaged; try another copy")


def of_validation(errors: Any) -> ApiError:
    """The first error of pydantic; a list of all would repeat the request."""
    each = list(errors) or [{"loc": (), "type": "invalid", "msg": "something else"}]
    first = next((error for error in each if not _is_of_another_kind(error)), each[0])
    where = ".".join(_named(first["loc"]))
    if first.get("type") == "json_invalid":
        return ApiError(400, "bad_json", f"the body is not JSON: {first['msg']}", "send one JSON object")
    message = f"{where}: {wording(first)}" if where else wording(first)
    return ApiError(422, "invalid", printable(message)[:300], "see /openapi.json")


def _is_of_another_kind(error: Any) -> bool:
    """Whether an error may only say that a query is not of that kind: it lacks fields, has others, or is no list."""
    is_single = error["type"] == "list_type" and isinstance(error["input"], dict)
    return is_single or error["type"] in ("missing", "extra_forbidden")


def _named(place: Sequence[str | int]) -> list[str]:
    """Where a value stands in a request, without what FastAPI and pydantic add: body, path, query, kinds of query."""
    is_parameter = len(place) > 1 and not str(place[1]).startswith(KINDS)
    start = 1 if place[:1] in (("body",), ("path",)) or (place[:1] == ("query",) and is_parameter) else 0
    return [str(part) for part in place[start:] if not str(part).startswith(KINDS)]


def printable(text: str) -> str:
    """Text without control characters and what else is invisible in a terminal or a page."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def install(app: FastAPI) -> None:
    """Make every exception of a route a response of that shape."""

    async def api(_: Request, error: Exception) -> Response:
        assert isinstance(error, ApiError)
        return error.response()

    async def library(_: Request, error: Exception) -> Response:
        assert isinstance(error, LookalikeError)
        return of_library(error).response()

    async def validation(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError | ValidationError)
        return of_validation(error.errors()).response()

    async def http(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        codes = {404: "not_found", 405: "method_not_allowed"}
        message = printable(str(error.detail)).lower()
        headers = dict(error.headers or {})
        status = error.status_code
        return ApiError(status, codes.get(status, "bad_request"), message, "see /openapi.json", headers).response()

    async def gone(_: Request, __: Exception) -> Response:
        return ApiError(400, "disconnected", "the request did not arrive whole").response()

    app.add_exception_handler(ApiError, api)
    app.add_exception_handler(LookalikeError, library)
    app.add_exception_handler(RequestValidationError, validation)
    app.add_exception_handler(ValidationError, validation)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(ClientDisconnect, gone)


def internal() -> Response:
    """The 500 for an error of the service itself, which is in the log."""
    return json_response({"error": {"code": "internal", "message": "something went wrong here", "hint": ""}}, 500)
