"""What every route needs of a request: the service, the key, and the checked body."""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar, get_args, get_origin

import orjson
from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from cbir.errors import CbirError, DamageError, DiskFullError, ImageError, UsageError
from cbir.search.examples import is_id
from cbir.text import one_line, redacted

from . import keys
from .answering import to_json
from .problems import RETRY_SECONDS
from .service import Service

JSON = "application/json"
FORM = "multipart/form-data"

AnyBody = TypeVar("AnyBody", bound=BaseModel)


def service_of(request: Request) -> Service:
    """Return the service of the application that got a request."""
    service: Service = request.app.state.service
    return service


def _check_read(request: Request) -> None:
    settings = service_of(request).settings
    if settings.read_keys and not keys.is_one_of(_key(request), (*settings.read_keys, *settings.write_keys)):
        raise _unauthorized("a read key is needed")


def may_write(request: Request) -> bool:
    """Return whether a request has a write key."""
    return keys.is_one_of(_key(request), service_of(request).settings.write_keys)


def _check_write(request: Request) -> None:
    settings, key = service_of(request).settings, _key(request)
    if not settings.write_keys:
        raise HTTPException(403, "this server only reads: it was started without CBIR_WRITE_KEYS")
    if not keys.is_one_of(key, settings.write_keys):
        if keys.is_one_of(key, settings.read_keys):
            raise HTTPException(403, "this key may only read; a write key is needed")
        raise _unauthorized("a write key is needed")


class _KeyRoute(APIRoute):
    """A route that needs a key. FastAPI's own way, dependencies, takes as long as the search in a small index."""

    check: Callable[[Request], None]

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler, with the check of the key in front."""
        handler, check = super().get_route_handler(), type(self).check

        async def checked(request: Request) -> Response:
            check(request)
            return await handler(request)

        return checked


class ReadRoute(_KeyRoute):
    """A route that needs a read key or a write key, if there are read keys."""

    check = staticmethod(_check_read)


class WriteRoute(_KeyRoute):
    """A route that needs a write key. Without any, nobody may use it. Its client may know why the store failed."""

    check = staticmethod(_check_write)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler, which answers 503 with the reason if the store failed."""
        handler = super().get_route_handler()

        async def answered(request: Request) -> Response:
            try:
                return await handler(request)
            except (UsageError, ImageError, DamageError, DiskFullError):
                raise
            except CbirError as error:
                raise HTTPException(503, redacted(one_line(error)), {"Retry-After": RETRY_SECONDS}) from error

        return answered


class FillRoute(WriteRoute):
    """A route that fills a collection, which need not exist."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler, which answers 422 to a wrong request, whether or not there is such a collection."""
        handler = super().get_route_handler()

        async def answered(request: Request) -> Response:
            try:
                return await handler(request)
            except UsageError as error:
                raise HTTPException(422, redacted(one_line(error))) from error

        return answered


async def parsed(request: Request, kind: type[AnyBody]) -> AnyBody:
    """Return the checked body of a request: JSON, or a form whose files are images.

    Raises:
        HTTPException: It is no such body.
        ValidationError: A field is missing, unknown or invalid.
    """
    media_type = _media_type(request)
    if media_type == JSON:
        try:
            values = orjson.loads(await request.body())
        except orjson.JSONDecodeError as error:
            raise HTTPException(400, f"the body is no valid JSON: {error}") from None
        return kind.model_validate(values)
    if media_type == FORM:
        return kind.model_validate(await _form(request, kind))
    raise HTTPException(415, "send application/json or multipart/form-data")


async def _form(request: Request, kind: type[BaseModel]) -> dict[str, Any]:
    """Return the fields of a form. A field of which a body has several may be repeated."""
    values: dict[str, Any] = {}
    most = service_of(request).settings.max_batch
    async with request.form(max_files=most, max_fields=3 * most + 50) as form:
        for name, value in form.multi_items():
            read = await value.read() if isinstance(value, UploadFile) else value
            if name in kind.model_fields and _is_list(kind.model_fields[name].annotation):
                values.setdefault(name, []).append(read)
            elif name in values:
                raise HTTPException(422, f"{name}: given twice")
            else:
                values[name] = read
    return values


def _is_list(annotation: Any) -> bool:
    """Return whether a field may be a list."""
    if get_origin(annotation) is list:
        return True
    return any(_is_list(inner) for inner in get_args(annotation))


def check_batch(service: Service, count: int) -> None:
    """Raise 413 if a request has too many queries, images, texts or ids."""
    if count > service.settings.max_batch:
        raise HTTPException(413, f"{count:,} in one request; the limit is {service.settings.max_batch:,}")


def check_ids(ids: Sequence[str]) -> None:
    """Raise 422 unless all texts are ids of points."""
    for name in ids:
        if not is_id(name):
            raise HTTPException(422, f"{name[:200]!r} is not an id: ids are UUIDs")


def as_json(value: dict[str, Any]) -> Response:
    """Return an answer as JSON."""
    return as_response(to_json(value))


def as_response(data: bytes) -> Response:
    """Return an answer that is JSON already."""
    return Response(data, media_type=JSON)


def is_form(request: Request) -> bool:
    """Return whether the body of a request is a form."""
    return _media_type(request) == FORM


def body_of(kind: type[BaseModel], form: type[BaseModel] | None = None) -> dict[str, Any]:
    """Return what OpenAPI says of the body of a route: JSON of a kind, and a form."""
    kinds = {JSON: kind, **({FORM: form} if form else {})}
    content = {
        media_type: {"schema": {"$ref": f"#/components/schemas/{shown.__name__}"}}
        for media_type, shown in kinds.items()
    }
    return {"requestBody": {"required": True, "content": content}}


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", JSON).partition(";")[0].strip().lower()


def _key(request: Request) -> str:
    """Return the key in the headers `Authorization: Bearer KEY` or `api-key: KEY`, "" if there is none."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else request.headers.get("api-key", "").strip()


def _unauthorized(detail: str) -> HTTPException:
    return HTTPException(401, f"{detail}: Authorization: Bearer KEY, or api-key: KEY", {"WWW-Authenticate": "Bearer"})
