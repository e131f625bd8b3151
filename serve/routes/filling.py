"""Vectors of the client's own, which `cbir+https` stores: `cbir.stores.base.CollectionWriter` over HTTP."""

import base64
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, Literal, TypeVar

import numpy as np
import orjson
from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from cbir.errors import UsageError
from cbir.index.names import check_collection
from cbir.pipeline.writers import Target
from cbir.progress import silent
from cbir.records import Failure, Payload, Point, plain_point

from ..answering import to_json
from ..answers import FailuresAnswer, FillingAnswer, PublishedAnswer, StoredPointsAnswer
from ..filling.bodies import ChangeBody, FillingBody, PointIdsBody, PublishBody, SpaceBody, WriteBody
from ..filling.opened import Filling
from ..requests import FillRoute, as_json, as_response, body_of, check_batch, check_ids, parsed, service_of
from ..service import Service

_BINARY: dict[int | str, dict[str, Any]] = {200: {"content": {"application/octet-stream": {}}}}
_LINES: dict[int | str, dict[str, Any]] = {200: {"content": {"application/x-ndjson": {}}}}
AnyFilling = TypeVar("AnyFilling", bound=FillingBody)
_UNIT = 1e-3

router = APIRouter(prefix="/v1/collections/{name}/filling", tags=["fill"], route_class=FillRoute)


@router.post("", response_model=FillingAnswer, openapi_extra=body_of(FillingBody))
async def open_filling(name: str, request: Request) -> Response:
    """Open a collection to be filled; it is created if there is none. 409: send the model's file first."""
    _, filling, service = await _requested(name, request, FillingBody)
    return as_json(await service.fillings.run(filling, _state))


@router.post("/space", response_model=FillingAnswer, openapi_extra=body_of(SpaceBody))
async def require_space(name: str, request: Request) -> Response:
    """Answer 507 if so many new points would not fit on the disk."""
    body, filling, service = await _requested(name, request, SpaceBody)
    return as_json(await service.fillings.run(filling, lambda targets: _require_space(targets, body.fresh)))


@router.post("/stored", response_class=Response, responses=_BINARY, openapi_extra=body_of(FillingBody))
async def stored(name: str, request: Request) -> Response:
    """Return what is stored, 32 bytes for each point: id, and 64 bits of the hashes of version and payload."""
    _, filling, service = await _requested(name, request, FillingBody)
    return Response(await service.fillings.run(filling, _stored), media_type="application/octet-stream")


@router.post("/points", response_model=FailuresAnswer, openapi_extra=body_of(WriteBody))
async def write(name: str, request: Request) -> Response:
    """Store points. They are on the disk when the answer comes, and searches find them once they are published."""
    body, filling, service = await _requested(name, request, WriteBody)
    check_batch(service, len(body.points))
    points = [point.point() for point in body.points]
    _check(points, filling.plan.model.dimension)
    failures = await service.fillings.run(filling, lambda targets: _write(targets, points))
    return as_json({"failures": [asdict(failure) for failure in failures]})


@router.post("/delete", response_model=FillingAnswer, openapi_extra=body_of(PointIdsBody))
async def delete(name: str, request: Request) -> Response:
    """Remove points."""
    body, filling, service = await _requested(name, request, PointIdsBody)
    check_ids(body.ids)
    return as_json(await service.fillings.run(filling, lambda targets: _delete(targets, body.ids)))


@router.post("/update", response_model=FillingAnswer, openapi_extra=body_of(ChangeBody))
async def update(name: str, request: Request) -> Response:
    """Set payload fields of points."""
    body, filling, service = await _requested(name, request, ChangeBody)
    check_ids(body.ids)
    return as_json(await service.fillings.run(filling, lambda targets: _update(targets, body.ids, body.changes)))


@router.post("/read", response_model=StoredPointsAnswer, openapi_extra=body_of(PointIdsBody))
async def read(name: str, request: Request) -> Response:
    """Return those of some points that are stored, published or not."""
    body, filling, service = await _requested(name, request, PointIdsBody)
    check_ids(body.ids)
    check_batch(service, len(body.ids))
    return as_response(await service.fillings.run(filling, lambda targets: _read(targets, body.ids)))


