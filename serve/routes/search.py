"""Searches, one or several."""

from asyncio import gather

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

from .. import searching
from ..answers import BatchAnswer, SearchAnswer
from ..bodies import BatchBody, SearchBody
from ..requests import ReadRoute, as_response, body_of, check_batch, parsed, service_of

MOST_VECTORS = 1000
"""How many hits of a batch may have vectors: as many as those of a single search."""

router = APIRouter(prefix="/v1/collections/{name}/search", tags=["search"], route_class=ReadRoute)


@router.post("", response_model=SearchAnswer, openapi_extra=body_of(SearchBody, SearchBody))
async def search(name: str, request: Request) -> Response:
    """Return the stored images most similar to an image, a text, a vector or examples."""
    service = service_of(request)
    body = await parsed(request, SearchBody)
    searching.check_examples(service, [body])
    collection = await service.collection(name)
    ready = await searching.ready(service, collection, body)
    if ready.is_plain and not body.exact:
        return as_response(await service.searches((collection, ready)))
    (answer,) = await service.long_searches([(collection, ready)])
    return as_response(answer)


@router.post("/batch", response_model=BatchAnswer, openapi_extra=body_of(BatchBody))
async def search_batch(name: str, request: Request) -> Response:
    """Answer several searches. Those that differ only in their vectors are one call of the engine."""
    service = service_of(request)
    body = await parsed(request, BatchBody)
    check_batch(service, len(body.queries))
    searching.check_examples(service, body.queries)
    vectors = sum(query.limit for query in body.queries if query.with_vector)
    if vectors > MOST_VECTORS:
        raise HTTPException(413, f"{vectors:,} hits with vectors in one request; the limit is {MOST_VECTORS:,}")
    collection = await service.collection(name)
    ready = await gather(*(searching.ready(service, collection, query) for query in body.queries))
    answers = await service.long_searches([(collection, search) for search in ready])
    return as_response(b'{"results":[' + b",".join(answers) + b"]}")
