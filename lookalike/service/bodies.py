"""The body of a request, within limits that are checked while it arrives, whatever its headers say."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic import BaseModel
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.requests import ClientDisconnect, Request

from lookalike.service.errors import ApiError, printable
from lookalike.service.settings import MIB, Settings

BodyModel = TypeVar("BodyModel", bound=BaseModel)

FIELDS = 64
FIELD_BYTES = 256 * 1024
SMALL_FORM = 64 * 1024
LINGER_SECONDS = 3.0
"""How long the rest of a body that is too long is read and dropped, so that its sender reads the refusal."""


class Buffered:
    """Counts the bytes of bodies in memory, over all requests; those of a request are released when it ends."""

    def __init__(self, most: int) -> None:
        self._most, self.in_use = most, 0

    def take(self, count: int) -> None:
        """Count `count` bytes; raises ApiError 429 where these are too many."""
        if self.in_use + count > self._most:
            raise ApiError(
                429, "busy", "too many uploads are under way", "try again after 2 seconds", {"Retry-After": "2"}
            )
        self.in_use += count

    def give_back(self, count: int) -> None:
        """Release bytes that `take` counted."""
        self.in_use -= count


@dataclass
class Body:
    """Reads the body of one request; a context manager, which counts the bytes in memory until it is left."""

    request: Request
    settings: Settings
    buffered: Buffered
    _taken: int = 0
    _deadline: float = 0.0
    _ended: bool = False

    def __enter__(self) -> "Body":
        self._deadline = time.monotonic() + self.settings.body_seconds
        return self

    def __exit__(self, *_: object) -> None:
        self.buffered.give_back(self._taken)

    async def json(self, model: type[BodyModel], most: int | None = None) -> BodyModel:
        """A JSON body as `model`, of at most `most` bytes; pydantic's errors become 400 and 422."""
        data = await self.read(self.settings.json_bytes if most is None else most)
        if not data.strip():
            raise ApiError(400, "bad_json", "the body is empty", "send one JSON object")
        return model.model_validate_json(data)

    async def form(self) -> "Form":
        """A multipart body, parsed in memory; nothing of it is written to disk."""
        data = await self.read(self.settings.upload_bytes())
        arguments = self.request.headers.get("content-type", ""), data, self.settings.files
        # A hostile form takes seconds to parse; a thread costs as much as parsing a small one.
        return parse_form(*arguments) if len(data) <= SMALL_FORM else await asyncio.to_thread(parse_form, *arguments)

    async def read(self, most: int) -> bytes:
        """The whole body, at most `most` bytes; raises ApiError 413 for more, 400 for one that is slow or cut off."""
        try:
            # A length that is no number, or too large, is refused before reading.
            promised = int(self.request.headers.get("content-length", "0"))
        except ValueError as error:
            raise ApiError(400, "bad_length", "Content-Length is no number") from error
        parts: list[bytes] = []
        received = 0
        while chunk := await self._next():
            received += len(chunk)
            if received > most or promised > most:
                parts.clear()
                await self._linger()
                limit = f"{most / MIB:.1f} MiB" if most >= MIB else f"{most:,} bytes"
                close = {"Connection": "close"}
                raise ApiError(413, "too_large", f"the body is over {limit}", f"send at most {limit}", close)
            self.hold(len(chunk))
            parts.append(chunk)
        return b"".join(parts)

    def hold(self, count: int) -> None:
        """Count further bytes that stay in memory until the request ends, as of its URLs; raises ApiError 429."""
        self.buffered.take(count)
        self._taken += count

    async def _next(self) -> bytes:
        """The next part of the body; empty at its end."""
        while not self._ended:
            left = min(self.settings.idle_seconds, self._deadline - time.monotonic())
            try:
                message = await asyncio.wait_for(self.request.receive(), max(0.0, left))
            except TimeoutError as error:
                hint = f"send it within {self.settings.body_seconds:g} seconds, and without long pauses"
                raise ApiError(400, "slow_body", "the body came too slowly", hint, {"Connection": "close"}) from error
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            self._ended = not message.get("more_body", False)
            if body := message.get("body", b""):
                return bytes(body)
        return b""

    async def _linger(self) -> None:
        self._deadline = time.monotonic() + LINGER_SECONDS
        try:
            while await self._next():
                pass
        except (ApiError, ClientDisconnect):
            return


