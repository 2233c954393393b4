"""What a user marks as the same thing or not, and what the collection learns from it; only where it is writable."""

import re
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from lookalike.analysis.labels import from_marks
from lookalike.analysis.readiness import Readiness, readiness
from lookalike.encoders import adaptation
from lookalike.service import writing
from lookalike.service.answers import entry
from lookalike.service.bodies import kind
from lookalike.service.errors import ApiError, json_response, not_found, responses
from lookalike.service.models import LearningState, MarkBody, MarkEntry, Marks
from lookalike.service.routes.common import Service, body_of, json_only
from lookalike.service.routes.items import refuse_read_only
from lookalike.service.served import Served
from lookalike.storage.distinct import Pair
from lookalike.storage.marks import Mark
from lookalike.utils.text import counted

router = APIRouter(tags=["marks"])

PAIR = re.compile(r"([0-9a-f]{64})-([0-9a-f]{64})")


@router.get("/v1/marks", response_model=Marks, responses=responses(404, 422))
async def some(
    served: Service,
    of: Annotated[str | None, Query(min_length=1, max_length=8192, description="Only marks of this item.")] = None,
    count: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> Response:
    """What was marked as the same thing or not, the newest first. Only where it is writable."""
    refuse_read_only(served)
    return json_response(await served.pictures.run(lambda: _listed(served, of, count)))


@router.post(
    "/v1/marks", response_model=MarkEntry, responses=responses(404, 413, 415, 422), openapi_extra=json_only(MarkBody)
)
async def mark(request: Request, served: Service) -> Response:
    """Mark two images of the collection as the same thing or not; an earlier mark of the two is replaced.

    It is kept by the contents of the two files, so it outlives their names. Only where it is writable.
    """
    refuse_read_only(served)
    if kind(request) != "json":
        raise ApiError(415, "content_type", "a mark is JSON", "send application/json")
    with body_of(request, served) as body:
        given = await body.json(MarkBody)
    contents = await served.work.run(lambda: writing.mark(served, given.a, given.b, given.same))
    return json_response({"mark": _name(contents), "same": given.same, **await _entries(served, contents)})


@router.delete("/v1/marks/{mark}", response_model=Marks, responses=responses(404, 422))
async def unmark(mark: str, served: Service) -> Response:
    """Forget a mark, and answer with what is left. Only where it is writable."""
    refuse_read_only(served)
    match = PAIR.fullmatch(mark)
    if not match:
        raise not_found("there is no such mark", "marks are those of GET /v1/marks")
    await served.work.run(lambda: writing.unmark(served, (match[1], match[2])))
    return json_response(await served.pictures.run(lambda: _listed(served, None, 200)))


@router.get("/v1/adapt", response_model=LearningState, responses=responses(404))
async def state(served: Service) -> Response:
    """How far `adapt` is, or how it ended, and whether marks are enough for it. Only where it is writable."""
    refuse_read_only(served)
    return json_response(await served.pictures.run(lambda: _state(served)))


@router.post("/v1/adapt", status_code=202, response_model=LearningState, responses=responses(404, 422))
async def adapt(served: Service) -> Response:
    """Learn from the marks, in the background; nothing changes unless that is proven to help.

    Only where it is writable, and the vectors are in a file.
    """
    refuse_read_only(served)
    return json_response(await served.work.run(lambda: _begun(served)), 202)


@router.delete("/v1/adapt", status_code=202, response_model=LearningState, responses=responses(404, 422))
async def undo(served: Service) -> Response:
    """Give the collection its former vectors back, in the background. Only where it is writable."""
    refuse_read_only(served)
    return json_response(await served.work.run(lambda: _undone(served)), 202)


def _begun(served: Served) -> dict[str, Any]:
    served.refuse_changes()
    store = served.single.store
    if store.header.engine:
        raise ApiError(422, "engine_vectors", "`adapt` is for vectors in a file, not in a search server")
    if _is_adapted(served):
        raise ApiError(422, "adapted", "the collection is adapted already", "DELETE /v1/adapt first")
    enough = _readiness(served)
    if not enough.is_enough:
        message = f"{counted(enough.groups, 'group')} of two or more images, and {enough.least_groups} are needed"
        raise ApiError(422, "too_few_marks", message, "mark more images as the same, for other queries")
    served.learning.start("adapt")
    return _state(served)


def _undone(served: Served) -> dict[str, Any]:
    served.refuse_changes()
    if not _is_adapted(served):
        raise ApiError(422, "not_adapted", "the collection is not adapted; there is nothing to undo")
    served.learning.start("undo")
    return _state(served)


def _state(served: Served) -> dict[str, Any]:
    enough = _readiness(served)
    return {
        **served.learning.to_json(),
        "adapted": _is_adapted(served),
        "marks": len(served.single.marks()),
        "groups": enough.groups,
        "least_groups": enough.least_groups,
    }


def _readiness(served: Served) -> Readiness:
    return readiness(from_marks(served.single.store), len(served.single))


def _is_adapted(served: Served) -> bool:
    return (served.single.path / adaptation.FILE).exists()


def _listed(served: Served, of: str | None, count: int) -> dict[str, Any]:
    marks = served.single.marks()
    if of is not None:
        content = served.item(of).sha256
        marks = [mark for mark in marks if content in mark.pair]
    return {"total": len(marks), "marks": [_listed_mark(served, mark) for mark in marks[:count]]}


def _listed_mark(served: Served, mark: Mark) -> dict[str, Any]:
    return {"mark": _name(mark.pair), "same": mark.same, **_images(served, mark.pair)}


def _images(served: Served, contents: Pair) -> dict[str, Any]:
    a, b = (writing.of_content(served, sha256) for sha256 in contents)
    return {"a": entry(a) if a else None, "b": entry(b) if b else None}


async def _entries(served: Served, contents: Pair) -> dict[str, Any]:
    return await served.pictures.run(lambda: _images(served, contents))


def _name(contents: Pair) -> str:
    return "-".join(contents)
