"""Collections as a whole: removed, and chosen."""

from fastapi import APIRouter, Request, Response

from ..answers import ChangedAnswer
from ..requests import WriteRoute, as_json, service_of

router = APIRouter(prefix="/v1/collections/{name}", tags=["write"], route_class=WriteRoute)


@router.delete("", response_model=ChangedAnswer)
async def drop(name: str, request: Request) -> Response:
    """Remove a collection with its indexes. Cannot be undone."""
    service = service_of(request)
    await service.fillings.release(name)
    for catalog in service.catalogs:
        await service.call(catalog.drop, name)
    return as_json({"changed": 1})


@router.post("/use", response_model=ChangedAnswer)
async def use(name: str, request: Request) -> Response:
    """Let the name of its data set stand for this collection, and open it by default."""
    service = service_of(request)
    for catalog in service.catalogs:
        await service.call(catalog.use, name)
    return as_json({"changed": 1})
