"""Reading: collections, their fields and values, stored images with their thumbnails and files."""

import base64
import hashlib
import io
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from PIL import Image
from starlette.exceptions import HTTPException

from cbir.collection import Collection
from cbir.errors import CbirError, UsageError
from cbir.filters.conditions import Filter as ParsedFilter
from cbir.images.files import read_file
from cbir.records import vector_text
from cbir.results import StoredImage
from cbir.search.examples import is_id
from cbir.search.fields import checked_filter
from cbir.stores.base import Catalog, StoreInfo
from cbir.stores.listing import CollectionInfo
from cbir.text import one_line

from ..answering import to_json
from ..answers import (
    CollectionsAnswer,
    CountAnswer,
    FacetAnswer,
    FieldsAnswer,
    InfoAnswer,
    PointAnswer,
    PointsAnswer,
    ReadAnswer,
    SampleAnswer,
)
from ..bodies import ReadBody, to_filter
from ..requests import ReadRoute, as_json, as_response, body_of, check_batch, check_ids, may_write, parsed, service_of
from ..service import Service

router = APIRouter(prefix="/v1/collections", tags=["read"], route_class=ReadRoute)

Filter = Annotated[
    str | None, Query(description="Such as `label=Shoes|Boots and year>=2015`, or a JSON list of conditions.")
]
_LISTED = ("collection", "alias", "model", "points", "condition", "run", "dataset", "created", "generation", "commit")
_FACTS = ("collection", "dataset", "count", "indexed", "access", "filtering", "generation", "commit", "tail", "dead")
_SIZES = ("segments", "bytes")
_UNCHANGING = {"Cache-Control": "private, max-age=300"}


@router.get("", response_model=CollectionsAnswer)
async def collections(request: Request) -> Response:
    """List the collections, the one published last first."""
    service = service_of(request)
    found = await service.call(lambda: list(service.catalogs[0].listing()))
    return as_json({"collections": [_listed(info) for info in found]})


@router.get("/{name}", response_model=InfoAnswer)
async def info(name: str, request: Request) -> Response:
    """Return facts about a collection: its model, its size and its published state, and its source to a writer."""
    service = service_of(request)
    collection = await service.collection(name)
    facts = await service.call(lambda: collection.info)
    return as_json(_described(facts) | ({"source": facts.source} if may_write(request) else {}))


@router.get("/{name}/fields", response_model=FieldsAnswer)
async def fields(name: str, request: Request) -> Response:
    """Return the payload fields that a filter can use, with their kinds."""
    service = service_of(request)
    collection = await service.collection(name)
    return as_json({"fields": await service.call(collection.fields)})


@router.get("/{name}/facets/{field:path}", response_model=FacetAnswer)
async def facet(
    name: str, field: str, request: Request, filter: Filter = None, limit: Annotated[int, Query(ge=1, le=10_000)] = 100
) -> Response:
    """Return the values of a payload field with their number of images, the most frequent first."""
    service = service_of(request)
    collection = await service.collection(name)
    values = await service.call(collection.facet, field, _parsed(filter), limit)
    return as_json({"values": [{"value": value, "count": count} for value, count in values]})


@router.get("/{name}/count", response_model=CountAnswer)
async def count(name: str, request: Request, filter: Filter = None) -> Response:
    """Return the number of images, or of those that match a filter."""
    service = service_of(request)
    collection = await service.collection(name)
    return as_json({"count": await service.call(collection.count, _parsed(filter))})


