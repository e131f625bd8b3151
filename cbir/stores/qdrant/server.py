"""One Qdrant server: its URL with options, its errors in one line, and one way to ask it that outlasts a bad moment.

http://HOST:6333?shards=6&replicas=2&write_consistency=2&on_disk=1&quantization=scalar&m=32&ef_construct=200&ef=128
https://HOST:443?grpc=8443     gRPC at a port of its own; grpc=0 for REST alone

gRPC is preferred: at the port named, or at 6334 if REST has its usual 6333. Where nobody answers there, REST is used.
"""

import json
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Annotated, Literal, TypeVar

from grpc import RpcError, StatusCode  # type: ignore[import-untyped]
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from qdrant_client import QdrantClient, models
from qdrant_client.common.client_exceptions import QdrantException, ResourceExhaustedResponse
from qdrant_client.http.exceptions import ApiException, ResponseHandlingException, UnexpectedResponse

from cbir.errors import CbirError, UsageError
from cbir.settings import Settings
from cbir.stores.qdrant.connection import client_of, connection_config
from cbir.stores.url import StoreURL
from cbir.text import one_line, redacted

READ_RETRY_SECONDS = 2.0
"""How long a reader tries again: somebody is waiting for the answer."""

_TIMEOUT_SECONDS = 30
_PASSING = frozenset({408, 429, 500, 502, 503, 504})
_FIRST_DELAY, _LONGEST_DELAY = 0.2, 10.0
# Of https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto, but for what tonic says of a message
# that is too large (OUT_OF_RANGE), and what a proxy that goes away leaves behind (CANCELLED).
_STATUS = {
    StatusCode.INVALID_ARGUMENT: 400,
    StatusCode.UNAUTHENTICATED: 401,
    StatusCode.PERMISSION_DENIED: 403,
    StatusCode.NOT_FOUND: 404,
    StatusCode.ALREADY_EXISTS: 409,
    StatusCode.ABORTED: 409,
    StatusCode.FAILED_PRECONDITION: 412,
    StatusCode.OUT_OF_RANGE: 413,
    StatusCode.RESOURCE_EXHAUSTED: 429,
    StatusCode.UNIMPLEMENTED: 501,
    StatusCode.CANCELLED: 503,
    StatusCode.UNAVAILABLE: 503,
    StatusCode.DEADLINE_EXCEEDED: 504,
}

