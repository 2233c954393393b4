"""What the routes share: the service of a request, its body, and the OpenAPI entries of bodies."""

from typing import Annotated, Any

from fastapi import Depends, Request
from pydantic import BaseModel

from lookalike.service.bodies import Body
from lookalike.service.served import Served


async def served_by(request: Request) -> Served:
    """The service of a request; async, as FastAPI calls other functions in a thread."""
    served: Served = request.app.state.served
    return served


Service = Annotated[Served, Depends(served_by)]


def body_of(request: Request, served: Served) -> Body:
    """The body of a request, within the limits of the service."""
    return Body(request, served.settings, served.buffered)


FILE = {"type": "string", "format": "binary", "description": "An image file."}


def either(model: type[BaseModel], fields: dict[str, Any], required: list[str]) -> dict[str, Any]:
    """The OpenAPI entry of a body that is JSON or a form."""
    content = {**_json(model), **_form(fields, required)}
    return {"requestBody": {"required": True, "content": content}}


def form_only(fields: dict[str, Any], required: list[str]) -> dict[str, Any]:
    """The OpenAPI entry of a body that is a form."""
    return {"requestBody": {"required": True, "content": _form(fields, required)}}


def json_only(model: type[BaseModel]) -> dict[str, Any]:
    """The OpenAPI entry of a JSON body, which the route reads itself to limit it while it arrives."""
    return {"requestBody": {"required": True, "content": _json(model)}}


def _json(model: type[BaseModel]) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}}


def _form(fields: dict[str, Any], required: list[str]) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "properties": fields}
    if required:
        schema["required"] = required
    return {"multipart/form-data": {"schema": schema}}


def jpeg(text: str) -> dict[str, Any]:
    """The OpenAPI entry of an answer that is a picture."""
    return {"description": text, "content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}}