@router.get("/{name}/points", response_model=PointsAnswer)
async def points(
    name: str,
    request: Request,
    filter: Filter = None,
    after: Annotated[str | None, Query(description="`next` of the answer before.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    with_vector: bool = False,
) -> Response:
    """Return stored images in the order of ids, a page at a time."""
    service = service_of(request)
    collection = await service.collection(name)
    return as_response(await service.call(lambda: to_json(_page(collection, filter, after, limit, with_vector))))


@router.post("/{name}/points/read", response_model=ReadAnswer, openapi_extra=body_of(ReadBody))
async def read(name: str, request: Request) -> Response:
    """Return stored images by their ids, with the requested parts: null for an id that is not stored."""
    service = service_of(request)
    body = await parsed(request, ReadBody)
    check_batch(service, len(body.ids))
    collection = await service.collection(name)
    check_ids(body.ids)
    catalog = service.catalogs[0]
    return as_response(await service.call(lambda: to_json({"points": _read(collection, body, catalog)})))


@router.get("/{name}/sample", response_model=SampleAnswer)
async def sample(
    name: str,
    request: Request,
    count: Annotated[int, Query(ge=1, le=100_000)] = 10,
    seed: Annotated[int, Query(ge=0)] = 0,
) -> Response:
    """Return the ids of random images: the same for the same images and seed."""
    service = service_of(request)
    collection = await service.collection(name)
    return as_json({"ids": await service.call(lambda: collection.store.sample(count, seed))})


@router.get(
    "/{name}/points/{point:path}/thumbnail", response_class=Response, responses={200: {"content": {"image/jpeg": {}}}}
)
async def thumbnail(name: str, point: str, request: Request) -> Response:
    """Return the stored thumbnail of an image, a JPEG of at most 192 x 192 pixels."""
    service = service_of(request)
    collection = await service.collection(name)
    stored = await _stored(service, collection, point)
    (data,) = await service.call(lambda: collection.store.thumbnails([stored.id]))
    if not data:
        raise HTTPException(404, "this image has no thumbnail")
    return Response(data, headers=_UNCHANGING, media_type="image/jpeg")


@router.get("/{name}/points/{point:path}/image", response_class=Response, responses={200: {"content": {"image/*": {}}}})
async def image(name: str, point: str, request: Request) -> Response:
    """Return the file of an image, if the collection was filled from a folder and the file is still the same."""
    service = service_of(request)
    collection = await service.collection(name)
    data, media_type = await service.call(_file, await _stored(service, collection, point))
    return Response(data, headers=_UNCHANGING, media_type=media_type)


@router.get("/{name}/points/{point:path}", response_model=PointAnswer)
async def point(name: str, point: str, request: Request, with_vector: bool = False) -> Response:
    """Return a stored image by its id or key."""
    service = service_of(request)
    collection = await service.collection(name)
    stored = await _stored(service, collection, point)
    answer: dict[str, Any] = {"id": stored.id, "payload": stored.payload}
    if with_vector:
        (answer["vector"],) = await service.call(lambda: collection.store.vectors([stored.id]))
    return as_json(answer)


def _listed(info: CollectionInfo) -> dict[str, Any]:
    made_by = None if info.made_by is None else asdict(info.made_by)
    return {name: getattr(info, name) for name in _LISTED} | {"made_by": made_by}


def _described(info: StoreInfo) -> dict[str, Any]:
    facts = {name: getattr(info, name) for name in (*_FACTS, *_SIZES)}
    return {**facts, "options": dict(info.options), "model": asdict(info.model)}


def _page(
    collection: Collection, filter: str | None, after: str | None, limit: int, with_vector: bool
) -> dict[str, Any]:
    if after is not None and not is_id(after):
        raise UsageError(f"after must be the `next` of an answer, not {after[:80]!r}")
    store = collection.store
    found = store.scroll(checked_filter(_parsed(filter), store), after, limit)
    points: list[dict[str, Any]] = [{"id": entry.id, "payload": entry.payload} for entry in found]
    if with_vector:
        for described, vector in zip(points, store.vectors([entry.id for entry in found]), strict=True):
            described["vector"] = vector
    return {"points": points, "next": found[-1].id if len(found) == limit else None}


def _read(collection: Collection, body: ReadBody, catalog: Catalog) -> list[dict[str, Any] | None]:
    store, ids = collection.store, body.ids
    payloads: list[Any] = store.payloads(ids)
    points = [None if payload is None else {"id": name} for name, payload in zip(ids, payloads, strict=True)]
    parts: list[tuple[str, list[Any]]] = [("payload", payloads)] if body.with_payload else []
    if body.with_vector:
        parts.append(("vector", ["" if vector is None else vector_text(vector) for vector in store.vectors(ids)]))
    if body.with_thumbnail:
        parts.append(("thumbnail", [base64.b64encode(data or b"").decode() for data in store.thumbnails(ids)]))
    if body.with_version:
        whole = catalog.read_back(collection.info.collection).get(ids)
        parts.append(("version", [whole[name].version if name in whole else "" for name in ids]))
    for name, values in parts:
        for point, value in zip(points, values, strict=True):
            if point is not None:
                point[name] = value
    return points


def _parsed(filter: str | None) -> str | ParsedFilter | None:
    """Return a filter of a query: a text, or a JSON list of conditions."""
    if filter is None:
        return None
    try:
        return to_filter(filter)
    except ValueError as error:
        raise UsageError(f"filter: {one_line(error)}") from None


async def _stored(service: Service, collection: Collection, name: str) -> StoredImage:
    found = await service.call(collection.get, name)
    if found is None:
        raise HTTPException(404, f"there is no image with the id or key {name[:200]!r}")
    return found


def _file(stored: StoredImage) -> tuple[bytes, str]:
    """Return the file of an image and its media type.

    A key may be anything, also `../../etc/passwd`. So a file is given away only if it is what was stored: an image with
    the same SHA-256.
    """
    path = stored.path
    try:
        data = read_file(path) if path else b""
        if data and hashlib.sha256(data).hexdigest() == stored.payload.get("sha256"):
            with Image.open(io.BytesIO(data)) as opened:
                return data, opened.get_format_mimetype() or "application/octet-stream"
    except (OSError, CbirError):
        pass
    raise HTTPException(404, "the file of this image is not on this server, or has changed; it has a thumbnail")
