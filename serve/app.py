"""The application: routes, the guard in front of them, and the OpenAPI document."""

import logging
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from PIL import Image
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware

from cbir.errors import CbirError, UsageError
from cbir.listening import in_url
from cbir.text import one_line

from . import problems
from .answers import Problem
from .bodies import AddBody, AddForm, BatchBody, ChooseBody, EmbedBody, ReadBody, SearchBody, UpdateBody
from .filling.bodies import ChangeBody, FillingBody, PointIdsBody, PublishBody, SpaceBody, WriteBody
from .guard import HEALTH, Guard
from .routes import embedding, filling, managing, models, operating, reading, search, writing
from .service import Service
from .settings import ServeSettings

log = logging.getLogger(__name__)

_UNKNOWN_TO_FASTAPI: Sequence[type[BaseModel]] = (
    AddBody,
    AddForm,
    BatchBody,
    ChangeBody,
    ChooseBody,
    EmbedBody,
    FillingBody,
    PointIdsBody,
    PublishBody,
    ReadBody,
    SearchBody,
    SpaceBody,
    UpdateBody,
    WriteBody,
    Problem,
)
"""The bodies, which the routes check themselves, and the errors, which are not answered by the routes."""
_PROBLEM = {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    "4XX": {"description": "The request is wrong, or refused.", "content": _PROBLEM},
    "5XX": {"description": "The server or its store failed.", "content": _PROBLEM},
}


_SWITCH_SECONDS = 0.0005
"""A thread that has searched waits no longer than this for a busy event loop; Python's own 5 ms is ten searches."""
_KEYS = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A read key or a write key."},
    "api-key": {"type": "apiKey", "in": "header", "name": "api-key", "description": "The same, in another header."},
}


def create_app(settings: ServeSettings | None = None) -> FastAPI:
    """Return the application for the settings, by default those of the environment.

    Raises:
        UsageError: A setting or a store URL is invalid.
    """
    settings = settings or ServeSettings()
    service = Service(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        sys.setswitchinterval(_SWITCH_SECONDS)
        await service.call(_warm_up, service)
        yield
        service.close()

    app = FastAPI(
        title="cbir",
        version=version("cbir"),
        description="Find images that look like an image, or match a text.",
        lifespan=lifespan,
        redoc_url=None,
        responses=_RESPONSES,
    )
    app.state.service = service
    for module in (search, reading, writing, managing, filling, embedding, operating):
        app.include_router(module.router)
    for router in (models.reading, models.writing):
        app.include_router(router)
    problems.install(app)
    if settings.hosts:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(map(in_url, settings.hosts)), www_redirect=False)
    app.add_middleware(Guard, settings=settings, metrics=service.metrics)
    if settings.cors_origins:  # outermost, so that a page's script may read every answer
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST", "PATCH", "DELETE"],
            allow_headers=["authorization", "api-key", "content-type", "x-request-id"],
            expose_headers=["x-request-id"],
        )
    app.openapi = lambda: _document(app)  # type: ignore[method-assign]
    return app


def _warm_up(service: Service) -> None:
    """Open the collection published last, and run its model once, so that no request waits for that."""
    try:
        name = service.default()
        embedder = service.model(service.collections.open(name) if name else None).embedder
        embedder.run(embedder.pixels(Image.new("RGB", (64, 64)))[None])
        with suppress(UsageError):  # it may have no text tower
            embedder.embed_text(["ready"])
    except CbirError as error:  # others may be in order
        log.warning("warning: %s", one_line(error))


def _document(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document, made once."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        _, schemas = models_json_schema(
            [(kind, "validation") for kind in _UNKNOWN_TO_FASTAPI], ref_template="#/components/schemas/{model}"
        )
        document["components"]["schemas"] |= schemas["$defs"]
        document["components"]["securitySchemes"] = _KEYS
        for path, operations in document["paths"].items():
            for operation in operations.values() if path not in HEALTH - {"/metrics"} else ():
                operation["security"] = [{name: []} for name in _KEYS]
        app.openapi_schema = document
    return app.openapi_schema
