"""Single searches, and batches of searches."""

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from lookalike.errors import LookalikeError
from lookalike.service import answers
from lookalike.service.bodies import Body, kind
from lookalike.service.errors import ApiError, json_response, of_library, responses
from lookalike.service.models import BatchAnswer, BatchBody, SearchAnswer, SearchBody, form_fields
from lookalike.service.queries import Search, checked_total, fetched, is_heavy, refuse_many_urls
from lookalike.service.routes.common import FILE, Service, body_of, either, json_only
from lookalike.service.served import Served

router = APIRouter(tags=["search"])

TOGETHER = 8
"""Searches of a batch that run at a time: several, so that the encoder gets batches."""
FORM = {"file": FILE, "negative": FILE, "id": {"type": "string"}, "negative_id": {"type": "string"}, **form_fields()}


@router.post(
    "/v1/search",
    response_model=SearchAnswer,
    responses=responses(404, 413, 415, 422),
    openapi_extra=either(SearchBody, FORM, []),
)
async def search(request: Request, served: Service) -> Response:
    """The images that look most like the query: a file (as a form), an id, a vector, a URL, a text, or several.

    Several are averaged; `negatives` push away. Fewer than `k` results are reported as fewer.
    """
    with body_of(request, served) as body:
        if kind(request) == "json":
            requested = Search.of_body(await body.json(SearchBody))
        else:
            requested = Search.of_form(await body.form())
        refuse_many_urls([*requested.queries, *requested.negatives], served.settings.files)
        return json_response(await _answer(served, requested, body))


@router.post(
    "/v1/search/batch",
    response_model=BatchAnswer,
    responses=responses(413, 415, 422),
    openapi_extra=json_only(BatchBody),
)
async def batch(request: Request, served: Service) -> Response:
    """Several searches in one request, each answered as by itself; one that is refused does not stop the others."""
    with body_of(request, served) as body:
        if kind(request) != "json":
            raise ApiError(415, "content_type", "a batch is JSON", "send application/json")
        searches = [Search.of_body(search) for search in (await body.json(BatchBody)).searches]
        examples = [example for search in searches for example in (*search.queries, *search.negatives)]
        refuse_many_urls(examples, served.settings.files)
        checked_total([search.options for search in searches], served.settings)
        turns = asyncio.Semaphore(TOGETHER)

        async def answer(search: Search) -> dict[str, Any]:
            async with turns:
                return await _or_error(served, search, body)

        return json_response({"answers": await asyncio.gather(*map(answer, searches))})


async def _or_error(served: Served, requested: Search, body: Body) -> dict[str, Any]:
    try:
        return await _answer(served, requested, body)
    except ApiError as error:
        refused = error
    except LookalikeError as error:
        refused = of_library(error)
    return {"error": {"code": refused.code, "message": refused.message, "hint": refused.hint}}


async def _answer(served: Served, requested: Search, body: Body) -> dict[str, Any]:
    queries = await fetched(served, requested.queries, body)
    negatives = await fetched(served, requested.negatives, body)
    search = Search(queries, negatives, requested.options)
    await served.require_engine()
    return await served.work.run(lambda: answers.search(served, search), is_heavy(requested.options))
