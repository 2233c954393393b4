"""The routes that the service of the original report had, over the same search."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from lookalike.errors import ImageError
from lookalike.service import thumbnails
from lookalike.service.bodies import Upload, kind
from lookalike.service.errors import ApiError, json_response, not_found, responses
from lookalike.service.ids import key_text
from lookalike.service.models import DEFAULTS, OldAnswer, Options
from lookalike.service.queries import Resolver
from lookalike.service.routes.common import FILE, Service, body_of, form_only, jpeg
from lookalike.service.served import Served

router = APIRouter(tags=["the report's routes"])


@router.post(
    "/search",
    response_model=OldAnswer,
    responses=responses(413, 415, 422),
    openapi_extra=form_only({"file": FILE}, ["file"]),
)
async def search(request: Request, served: Service, k: Annotated[int, Query(ge=1, le=1000)] = DEFAULTS.k) -> Response:
    """`POST /v1/search` as the report had it: paths below /images/, and squared distances, which is 2 - 2 x cosine."""
    with body_of(request, served) as body:
        if kind(request) != "form":
            raise ApiError(415, "content_type", "the image comes in a form", "send multipart/form-data")
        upload = (await body.form()).one_file()
        await served.require_engine()
        return json_response(await served.work.run(lambda: _search(served, upload, Options(k=k))))


def _search(served: Served, upload: Upload, options: Options) -> dict[str, Any]:
    query = Resolver(served).example(upload)
    hits = served.collection.search(query, options.k)
    return {"results": [{"image_path": key_text(hit.key), "distance": round(2 - 2 * hit.score, 6)} for hit in hits]}


@router.get("/images/{path:path}", response_class=Response, responses={200: jpeg("Upright."), **responses(404)})
async def image(path: str, served: Service) -> Response:
    """The picture of a key. The catalog decides which keys exist: nothing of a request becomes a path of the disk."""
    return Response(await served.pictures.run(lambda: _image(served, path)), media_type="image/jpeg")


def _image(served: Served, key: str) -> bytes:
    item = served.item_of(key)
    if item is None:
        raise not_found("there is no such image", "paths are those in the results of POST /search")
    try:
        return thumbnails.full(served.subject.read(item))
    except ImageError as error:
        raise not_found("the picture cannot be read any more", "index the collection again") from error
