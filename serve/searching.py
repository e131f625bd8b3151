"""From the body of a search to vectors and ids."""

import asyncio
from collections.abc import Sequence

from starlette.exceptions import HTTPException

from cbir.collection import Collection
from cbir.records import Entry, Vector
from cbir.search.examples import Clock, QueryImage, is_id

from .answering import ReadySearch, Weighted
from .bodies import Example, SearchBody
from .requests import check_batch
from .service import Service


def check_examples(service: Service, searches: Sequence[SearchBody]) -> None:
    """Raise 413 if searches have too many images, texts and ids together: each of them costs time. Vectors do not."""
    examples = (example for body in searches for example in (*body.positives, *body.negatives))
    check_batch(service, sum(example.vector is None for example in examples))


async def ready(service: Service, collection: Collection, body: SearchBody) -> ReadySearch:
    """Return a search with its images fetched and embedded, and its texts embedded."""
    clock = Clock()

    async def weighted(examples: Sequence[Example]) -> list[Weighted]:
        if len(examples) == 1:  # most searches, and this is faster
            return [await _ready(service, collection, examples[0], clock)]
        return list(await asyncio.gather(*(_ready(service, collection, example, clock) for example in examples)))

    if not body.positives:
        raise HTTPException(422, "give an example of what the hits should be like: text, image, url, ids, vector, like")
    return ReadySearch(body, await weighted(body.positives), await weighted(body.negatives), clock)


async def _ready(service: Service, collection: Collection, example: Example, clock: Clock) -> Weighted:
    if example.vector is not None:
        return example.vector, example.weight
    if example.id is not None:
        return await _stored(service, collection, example.id), example.weight
    return await embedded(service, collection, example, clock), example.weight


async def embedded(service: Service, collection: Collection | None, example: Example, clock: Clock) -> Vector:
    """Return the vector (D,) of a text, or of an image that is given by its file or its URL."""
    if example.text is not None:
        return await service.embed_text(example.text, collection, clock)
    return await service.embed_image(await service.file(example.image, example.url, clock), collection, clock)


async def _stored(service: Service, collection: Collection, name: str) -> QueryImage:
    """Return the stored image with an id or key. A text from a client is never the path of a file."""
    if is_id(name):
        return Entry(name, {})
    found = await service.call(collection.get, name)
    if found is None:
        raise HTTPException(422, f"there is no image with the id or key {name[:200]!r}")
    return found
