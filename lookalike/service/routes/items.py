"""The images of the collection: facts, pictures, adding and removing."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from lookalike.errors import ImageError
from lookalike.service import thumbnails, writing
from lookalike.service.answers import described, entry
from lookalike.service.bodies import kind
from lookalike.service.errors import ApiError, json_response, not_found, responses
from lookalike.service.ids import key_text, to_id
from lookalike.service.models import Added, Entries, Entry, Removed
from lookalike.service.routes.common import FILE, Service, body_of, form_only, jpeg
from lookalike.service.sampling import sample
from lookalike.service.served import Served
from lookalike.storage.store import Item

router = APIRouter(tags=["items"])

UNCHANGED: dict[int | str, dict[str, Any]] = {304: {"description": "What the client has is still right."}}
CACHING = "private, max-age=300"


@router.get("/v1/items", response_model=Entries, responses=responses(422))
async def some(served: Service, count: Annotated[int, Query(ge=1, le=200)] = 24) -> Response:
    """Images evenly from all over the collection, the same ones every time: something to begin with."""
    items = await served.pictures.run(lambda: sample(served.collection.gallery, count))
    return json_response({"items": [entry(item) for item in items]})


@router.get("/v1/items/{id}", response_model=Entry, responses=responses(404))
async def item(id: str, served: Service) -> Response:
    """The facts about one image: where it was taken only with `serve --show-places`."""
    return json_response(await served.pictures.run(lambda: described(served, served.item(id))))


@router.get(
    "/v1/items/{id}/image", response_class=Response, responses={200: jpeg("Upright."), **UNCHANGED, **responses(404)}
)
async def image(id: str, request: Request, served: Service) -> Response:
    """The whole picture as an upright JPEG, encoded anew: without EXIF, GPS or anything else of its file."""
    stored = await served.pictures.run(lambda: served.item(id))
    return await _picture(request, served, stored, None)


@router.get(
    "/v1/items/{id}/thumbnail",
    response_class=Response,
    responses={200: jpeg("Small."), **UNCHANGED, **responses(404, 422)},
)
async def thumbnail(
    id: str,
    request: Request,
    served: Service,
    size: Annotated[int, Query(ge=16, le=2048, description="The longer side, at most.")] = 256,
) -> Response:
    """A small picture."""
    stored = await served.pictures.run(lambda: served.item(id))
    return await _picture(request, served, stored, size)


async def _picture(request: Request, served: Served, item: Item, size: int | None) -> Response:
    tag = f'"{item.sha256[:24]}-{size or "full"}"'
    headers = {"ETag": tag, "Cache-Control": CACHING}
    if tag in (request.headers.get("if-none-match") or ""):
        return Response(status_code=304, headers=headers)
    data = served.thumbnails.get(item.sha256, size) if size else None
    if data is None:
        data = await served.pictures.run(lambda: encoded(served, item, size))
    return Response(data, headers=headers, media_type="image/jpeg")


def encoded(served: Served, item: Item, size: int | None) -> bytes:
    """The JPEG of an image, whose thumbnails stay in memory; raises ApiError 404."""
    try:
        file = served.subject.read(item)
        if size is None:
            return thumbnails.full(file)
        data = thumbnails.thumbnail(file, size)
    except ImageError as error:
        raise not_found("the picture cannot be read any more", "index the collection again") from error
    served.thumbnails.put(item.sha256, size, data)
    return data


@router.post(
    "/v1/items",
    response_model=Added,
    responses=responses(404, 413, 415, 422),
    openapi_extra=form_only({"file": FILE}, ["file"]),
)
async def add(request: Request, served: Service) -> Response:
    """Put images into the collection's first folder, below uploads/, and index them; only where it is writable.

    The file keeps its bytes; its name is made of the uploaded name, without any path. An image that the collection has
    already is not stored again: its item is the answer.
    """
    refuse_read_only(served)
    with body_of(request, served) as body:
        if kind(request) != "form":
            raise ApiError(415, "content_type", "an image comes in a form", "send multipart/form-data")
        files = (await body.form()).of("file")
        if not files:
            raise ApiError(422, "invalid", "file: an image is wanted", "send it as the form's field `file`")
        await served.require_engine()
        items = await served.work.run(lambda: writing.add(served, files))
    return json_response({"items": [entry(item) for item in items]})


@router.delete("/v1/items/{id}", response_model=Removed, responses=responses(404))
async def remove(id: str, served: Service) -> Response:
    """Take an image out of the collection; its file stays where it is. Only where it is writable."""
    refuse_read_only(served)
    await served.require_engine()
    key = await served.work.run(lambda: writing.remove(served, id))
    answer: dict[str, Any] = {"id": to_id(key), "key": key_text(key)}
    return json_response(answer)


def refuse_read_only(served: Served) -> None:
    """Raise ApiError 404 where the service may not change the collection, or where it is several."""
    served.single  # noqa: B018 - raises
    if not served.settings.writable:
        raise ApiError(404, "read_only", "this service changes nothing", "start it with --writable")
