"""The files of models, which clients need to make vectors of their own, and may send."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import FileResponse
from starlette.exceptions import HTTPException

from cbir.index.disk import report_full_disk
from cbir.models.received import Part, ReceivedModels
from cbir.models.text_tower import own_text_tower

from ..answers import ModelFileAnswer
from ..requests import ReadRoute, WriteRoute, as_json, service_of

reading = APIRouter(prefix="/v1/models/{sha256}", tags=["models"], route_class=ReadRoute)
writing = APIRouter(prefix="/v1/models/{sha256}", tags=["models"], route_class=WriteRoute)

Checksum = Annotated[str, Path(pattern="^[0-9a-f]{64}$", description="The model's `sha256` in a collection's facts.")]
_BINARY = "application/octet-stream"


@reading.get("/{part}", response_class=Response, responses={200: {"content": {_BINARY: {}}}})
async def download(sha256: Checksum, part: Part, request: Request) -> Response:
    """Return the file of a model that a collection was made with, or its text tower."""
    service = service_of(request)
    path = await service.call(service.models.with_checksum, sha256)
    if path is not None and part == "text":
        path = await service.call(own_text_tower, path)
    if path is None:
        raise HTTPException(404, f"this server has no {part} file of the model {sha256[:12]}")
    return FileResponse(path, media_type=_BINARY)


@writing.put(
    "/{part}",
    response_model=ModelFileAnswer,
    openapi_extra={"requestBody": {"required": True, "content": {_BINARY: {"schema": {"type": "string"}}}}},
)
async def upload(
    sha256: Checksum, part: Part, request: Request, start: Annotated[int, Query(ge=0)] = 0, last: bool = True
) -> Response:
    """Send a file, or a piece of it that begins at byte `start`; `last` says that it is complete then."""
    service, data = service_of(request), await request.body()
    await service.call(_keep, service.models.received, sha256, part, start, data, last)
    return as_json({"complete": last})


def _keep(received: ReceivedModels, sha256: str, part: Part, start: int, data: bytes, last: bool) -> None:
    with report_full_disk():
        received.append(sha256, part, start, data)
        if last:
            received.finish(sha256, part)
