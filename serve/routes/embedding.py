"""Vectors of texts and images, in the form of OpenAI's embeddings API, so that its clients work."""

from asyncio import gather

import numpy as np
from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

from cbir.collection import Collection
from cbir.index.names import is_collection
from cbir.records import vector_text
from cbir.search.examples import Clock

from .. import searching
from ..answers import EmbedAnswer
from ..bodies import EmbedBody
from ..requests import ReadRoute, as_json, body_of, check_batch, parsed, service_of
from ..service import Service

router = APIRouter(prefix="/v1", tags=["embed"], route_class=ReadRoute)


@router.post("/embed", response_model=EmbedAnswer, openapi_extra=body_of(EmbedBody))
@router.post("/embeddings", response_model=EmbedAnswer, openapi_extra=body_of(EmbedBody))
async def embed(request: Request) -> Response:
    """Return the unit vectors of texts and images."""
    service = service_of(request)
    body = await parsed(request, EmbedBody)
    examples = list(body.examples())
    check_batch(service, len(examples))
    if not examples:
        raise HTTPException(422, "input: give at least one text or image")
    collection = await service.call(_collection_for, service, body.model)
    card = (await service.call(service.model, collection)).embedder.card
    if body.dimensions not in (None, card.dimension):
        raise HTTPException(422, f"dimensions: {card.name} has {card.dimension}, and vectors are not shortened")
    clock = Clock()
    vectors = await gather(*(searching.embedded(service, collection, example, clock) for example in examples))
    service.metrics.record(clock.milliseconds)
    encode = vector_text if body.encoding_format == "base64" else np.asarray
    data = [{"object": "embedding", "index": i, "embedding": encode(vector)} for i, vector in enumerate(vectors)]
    usage = {"prompt_tokens": 0, "total_tokens": 0}
    return as_json({"object": "list", "data": data, "model": card.name, "usage": usage})


def _collection_for(service: Service, model: str | None) -> Collection | None:
    """Return the collection of this name, or one of this model; None for the packaged model without a collection."""
    catalog = service.catalogs[0]
    names = catalog.names()
    if model is None:
        return service.collections.open(names[0]) if names else None
    if model in names or (is_collection(model) and catalog.plan(catalog.resolve(model)) is not None):
        return service.collections.open(model)
    for name in names:
        plan = catalog.plan(name)
        if plan is not None and plan.model.name == model:
            return service.collections.open(name)
    if model == service.packaged_model:
        return None
    raise HTTPException(404, f"there is no collection and no model {model[:200]!r}")