@dataclass
class Upload:
    """One file of a form; its name is used in messages only, never as a path."""

    field: str
    name: str
    data: bytes


@dataclass
class Form:
    """The fields and files of a form, in their order."""

    fields: list[tuple[str, str]] = field(default_factory=list)
    files: list[Upload] = field(default_factory=list)

    def text(self, name: str) -> str | None:
        """The last value of a field."""
        return next((value for key, value in reversed(self.fields) if key == name), None)

    def of(self, name: str) -> list[Upload]:
        """The files of a field; the empty part that a browser sends where no file was chosen is not one."""
        return [file for file in self.files if file.field == name and (file.name or file.data)]

    def one_file(self, name: str = "file") -> Upload:
        """The only file of a field; raises ApiError."""
        uploads = self.of(name)
        if len(uploads) != 1:
            message = f"{name}: one image is wanted, not {len(uploads)}"
            raise ApiError(422, "invalid", message, "send a form with a file")
        return uploads[0]


def kind(request: Request) -> str:
    """ "json" or "form", by the content type; raises ApiError 415 for any other."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == "multipart/form-data":
        return "form"
    if media_type == "application/json":
        return "json"
    raise ApiError(
        415, "content_type", f"{printable(media_type)[:80] or 'no content type'}: neither JSON nor a form",
        "send application/json or multipart/form-data",
    )  # fmt: skip


def parse_form(content_type: str, data: bytes, most_files: int) -> Form:
    """multipart/form-data to its fields and files; raises ApiError 400, 413 and 422."""
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if not boundary:
        raise ApiError(400, "bad_form", "the form has no boundary", "let the client make the Content-Type header")
    parts = _Parts(most_files)
    try:
        parser = MultipartParser(boundary, parts.callbacks())  # type: ignore[arg-type]
        parser.write(data)
        parser.finalize()
    except FormParserError as error:
        raise ApiError(400, "bad_form", f"the form is damaged: {printable(str(error))[:120]}") from error
    if not parts.is_complete:
        raise ApiError(400, "bad_form", "the form ends too early", "send the whole body")
    return parts.form


class _Parts:
    """Collects what the parser reports by callbacks; the parser itself limits the headers of each part."""

    def __init__(self, most_files: int) -> None:
        self.form, self.is_complete, self._most_files = Form(), False, most_files
        self._name = self._value = b""
        self._headers: dict[bytes, bytes] = {}
        self._pieces: list[bytes] = []

    def callbacks(self) -> dict[str, object]:
        return {
            "on_part_begin": self._begin, "on_part_data": self._data, "on_part_end": self._end, "on_end": self._done,
            "on_header_field": self._field, "on_header_value": self._header_value, "on_header_end": self._header_end,
        }  # fmt: skip

    def _begin(self) -> None:
        self._headers, self._pieces, self._name, self._value = {}, [], b"", b""

    def _field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._pieces.append(data[start:end])

    def _done(self) -> None:
        self.is_complete = True

    def _end(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        name, value = options.get(b"name"), b"".join(self._pieces)
        if name is None:
            raise ApiError(400, "bad_form", "a part of the form has no name", "give every field a name")
        field_name = name.decode("utf-8", "replace")
        if b"filename" in options:
            self.form.files.append(Upload(field_name, options[b"filename"].decode("utf-8", "replace"), value))
            if len(self.form.files) > self._most_files:
                raise ApiError(413, "too_many", f"over {self._most_files} files in one form", "send fewer")
            return
        self.form.fields.append((field_name, value.decode("utf-8", "replace")))
        if len(self.form.fields) > FIELDS or len(value) > FIELD_BYTES:
            raise ApiError(413, "too_large", "a field of the form is too long, or there are too many", "send less")
