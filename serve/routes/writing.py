"""Changes. Each is durable, and every later search sees it, when its answer is sent."""

import hashlib
from asyncio import gather
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

from cbir.collection import Collection
from cbir.errors import ImageError
from cbir.records import point_id
from cbir.search.examples import Clock

from ..answers import AddAnswer, ChangedAnswer
from ..bodies import AddBody, AddForm, ChooseBody, NewImage, UpdateBody
from ..requests import WriteRoute, as_json, body_of, check_batch, is_form, parsed, service_of

router = APIRouter(prefix="/v1/collections/{name}/points", tags=["write"], route_class=WriteRoute)


@router.post("", response_model=AddAnswer, openapi_extra=body_of(AddBody, AddForm))
async def add(name: str, request: Request) -> Response:
    """Add images, or replace those with the same keys. An image that cannot be used is skipped and named."""
    service = service_of(request)
    body = _of_form(await parsed(request, AddForm)) if is_form(request) else await parsed(request, AddBody)
    check_batch(service, len(body.images))
    keys = [image.key or image.url or hashlib.sha256(image.image or b"").hexdigest() for image in body.images]
    if len(set(keys)) < len(keys):
        raise HTTPException(422, "two images have the same key, or no key and the same file")
    collection = await service.call(service.collections.open, name, body.create)
    files = await gather(
        *(service.file(image.image, image.url, Clock()) for image in body.images), return_exceptions=True
    )
    return as_json(await service.change(_added, collection, keys, files, body.images))


@router.patch("", response_model=ChangedAnswer, openapi_extra=body_of(UpdateBody))
async def update(name: str, request: Request) -> Response:
    """Set payload fields of some images."""
    service = service_of(request)
    body = await parsed(request, UpdateBody)
    check_batch(service, len(body.ids))
    collection = await service.collection(name)
    return as_json({"changed": await service.change(_updated, collection, body)})


@router.delete("", response_model=ChangedAnswer, openapi_extra=body_of(ChooseBody))
async def delete(name: str, request: Request) -> Response:
    """Remove some images."""
    service = service_of(request)
    body = await parsed(request, ChooseBody)
    check_batch(service, len(body.ids))
    collection = await service.collection(name)
    return as_json({"changed": await service.change(_deleted, collection, body)})


def _of_form(form: AddForm) -> AddBody:
    """Return the body that a form stands for."""
    for what, values in (("key", form.key), ("payload", form.payload)):
        if values and len(values) != len(form.image):
            raise HTTPException(
                422, f"{len(form.image)} images and {len(values)} of {what}: give one for each, or none"
            )
    images = []
    for i, image in enumerate(form.image):
        try:
            payload = orjson.loads(form.payload[i]) if form.payload else {}
        except orjson.JSONDecodeError as error:
            raise HTTPException(422, f"payload: no valid JSON: {error}") from None
        images.append(NewImage(image=image, key=form.key[i] if form.key else None, payload=payload))
    return AddBody(images=images, create=form.create)


def _added(
    collection: Collection, keys: list[str], files: list[bytes | BaseException], images: list[NewImage]
) -> dict[str, Any]:
    failures = []
    ready = []
    for key, file, image in zip(keys, files, images, strict=True):
        if isinstance(file, bytes):
            ready.append((file, key, image.payload))
        elif isinstance(file, ImageError):
            failures.append({"key": key, "reason": str(file)})
        else:
            raise file
    if not ready:
        raise ImageError(f"no image can be fetched: {failures[0]['reason']}")
    report = collection.add(
        [file for file, _, _ in ready],
        keys=[key for _, key, _ in ready],
        payloads=[payload for _, _, payload in ready],
    )
    failures += report.failures
    failed = {failure["key"] for failure in failures}
    dataset = collection.info.dataset if report.stored or report.unchanged else ""
    return {
        "collection": report.collection,
        "stored": report.stored,
        "unchanged": report.unchanged,
        "skipped": len(failures),
        "failures": failures,
        "ids": {key: point_id(dataset, key) for key in keys if key not in failed},
    }


def _updated(collection: Collection, body: UpdateBody) -> int:
    return collection.update(body.changes, ids=body.ids, filter=body.filter)


def _deleted(collection: Collection, body: ChooseBody) -> int:
    return collection.delete(ids=body.ids, filter=body.filter)
