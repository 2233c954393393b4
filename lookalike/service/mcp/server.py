"""The tools and resources as a server of the protocol, on stdin and stdout until stdin ends."""

import asyncio
import base64
import json
from typing import Any

import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPError
from pydantic import BaseModel, ValidationError

from lookalike.errors import LookalikeError
from lookalike.search.rerank import RERANKERS
from lookalike.service.errors import ApiError, of_library, of_validation
from lookalike.service.ids import key_text, to_id
from lookalike.service.mcp import tools
from lookalike.service.mcp.lines import Messages
from lookalike.service.mcp.models import CollectionsInput, OfCollection
from lookalike.service.mcp.shelf import Shelf
from lookalike.service.mcp.tools import TOOLS, Answer, Tool
from lookalike.service.mcp.uris import MIME, SCHEME, TEMPLATE, of_uri, to_uri
from lookalike.service.routes.items import encoded
from lookalike.service.served import Served
from lookalike.storage.features import KEEPS
from lookalike.storage.photo_facts import NAMES

ABOUT = f"""Collections of images that are searched by how they look. `collections` says what there is. Results have a
key, which other tools and the resources {TEMPLATE} take. `where` tests columns of the collection and what photos say of
themselves ({", ".join(NAMES)}), as in: taken >= 2019-07 and camera = "nikon*" and key:trips/*. `rerank` takes
{", ".join(RERANKERS)}, with parameters as in spatial,top=50. Nothing can be changed from here."""
COLLECTIONS = (
    "List the collections: names, numbers of images, whether words can be searched, folders that paths may name."
)
PAGE = 100
"""Resources that are listed at once."""
LARGE = 1600
"""The longer side of a resource."""
INVALID, NO_RESOURCE = -32602, -32002
"""Codes of the protocol."""
Context = Any
"""What the library knows of a request; nothing of it is needed."""


def create_server(shelf: Shelf, version: str) -> Server[Any]:
    """A server of the protocol for these collections."""
    doors = _Doors(shelf)
    return Server(
        "lookalike",
        version=version,
        instructions=" ".join(ABOUT.split()),
        on_list_tools=doors.list_tools,
        on_call_tool=doors.call_tool,
        on_list_resources=doors.list_resources,
        on_list_resource_templates=doors.list_templates,
        on_read_resource=doors.read_resource,
    )


async def serve(shelf: Shelf, version: str) -> None:
    """Answer until stdin ends."""
    server = create_server(shelf, version)
    try:
        async with stdio_server() as (incoming, outgoing):
            await server.run(Messages(incoming, outgoing), outgoing, server.create_initialization_options())
    finally:
        shelf.close()