T = TypeVar("T")
_Count = Annotated[int, Field(ge=1, le=1_000_000)]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServerOptions:
    """What may stand behind the question mark of a server's URL; but for `_SEARCHING`, how a collection is made.

    Attributes:
        shards, replicas, write_consistency: As Qdrant has them; the server decides if None.
        on_disk: Vectors and graph are read from the disk instead of being held in memory.
        quantization: "scalar" (int8), "product" (16 times smaller), "binary" or "turbo", held in memory; None for none.
        m, ef_construct: How the graph is built.
        ef: How widely it is searched.
        rescore, oversampling: Of quantized vectors: so many times as many hits are compared by their whole vectors.
        grpc: The port of gRPC, 0 for REST alone; None for the usual one beside REST's usual one.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    shards: _Count | None = None
    replicas: _Count | None = None
    write_consistency: _Count | None = None
    on_disk: bool = False
    quantization: Literal["scalar", "product", "binary", "turbo"] | None = None
    m: _Count = 16
    ef_construct: _Count = 100
    ef: _Count = 128
    rescore: bool = True
    oversampling: Annotated[float, Field(ge=1, le=1000)] = 2.0
    grpc: Annotated[int, Field(ge=0, le=65535)] | None = None


_SEARCHING = frozenset({"ef", "rescore", "oversampling", "grpc"})
_OPTIONS = TypeAdapter(ServerOptions)


def server_options(url: StoreURL) -> ServerOptions:
    """Return the options of a server's URL.

    Raises:
        UsageError: One of them is unknown, or has a value that it cannot have.
    """
    try:
        return _OPTIONS.validate_python(url.options)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = first["loc"][0]
        known = ", ".join(one.name for one in fields(ServerOptions))
        unknown = first["type"] == "unexpected_keyword_argument"
        what = f"unknown option {name!r}; a server has {known}" if unknown else f"{name}: {first['msg']}"
        raise UsageError(f"store {redacted(url.path)!r}: {what}") from None


class ServerError(CbirError):
    """A server did not do what it was asked.

    Attributes:
        status: Its HTTP status, 0 if there was no answer.
        reason: What it said of it.
        passing: True if the same request may well succeed later.
        retry_after: Seconds that it asks to wait, or None.
    """

    def __init__(
        self, message: str, status: int = 0, reason: str = "", passing: bool = False, retry_after: float | None = None
    ):
        super().__init__(message)
        self.status, self.reason, self.passing, self.retry_after = status, reason, passing, retry_after


class Server:
    """A Qdrant server, as a process talks to it. Safe to share between threads.

    Args:
        url: Its address, with options.
        settings: What holds the API key, the authority of the certificate, and whether an open door is meant.
        retry_seconds: How long a failure that may pass is tried again, for each request.
        timeout_seconds: How long to wait for an answer, unless the settings say it.

    Raises:
        UsageError: The URL is not one of a server, or has options that there are not; the server is another machine
            and would be spoken to without an API key or TLS; or the file of the authority cannot be used.
    """

    def __init__(
        self,
        url: StoreURL,
        settings: Settings,
        retry_seconds: float = READ_RETRY_SECONDS,
        timeout_seconds: int = _TIMEOUT_SECONDS,
    ):
        self.url = redacted(url.path)
        self.options = server_options(url)
        self.given = {name: value for name, value in url.options.items() if name not in _SEARCHING}
        self._connection = connection_config(url.path, settings, timeout_seconds, self.options.grpc)
        self._retry_seconds = retry_seconds

    def ask(self, call: Callable[[QdrantClient], T], retry_seconds: float | None = None) -> T:
        """Return what `call` gets from the server; an update counts when the server has applied it.

        Refused and broken connections, timeouts and the statuses 408, 429, 500, 502, 503 and 504 are tried again,
        after exponentially longer pauses and at least what the server's Retry-After asks for, while the budget lasts.
        What gRPC says stands for the status that REST would have.

        Raises:
            ServerError: The server cannot be reached, or refuses.
        """
        budget = self._retry_seconds if retry_seconds is None else retry_seconds
        deadline, attempt = time.monotonic() + budget, 0
        while True:
            try:
                return self._once(call)
            except ServerError as error:
                left = deadline - time.monotonic()
                if not error.passing or left <= 0 or (error.retry_after or 0) > left:
                    raise
                if attempt == 0:
                    log.warning("%s; trying again for %.0f s", error, left)
                pause = min(_FIRST_DELAY * 2**attempt, _LONGEST_DELAY) * random.uniform(0.5, 1)  # noqa: S311  jitter
                time.sleep(min(max(pause, error.retry_after or 0), left))
                attempt = min(attempt + 1, 10)

    def _once(self, call: Callable[[QdrantClient], T]) -> T:
        try:
            answer = call(client_of(self._connection))
        except (ApiException, QdrantException, RpcError, OSError, ValueError) as error:
            raise _explained(error, self.url) from None
        if isinstance(answer, models.UpdateResult) and answer.status is not models.UpdateStatus.COMPLETED:
            raise ServerError(f"the Qdrant server {self.url} says {answer.status.value}, not completed", passing=True)
        return answer


def _explained(error: Exception, url: str) -> ServerError:
    """Return one line that says which server failed, how, and what to look at."""
    if isinstance(error, ResourceExhaustedResponse):
        message = f"the Qdrant server {url} answered 429 Too Many Requests: {one_line(error.message)[:300]}"
        return ServerError(message, 429, error.message, True, error.retry_after_s)
    if isinstance(error, UnexpectedResponse):
        status = error.status_code or 0
        reason = _reason(error.content)
        hint = "; check QDRANT_API_KEY" if status in (401, 403) else ""
        message = f"the Qdrant server {url} answered {status} {error.reason_phrase}{reason and ': '}{reason}{hint}"
        wait = error.headers.get("retry-after", "")
        return ServerError(message, status, reason, status in _PASSING, float(wait) if wait.isdecimal() else None)
    if isinstance(error, RpcError):
        return _explained_grpc(error, url)
    if isinstance(error, ResponseHandlingException):
        error = error.source
    if isinstance(error, ValueError):  # pydantic's and json's among them
        return ServerError(f"{url} does not answer as a Qdrant server does: {type(error).__name__}")
    if isinstance(error, QdrantException):  # a Retry-After that is a date
        return ServerError(f"the Qdrant server {url} answered 429 Too Many Requests", 429, passing=True)
    what = one_line(error)[:300]
    if "CERTIFICATE_VERIFY_FAILED" in what:
        return ServerError(f"the Qdrant server {url} cannot be trusted: {what}; {_OWN_AUTHORITY}")
    return ServerError(f"the Qdrant server {url} cannot be reached: {what}; is it running?", passing=True)


_OWN_AUTHORITY = "if its certificate is of an authority of your own, name that one's file in CBIR_SERVER_CA"


def _explained_grpc(error: RpcError, url: str) -> ServerError:
    code, reason = error.code(), one_line(error.details() or "")[:300]
    status = _STATUS.get(code, 500)
    if "larger than max" in reason:  # gRPC's own limit has the code of a rate limit
        status = 413
    if code is StatusCode.UNAVAILABLE:
        message = f"the Qdrant server {url} cannot be reached: {reason}; is it running?"
    else:
        hint = "; check QDRANT_API_KEY" if status in (401, 403) else ""
        message = f"the Qdrant server {url} answered {status} {code.name}{reason and ': '}{reason}{hint}"
    return ServerError(message, status, reason, status in _PASSING)


def _reason(content: bytes) -> str:
    try:
        return one_line(str(json.loads(content)["status"]["error"]))[:300]
    except (ValueError, LookupError, TypeError):
        return ""
