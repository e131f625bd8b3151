"""For those who operate the server: is it alive, is it ready, what does it do."""

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException

from cbir.errors import CbirError

from ..requests import ReadRoute, as_json, service_of

router = APIRouter(tags=["operate"])
keyed = APIRouter(tags=["operate"], route_class=ReadRoute)


@router.get("/healthz")
async def healthz() -> Response:
    """Answer 200 as long as the server answers at all."""
    return as_json({"status": "ok"})


@router.get("/readyz")
async def readyz(request: Request) -> Response:
    """Answer 200 if the store can be read, otherwise 503."""
    service = service_of(request)
    try:
        name = await service.call(service.default)
    except CbirError:
        raise HTTPException(503, "the store cannot be read; the server's log has the reason") from None
    return as_json({"status": "ready", "collection": name})


@keyed.get("/metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    """Return counts and times in Prometheus's text format."""
    service = service_of(request)
    return Response(await service.call(service.metrics.text), media_type=CONTENT_TYPE_LATEST)


router.include_router(keyed)
