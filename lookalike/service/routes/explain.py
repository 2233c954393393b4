"""Why an image is a result: what matches between it and the query."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from lookalike.analysis.explain import Explanation
from lookalike.images import decode as images
from lookalike.search.query import Key
from lookalike.service.bodies import Upload, kind
from lookalike.service.errors import ApiError, json_response, responses
from lookalike.service.models import ById, ExplainAnswer
from lookalike.service.queries import RequestExample, Resolver, named, parse_box
from lookalike.service.routes.common import FILE, Service, body_of, form_only
from lookalike.service.served import Served
from lookalike.types import Box

router = APIRouter(tags=["search"])

FORM: dict[str, Any] = {
    "file": FILE,
    "item": {"type": "string", "description": "The id of the result."},
    "box": {"type": "string", "example": "10,20,400,300"},
}
Text = Annotated[str, Query(min_length=1, max_length=8192)]


@router.get("/v1/explain", response_model=ExplainAnswer, responses=responses(404, 422))
async def explain(served: Service, query: Text, item: Text, box: str | None = None) -> Response:
    """What matches between two images of the collection, as points and regions in pixels of both."""
    region = parse_box(box)
    await served.require_engine()
    return json_response(await served.work.run(lambda: explained(served, ById(id=query), item, region)[1]))


@router.post(
    "/v1/explain",
    response_model=ExplainAnswer,
    responses=responses(404, 413, 415, 422),
    openapi_extra=form_only(FORM, ["file", "item"]),
)
async def explain_upload(request: Request, served: Service) -> Response:
    """The same for a query image that the collection does not have."""
    with body_of(request, served) as body:
        if kind(request) != "form":
            raise ApiError(415, "content_type", "an image comes in a form", "send multipart/form-data")
        form = await body.form()
        upload, region, id_ = form.one_file(), parse_box(form.text("box")), form.text("item")
        if not id_:
            raise ApiError(422, "invalid", "item: the id of a result is wanted", "ids are those in search results")
        await served.require_engine()
        return json_response(await served.work.run(lambda: explained(served, upload, id_, region)[1]))


def explained(served: Served, example: RequestExample, id_: str, box: Box | None) -> tuple[Explanation, dict[str, Any]]:
    """The explanation, and the answer that is made of it, whose points are those of whole pictures."""
    item = served.item(id_)
    query = Resolver(served, needs_pixels=True).example(example)
    explanation: Explanation = named(lambda: served.collection.explain(query, item.key, box), "the pictures")
    answer = explanation.to_json()
    if box:
        _as_of_the_whole(answer, max(0, round(box.left)), max(0, round(box.top)))
    sizes = {"query": _size(served, query, example), "item": {"width": item.width, "height": item.height}}
    return explanation, {"text": explanation.text(), **answer, **sizes}


def _size(served: Served, query: Any, example: RequestExample) -> dict[str, int]:
    if isinstance(query, Key):
        item = served.item_of(query.name)
        return {"width": item.width, "height": item.height} if item else {"width": 0, "height": 0}
    assert isinstance(example, Upload)
    decoded = images.decode(example.data, size=16)
    return {"width": decoded.width, "height": decoded.height}


def _as_of_the_whole(answer: dict[str, Any], left: int, top: int) -> None:
    """Points of a region become points of the whole picture, which the caller has."""
    for match in answer["matches"]:
        match["a"] = [match["a"][0] + left, match["a"][1] + top]
    for row in answer["matrix"] or ():
        row[2] -= row[0] * left + row[1] * top
