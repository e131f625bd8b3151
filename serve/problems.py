"""Errors as `application/problem+json` (RFC 9457): what happened, and how to fix it."""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from cbir.errors import CbirError, DiskFullError, ImageError, UsageError
from cbir.text import one_line, redacted

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = "1"


def problem(
    status: int,
    detail: str,
    request_id: str,
    headers: Mapping[str, str] | None = None,
    errors: Sequence[Mapping[str, str]] = (),
) -> Response:
    """Return the answer for an error. `errors` has the field and the message of each invalid field."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "request_id": request_id,
    }
    if errors:
        body["errors"] = errors
    return Response(orjson.dumps(body), status, headers, MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Let an application answer every error as a problem."""
    app.exception_handler(HTTPException)(_refused)
    app.exception_handler(RequestValidationError)(_invalid)
    app.exception_handler(ValidationError)(_invalid)
    app.exception_handler(CbirError)(_failed)


async def _refused(request: Request, error: HTTPException) -> Response:
    return problem(error.status_code, str(error.detail), request.state.request_id, error.headers)


async def _invalid(request: Request, error: RequestValidationError | ValidationError) -> Response:
    errors = [
        {"field": ".".join(map(str, found["loc"])), "message": one_line(found["msg"])} for found in error.errors()
    ]
    detail = "; ".join(f"{found['field']}: {found['message']}" for found in errors[:3])
    return problem(422, detail, request.state.request_id, errors=errors[:20])


async def _failed(request: Request, error: CbirError) -> Response:
    """Answer an error of the library. What failed in the server itself is only in its log: it may name its files."""
    request_id = request.state.request_id
    if isinstance(error, UsageError | ImageError):
        name, service = request.path_params.get("name"), request.app.state.service
        if isinstance(error, UsageError) and name:
            try:  # it may have been dropped since its name was looked up
                await service.call(service.collections.open, name)
            except HTTPException as missing:
                return await _refused(request, missing)
        return problem(422, redacted(one_line(error)), request_id)
    log.error("%s failed: %s", request_id, redacted(one_line(error)))
    if isinstance(error, DiskFullError):
        return problem(507, "the server's disk is full; what was stored before is kept", request_id)
    return problem(503, "the store failed. The server's log has the reason", request_id, {"Retry-After": RETRY_SECONDS})