@router.post(
    "/{what}/all",
    response_class=Response,
    responses=_LINES,
    openapi_extra=body_of(FillingBody),
)
async def list_all(name: str, what: Literal["described", "thumbnails"], request: Request) -> Response:
    """Return id, key and SHA-256, or key and thumbnail, of all points: lines of JSON lists."""
    _, filling, service = await _requested(name, request, FillingBody)
    rows = await service.fillings.run(filling, lambda targets: _rows(targets, what))
    return StreamingResponse(rows, media_type="application/x-ndjson")


@router.post("/publish", response_model=PublishedAnswer, openapi_extra=body_of(PublishBody))
async def publish(name: str, request: Request) -> Response:
    """Show searches what was stored. If `published` is false, it is not done yet: ask again with the same attempt."""
    body, filling, service = await _requested(name, request, PublishBody)
    done = await service.fillings.publish(filling, body.attempt, lambda targets: _publish(targets, body.more))
    if done:
        service.optimize_if_due(name)
    return as_json({"published": done})


@router.post("/close", response_model=PublishedAnswer)
async def close(name: str, request: Request) -> Response:
    """Let others change the collection. What was stored but not published stays for the next who fills it."""
    await service_of(request).fillings.release(name)
    return as_json({"published": False})


async def _requested(name: str, request: Request, kind: type[AnyFilling]) -> tuple[AnyFilling, Filling, Service]:
    """Return the checked body, and what it fills."""
    check_collection(name)
    body = await parsed(request, kind)
    return body, body.filling(name), service_of(request)


def _check(points: Sequence[Point], dimension: int) -> None:
    """Raise 422 unless all points can be searched."""
    check_ids([point.id for point in points])
    for point in points:
        if point.vector.shape != (dimension,):
            raise UsageError(f"{point.id}: the vector has {point.vector.size:,} dimensions, the model {dimension:,}")
        if not abs(float(np.linalg.norm(point.vector)) - 1) < _UNIT:  # not finite, either
            raise UsageError(f"{point.id}: the vector must be of unit length")


def _state(targets: list[Target]) -> dict[str, Any]:
    writers = [target.writer for target in targets]
    states = [writer.state for writer in writers]
    return {
        "resumed": max(writer.resumed for writer in writers),
        "needs_publishing": any(writer.needs_publishing for writer in writers),
        "state": None if None in states else " ".join(map(str, states)),
    }


def _require_space(targets: list[Target], fresh: int) -> dict[str, Any]:
    for target in targets:
        target.writer.require_free_space(fresh)
    return _state(targets)


def _stored(targets: list[Target]) -> bytes:
    for target in targets:
        target.writer.refresh()
    first, *others = (target.writer.stored_ids.rows() for target in targets)
    for other in others:
        kept = set(other.tolist())
        first = first[[row in kept for row in first.tolist()]]
    return first.tobytes()


def _write(targets: list[Target], points: Sequence[Point]) -> list[Failure]:
    refused = [failure for target in targets for failure in target.store(points, [])]
    for target in targets:
        target.flush()
    return refused


def _delete(targets: list[Target], ids: Sequence[str]) -> dict[str, Any]:
    for target in targets:
        target.delete(ids)
    return _state(targets)


def _update(targets: list[Target], ids: Sequence[str], changes: Payload) -> dict[str, Any]:
    for target in targets:
        target.writer.update(ids, changes)
        target.flush()
    return _state(targets)


def _read(targets: list[Target], ids: Sequence[str]) -> bytes:
    found = targets[0].writer.read_back().get(ids)
    return to_json({"points": [plain_point(point) | {"digest": point.digest} for point in found.values()]})


def _rows(targets: list[Target], what: str) -> Iterator[bytes]:
    writer = targets[0].writer
    if what == "thumbnails":
        rows = ([key, base64.b64encode(data).decode()] for key, data in writer.thumbnails())
    else:
        described = writer.read_back().described
        rows = ([point_id, payload.get("key", ""), payload.get("sha256", "")] for point_id, payload in described)
    return (orjson.dumps(row) + b"\n" for row in rows)


def _publish(targets: list[Target], more: bool) -> None:
    for target in targets:
        target.flush()
        if target.writer.needs_publishing:
            target.writer.publish(silent, more)
