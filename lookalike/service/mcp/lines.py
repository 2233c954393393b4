"""The lines of stdin to messages of the protocol; a line that is none is answered, where the SDK would pass over it."""

from types import TracebackType

import anyio
from mcp.shared._stream_protocols import ReadStream, WriteStream
from mcp.shared.message import SessionMessage
from mcp_types import INVALID_REQUEST, PARSE_ERROR, ErrorData, JSONRPCError
from pydantic import ValidationError

Incoming = ReadStream[SessionMessage | Exception]


class Messages:
    """A stream of messages; what could not be read as one gets an error with the id null, as JSON-RPC 2.0 wants it."""

    def __init__(self, incoming: Incoming, outgoing: WriteStream[SessionMessage]) -> None:
        self._incoming, self._outgoing = incoming, outgoing

    async def receive(self) -> SessionMessage | Exception:
        """The next message."""
        while True:
            item = await self._incoming.receive()
            if not isinstance(item, Exception):
                return item
            if answer := refusal(item):
                await self._outgoing.send(SessionMessage(answer))

    async def aclose(self) -> None:
        """Close the stream behind it."""
        await self._incoming.aclose()

    def __aiter__(self) -> "Messages":
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> "Messages":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def refusal(error: Exception) -> JSONRPCError | None:
    """The answer to a line that is not JSON, or no message; None for an empty line."""
    first = error.errors()[0] if isinstance(error, ValidationError) else {"type": "", "input": ""}
    is_text = first["type"] == "json_invalid"
    if is_text and not str(first["input"]).strip():
        return None
    code, why = (PARSE_ERROR, "the line is not JSON") if is_text else (INVALID_REQUEST, "no message of JSON-RPC 2.0")
    return JSONRPCError(jsonrpc="2.0", id=None, error=ErrorData(code=code, message=f"{why}; send one object a line"))
