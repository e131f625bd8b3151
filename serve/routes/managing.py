"""Collections as a whole: removed, and chosen."""

from collections.abc import Sequence

from fastapi import APIRouter, Request, Response

from cbir.errors import UsageError
from cbir.stores.base import Catalog

from ..answers import ChangedAnswer
from ..requests import WriteRoute, as_json, service_of

router = APIRouter(prefix="/v1/collections/{name}", tags=["write"], route_class=WriteRoute)


@router.delete("", response_model=ChangedAnswer)
async def drop(name: str, request: Request) -> Response:
    """Remove a collection with its indexes. Cannot be undone."""
    service = service_of(request)
    await service.fillings.release(name)
    await service.change(_drop, service.catalogs, name)
    return as_json({"changed": 1})


@router.post("/use", response_model=ChangedAnswer)
async def use(name: str, request: Request) -> Response:
    """Let the name of its data set stand for this collection, and open it by default."""
    service = service_of(request)
    for catalog in service.catalogs:
        await service.change(catalog.use, name)
    service.collections.forget_names()
    return as_json({"changed": 1})


def _drop(catalogs: Sequence[Catalog], name: str) -> None:
    """Remove a collection from every store that has it: an earlier request may have failed at the second one."""
    missing: list[UsageError] = []
    for catalog in catalogs:
        try:
            catalog.drop(name)
        except UsageError as error:
            missing.append(error)
    if len(missing) == len(catalogs):
        raise missing[0]