class _Doors:
    """The requests of the protocol, each answered by a thread of its collection."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    async def list_tools(self, _: Context, __: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        others = [_described(name, tool.text, tool.arguments) for name, tool in TOOLS.items()]
        return types.ListToolsResult(tools=[_described("collections", COLLECTIONS, CollectionsInput), *others])

    async def call_tool(self, _: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        name = params.name
        if name != "collections" and name not in TOOLS:
            raise MCPError(INVALID, f"there is no tool {name[:80]!a}")
        try:
            return _result(await self._answer(name, params.arguments or {}))
        except ValidationError as error:
            return _refusal(of_validation(error.errors(include_url=False)))
        except ApiError as error:
            return _refusal(error)
        except LookalikeError as error:
            return _refusal(of_library(error))

    async def _answer(self, name: str, values: dict[str, Any]) -> Answer:
        if name == "collections":
            CollectionsInput.model_validate(values)
            return await asyncio.to_thread(tools.collections, self._shelf)
        tool: Tool = TOOLS[name]
        arguments: OfCollection = tool.arguments.model_validate(values)
        served = await self._loaded(arguments.collection)
        return await served.work.run(lambda: _without_traces(tool, served, arguments), tool.is_heavy(arguments))

    async def _loaded(self, name: str | None) -> Served:
        served = self._shelf.named(name)
        await asyncio.to_thread(self._shelf.load, served)
        await served.require_engine()
        return served

    async def list_resources(
        self, _: Context, params: types.PaginatedRequestParams | None
    ) -> types.ListResourcesResult:
        cursor = params.cursor if params else None
        listed, following = await asyncio.to_thread(self._page, cursor)
        return types.ListResourcesResult(resources=listed, next_cursor=following)

    def _page(self, cursor: str | None) -> tuple[list[types.Resource], str | None]:
        """Images from a place on, which is the number of a collection and a row in it; and the next place."""
        number, row = _place(cursor, len(self._shelf.collections))
        name, collection = list(self._shelf.collections.items())[number]
        items = collection.store.catalog.live_items_from(row, PAGE)
        resources = [
            types.Resource(name=key_text(item.key), uri=to_uri(name, item.key), mime_type=MIME) for item in items
        ]
        if len(items) == PAGE:
            return resources, f"{number}:{items[-1].row + 1}"
        return resources, f"{number + 1}:0" if number + 1 < len(self._shelf.collections) else None

    async def list_templates(
        self, _: Context, __: types.PaginatedRequestParams | None
    ) -> types.ListResourceTemplatesResult:
        template = types.ResourceTemplate(
            name="image", uri_template=TEMPLATE, mime_type=MIME, description="An image of a collection, by its key."
        )
        return types.ListResourceTemplatesResult(resource_templates=[template])

    async def read_resource(self, _: Context, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        try:
            name, key = of_uri(params.uri)
            served = await self._loaded(name)
            picture = await served.work.run(lambda: encoded(served, served.item(to_id(key)), LARGE))
        except ApiError as error:
            raise MCPError(NO_RESOURCE, error.message) from error
        except LookalikeError as error:
            raise MCPError(NO_RESOURCE, of_library(error).message) from error
        contents = types.BlobResourceContents(uri=params.uri, mime_type=MIME, blob=_base64(picture))
        return types.ReadResourceResult(contents=[contents])


def _without_traces(tool: Tool, served: Served, arguments: OfCollection) -> Answer:
    """The answer of a tool, which writes not even what would make the next one quicker."""
    token = KEEPS.set(False)
    try:
        return tool.call(served, arguments)
    finally:
        KEEPS.reset(token)


def _described(name: str, text: str, arguments: type[BaseModel]) -> types.Tool:
    hints = types.ToolAnnotations(
        read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
    )
    return types.Tool(name=name, description=text, input_schema=arguments.model_json_schema(), annotations=hints)


def _place(cursor: str | None, collections: int) -> tuple[int, int]:
    if cursor is None:
        return 0, 0
    number, colon, row = cursor.partition(":")
    if not (colon and number.isascii() and number.isdigit() and row.isascii() and row.isdigit() and len(row) < 16):
        raise MCPError(INVALID, "not a cursor of this list")
    if len(number) > 6 or int(number) >= collections:
        raise MCPError(INVALID, "not a cursor of this list")
    return int(number), int(row)


def _result(answer: Answer) -> types.CallToolResult:
    text = json.dumps(answer.document, separators=(",", ":"), allow_nan=False)
    pictures = [types.ImageContent(data=_base64(picture), mime_type=MIME) for picture in answer.pictures]
    return types.CallToolResult(content=[types.TextContent(text=text), *pictures], structured_content=answer.document)


def _refusal(error: ApiError) -> types.CallToolResult:
    """A refusal as the service words it, but where the hint names its document."""
    hint = "see the schema of the tool" if "openapi" in error.hint else error.hint
    body = {"error": {"code": error.code, "message": error.message, "hint": hint}}
    return types.CallToolResult(
        content=[types.TextContent(text=json.dumps(body))], structured_content=body, is_error=True
    )


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


__all__ = ["SCHEME", "create_server", "serve"]
