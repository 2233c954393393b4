"""The protocol's own client, as an assistant has it, with the command as a process of its own behind it."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anyio.from_thread import BlockingPortal, start_blocking_portal
from mcp import Client, StdioServerParameters, stdio_client

from tests.support import ROOT


@dataclass
class Assistant:
    """A client of the command; `errors` is what the command wrote on stderr."""

    portal: BlockingPortal
    client: Client
    errors: Path

    def ask(self, tool: str, **arguments: Any) -> Any:
        """The result of a tool, as the client has it."""
        return self.portal.call(self.client.call_tool, tool, arguments)

    def answer(self, tool: str, **arguments: Any) -> Any:
        """The document of an answer."""
        result = self.ask(tool, **arguments)
        assert not result.is_error, result.structured_content
        return result.structured_content

    def refusal(self, tool: str, **arguments: Any) -> dict[str, str]:
        """The error of an answer."""
        result = self.ask(tool, **arguments)
        assert result.is_error, result.structured_content
        error: dict[str, str] = result.structured_content["error"]
        return error

    def keys(self, tool: str, **arguments: Any) -> list[str]:
        return [result["key"] for result in self.answer(tool, **arguments)["results"]]


@contextmanager
def assistant(
    place: Path, *words: str | Path, watching: Path | None = None, before: Sequence[str] = ()
) -> Iterator[Assistant]:
    """`lookalike mcp` with these words, until the block ends; `place` gets a file of its stderr.

    A module sitecustomize in `watching` runs in the process, and may write to the file sockets in `place`. The words of
    `before` come before the command.
    """
    path = os.pathsep.join(map(str, [watching, ROOT] if watching else [ROOT]))
    environment = {**os.environ, "PYTHONPATH": path, "SOCKETS": str(place / "sockets")}
    program = [*before, sys.executable, "-m", "lookalike", "mcp", *map(str, words)]
    command = StdioServerParameters(command=program[0], args=program[1:], env=environment)
    errors = place / "stderr"
    with errors.open("w") as file, start_blocking_portal() as portal:
        client = Client(stdio_client(command, errlog=file))
        with portal.wrap_async_context_manager(client):
            yield Assistant(portal, client, errors)
