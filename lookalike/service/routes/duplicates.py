"""Groups of duplicates: looked for in the background; told apart, or put into the trash, only where it is writable."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from lookalike.service import copies
from lookalike.service.bodies import kind
from lookalike.service.copies import Run
from lookalike.service.errors import ApiError, json_response, responses
from lookalike.service.models import ApartBody, Duplicates, FindBody, Moved, Outcome, TrashBody
from lookalike.service.routes.common import Service, body_of, json_only
from lookalike.service.routes.items import refuse_read_only
from lookalike.service.served import Served

router = APIRouter(tags=["duplicates"])


@router.get("/v1/duplicates", response_model=Duplicates, responses=responses(422))
async def some(
    served: Service,
    offset: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
    count: Annotated[int, Query(ge=0, le=100)] = 50,
) -> Response:
    """How far the search for duplicates is, and some groups of the newest one; the first image of a group is kept."""
    return json_response(await served.pictures.run(lambda: _state(served, offset, count)))


@router.post(
    "/v1/duplicates",
    status_code=202,
    response_model=Duplicates,
    responses=responses(413, 415, 422),
    openapi_extra=json_only(FindBody),
)
async def find(request: Request, served: Service) -> Response:
    """Look for duplicates, in the background; nothing is changed."""
    given = await _json(request, served, FindBody)
    await served.require_engine()
    await served.work.run(lambda: served.copies.find(given.level, given.keep))
    return json_response(await served.pictures.run(lambda: _state(served, 0, 0)), 202)


@router.post(
    "/v1/duplicates/apart",
    response_model=Duplicates,
    responses=responses(404, 413, 415, 422),
    openapi_extra=json_only(ApartBody),
)
async def apart(request: Request, served: Service) -> Response:
    """Remember that the images of a group are no duplicates, or forget it. Only where it is writable."""
    refuse_read_only(served)
    given = await _json(request, served, ApartBody)
    await served.work.run(lambda: _apart(served, given))
    return json_response(await served.pictures.run(lambda: _state(served, given.group, 1)))


@router.post(
    "/v1/duplicates/plan",
    response_model=Outcome,
    responses=responses(404, 413, 415, 422),
    openapi_extra=json_only(TrashBody),
)
async def plan(request: Request, served: Service) -> Response:
    """What would go into the trash, and what would stay and why. Nothing is changed."""
    given = await _json(request, served, TrashBody)
    return json_response(await served.work.run(lambda: _planned(served, given), heavy=True))


@router.post(
    "/v1/duplicates/trash",
    status_code=202,
    response_model=Duplicates,
    responses=responses(404, 413, 415, 422),
    openapi_extra=json_only(TrashBody),
)
async def trash(request: Request, served: Service) -> Response:
    """Put files into the trash of the system, in the background, each written down in the journal before.

    A file goes only if it and what is kept in its place still have the content that was indexed. Only where it is
    writable.
    """
    refuse_read_only(served)
    given = await _json(request, served, TrashBody)
    await served.work.run(lambda: _begun(served, given))
    return json_response(await served.pictures.run(lambda: _state(served, 0, 0)), 202)


@router.delete("/v1/duplicates/trash", status_code=202, response_model=Duplicates, responses=responses(404, 422))
async def undo(served: Service) -> Response:
    """Put the files of the last move back, in the background. Only where it is writable."""
    refuse_read_only(served)
    await served.work.run(lambda: _undone(served))
    return json_response(await served.pictures.run(lambda: _state(served, 0, 0)), 202)


@router.get("/v1/duplicates/journal", response_model=Moved, responses=responses(404))
async def journal(served: Service) -> Response:
    """What was moved away and not put back, the latest first. Only where it is writable."""
    refuse_read_only(served)
    entries = await served.pictures.run(lambda: copies.journal(served.single))
    return json_response({"total": len(entries), "moved": entries[:1000]})


async def _json(request: Request, served: Served, model: Any) -> Any:
    if kind(request) != "json":
        raise ApiError(415, "content_type", "this is JSON", "send application/json")
    with body_of(request, served) as body:
        return await body.json(model)


def _state(served: Served, offset: int, count: int) -> dict[str, Any]:
    return served.copies.to_json(served.subject, offset, count)


def _apart(served: Served, given: ApartBody) -> None:
    served.refuse_changes()
    with served.slots.lent():
        served.copies.apart(served.copies.chosen(given.run), given.group, given.forget)


def _decided(given: TrashBody) -> Mapping[int, frozenset[str]]:
    return {decision.group: frozenset(decision.trash) for decision in given.decisions}


def _run(served: Served, given: TrashBody) -> Run:
    return served.copies.chosen(given.run)


def _planned(served: Served, given: TrashBody) -> dict[str, Any]:
    return served.copies.dry(_run(served, given), _decided(given), given.others)


def _begun(served: Served, given: TrashBody) -> None:
    served.refuse_changes()
    served.copies.trash(_run(served, given), _decided(given), given.others)


def _undone(served: Served) -> None:
    served.refuse_changes()
    served.copies.undo()
