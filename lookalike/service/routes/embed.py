"""An image or a text to its vector."""

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from starlette.responses import Response

from lookalike.images import decode as images
from lookalike.search.hybrid import Space
from lookalike.search.query import Query, resolve
from lookalike.service import here
from lookalike.service.bodies import Form, Upload, kind
from lookalike.service.errors import json_response, responses
from lookalike.service.ids import key_text, to_id
from lookalike.service.models import ById, EmbedAnswer, EmbedBody
from lookalike.service.queries import RequestExample, Resolver, fetched, half, named, parse_box, to_box
from lookalike.service.routes.common import FILE, Service, body_of, either
from lookalike.service.served import Served
from lookalike.service.thumbnails import preview
from lookalike.types import Box

router = APIRouter(tags=["search"])

FORM: dict[str, Any] = {
    "file": FILE,
    "box": {"type": "string", "description": "left,top,right,bottom in pixels", "example": "10,20,400,300"},
    "preview": {"type": "boolean", "default": False, "description": "For formats that a browser cannot show."},
    "here": {"type": "boolean", "default": False, "description": "Whether the collection has it, by bytes or pixels."},
}


@router.post(
    "/v1/embed",
    response_model=EmbedAnswer,
    responses=responses(404, 413, 415, 422),
    openapi_extra=either(EmbedBody, FORM, ["file"]),
)
async def embed(request: Request, served: Service) -> Response:
    """The vector of an image, of a region of it, or of a text; searching with it is searching with the image.

    The image itself is not kept. Where the collection has the very same file, `id` is that item's.
    """
    with body_of(request, served) as body:
        if kind(request) == "json":
            requested = await body.json(EmbedBody)
            if requested.text is not None:
                text = requested.text
                return json_response(await served.work.run(lambda: _of_text(served, text)))
            assert requested.query is not None
            (example,) = await fetched(served, [requested.query], body)
            box, wants = to_box(requested.box), Wants(requested.preview)
        else:
            form = await body.form()
            example, box = form.one_file(), parse_box(form.text("box"))
            wants = Wants(_is_set(form, "preview"), _is_set(form, "here"))
        return json_response(await served.work.run(lambda: _of_image(served, example, box, wants)))


@dataclass(frozen=True)
class Wants:
    """What else an answer about an image has."""

    preview: bool = False
    here: bool = False


def _is_set(form: Form, name: str) -> bool:
    return (form.text(name) or "").lower() in ("1", "true", "yes")


def _of_image(served: Served, example: RequestExample, box: Box | None, wants: Wants) -> dict[str, Any]:
    query = Query((Resolver(served, needs_pixels=wants.preview).example(example),), box=box)
    space = served.subject.spaces()[0]
    resolved = resolve(query, space.encoder, space.gallery)
    own = space.gallery.item(resolved.own_rows[0]) if resolved.own_rows else None
    facts: dict[str, Any] = {"id": None, "key": None, "width": None, "height": None, "preview": None, "here": None}
    if own:
        facts |= {"id": to_id(own.key), "key": key_text(own.key), "width": own.width, "height": own.height}
    if isinstance(example, Upload):
        if wants.here and box is None:
            facts["here"] = here.of_upload(space.gallery, example.data, own, resolved.probe)
        if wants.preview:
            decoded = named(lambda: images.decode(example.data), example.field)
            url = base64.b64encode(preview(decoded.image)).decode("ascii")
            facts |= {"preview": f"data:image/jpeg;base64,{url}", "width": decoded.width, "height": decoded.height}
    elif not isinstance(example, ById):
        facts["id"] = facts["key"] = None
    return _answer(space, resolved.probe.vectors[0], facts)


def _of_text(served: Served, text: str) -> dict[str, Any]:
    # In the space of the images' vectors; a further vector set that reads text is for searches with that text.
    space = served.subject.spaces()[0]
    vectors = resolve(Query(text=text), space.encoder, space.gallery).probe.vectors
    facts = {"id": None, "key": None, "width": None, "height": None, "preview": None}
    return _answer(space, vectors[0], facts)


def _answer(space: Space, vector: Any, facts: dict[str, Any]) -> dict[str, Any]:
    header = space.gallery.stores[0].header
    row = np.asarray(vector, np.float32)
    return {
        "encoder": header.encoder,
        "fingerprint": header.fingerprint,
        "dim": len(row),
        "vector": [round(float(number), 7) for number in row],
        "vector_f16": half(row),
        **facts,
    }
