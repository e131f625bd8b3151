"""One Qdrant server: the options in its URL, requests that are retried, and its errors in one line.

http://HOST:6333?shards=6&replicas=2&write_consistency=2&on_disk=1&quantization=scalar&m=32&ef_construct=200&ef=128
https://HOST:443?grpc=8443     gRPC at a port of its own; grpc=0 for REST alone

gRPC is preferred, at the port in the URL, or at 6334 if REST has its usual 6333. If it does not answer, REST is used.
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
from cbir.stores.qdrant.connection import borrowed_client, connection_config
from cbir.stores.url import StoreURL
from cbir.text import one_line, redacted

READ_RETRY_SECONDS = 2.0
"""How long a reader retries: a user is waiting for the answer."""

_TIMEOUT_SECONDS = 30
_PASSING = frozenset({408, 429, 500, 502, 503, 504})
_NO_LIMITS = models.StrictModeConfigOutput()
_FORBIDDEN = {
    '"limit"': "max_query_limit",
    '"hnsw_ef"': "search_max_hnsw_ef",
    '"oversampling"': "search_max_oversampling",
    "Exact search disabled": "search_allow_exact",
    "Index required but not found": "unindexed_filtering_retrieve",
}
"""The setting of strict mode that makes a server say this."""
_FIRST_DELAY, _LONGEST_DELAY = 0.2, 10.0
# As in https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto, except that the server's library
# answers OUT_OF_RANGE to a message that is too large, and that CANCELLED comes from a proxy that stops.
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
    """The options in a server's URL. All but `_SEARCHING` say how a collection is created.

    None leaves the choice to the server. `on_disk` reads vectors and graph from the disk instead of holding them in
    memory. Quantized vectors are held in memory: `rescore` and `oversampling` say how many candidates per hit are
    compared by their full vectors. `grpc` is its port, 0 for none; None stands for 6334 if REST has its usual port.
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
    """Return the options of a server's URL; raise `UsageError` for an unknown one or an invalid value."""
    try:
        return _OPTIONS.validate_python(url.options)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = first["loc"][0]
        problem = f"{name}: {first['msg']}"
        if first["type"] == "unexpected_keyword_argument":
            supported = ", ".join(option.name for option in fields(ServerOptions))
            problem = f"unknown option {name!r}; a server has {supported}"
        raise UsageError(f"store {redacted(url.path)!r}: {problem}") from None


class ServerError(CbirError):
    """A failed request. `status` is the HTTP status, 0 if there was no answer, and `reason` the server's own message.

    `passing` means a temporary failure, after which the same request may succeed. `retry_after` is the delay in seconds
    that the server asked for, or None.
    """

    def __init__(
        self, message: str, status: int = 0, reason: str = "", passing: bool = False, retry_after: float | None = None
    ):
        super().__init__(message)
        self.status, self.reason, self.passing, self.retry_after = status, reason, passing, retry_after


class Server:
    """A Qdrant server, by its URL with options. Safe to share between threads.

    A request is retried for `retry_seconds` after temporary failures. `timeout_seconds` is how long to wait for an
    answer, unless the settings have a timeout.
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
        self._strict_modes: dict[str, models.StrictModeConfigOutput] = {}

    def strict_mode(self, collection: str) -> models.StrictModeConfigOutput:
        """Return the limits of a collection, read once. Managed clusters have them; None is no limit."""
        if collection not in self._strict_modes:
            limits = self.ask(lambda client: client.get_collection(collection)).config.strict_mode_config
            self._strict_modes[collection] = limits if limits and limits.enabled else _NO_LIMITS
        return self._strict_modes[collection]

    def allows_exact(self, collection: str) -> bool:
        """Return False if a collection's strict mode forbids exact searches and counts."""
        return self.strict_mode(collection).search_allow_exact is not False

    def ask(self, call: Callable[[QdrantClient], T], retry_seconds: float | None = None) -> T:
        """Return the result of `call`, or raise `ServerError`. An update is complete when the server has applied it.

        Connection errors, timeouts and the statuses 408, 429, 500, 502, 503 and 504 are retried until `retry_seconds`
        have passed, with exponential backoff, and not before the server's Retry-After. Codes of gRPC count as the
        status that REST would have.
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
            with borrowed_client(self._connection) as client:
                answer = call(client)
        except (ApiException, QdrantException, RpcError, OSError, ValueError) as error:
            raise _explained(error, self.url) from None
        if isinstance(answer, models.UpdateResult) and answer.status is not models.UpdateStatus.COMPLETED:
            raise ServerError(f"the Qdrant server {self.url} says {answer.status.value}, not completed", passing=True)
        return answer


def _explained(error: Exception, url: str) -> ServerError:
    """Return one line that says which server failed, how, and what to check."""
    if isinstance(error, ResourceExhaustedResponse):
        return _answered(url, 429, "Too Many Requests", one_line(error.message)[:300], error.retry_after_s)
    if isinstance(error, UnexpectedResponse):
        delay = error.headers.get("retry-after", "")
        retry_after = float(delay) if delay.isdecimal() else None
        return _answered(url, error.status_code or 0, error.reason_phrase, _reason(error.content), retry_after)
    if isinstance(error, RpcError):
        reason = one_line(error.details() or "")[:300]
        if error.code() is StatusCode.UNAVAILABLE:
            return _unreachable(url, reason, 503)
        too_large = "larger than max" in reason  # gRPC's own limit has the code of a rate limit
        return _answered(url, 413 if too_large else _STATUS.get(error.code(), 500), error.code().name, reason)
    if isinstance(error, ResponseHandlingException):
        error = error.source
    if isinstance(error, ValueError):  # pydantic's and json's among them
        return ServerError(f"{url} does not answer as a Qdrant server does: {type(error).__name__}")
    if isinstance(error, QdrantException):  # the client cannot read a Retry-After that is a date
        return _answered(url, 429, "Too Many Requests", "")
    reason = one_line(error)[:300]
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        hint = "if its certificate is from your own authority, set CBIR_SERVER_CA to the authority's file"
        return ServerError(f"the Qdrant server {url} cannot be trusted: {reason}; {hint}")
    return _unreachable(url, reason)


def _unreachable(url: str, reason: str, status: int = 0) -> ServerError:
    message = f"the Qdrant server {url} cannot be reached: {reason}; is it running?"
    return ServerError(message, status, reason if status else "", passing=True)


def _answered(url: str, status: int, phrase: str, reason: str, retry_after: float | None = None) -> ServerError:
    hint = "; check QDRANT_API_KEY" if status in (401, 403) else ""
    setting = next((name for text, name in _FORBIDDEN.items() if text in reason), None) if status == 400 else None
    hint = f"; the setting {setting} of the collection's strict mode forbids it" if setting else hint
    message = f"the Qdrant server {url} answered {status} {phrase}{reason and ': '}{reason}{hint}"
    return ServerError(message, status, reason, status in _PASSING, retry_after)


def _reason(content: bytes) -> str:
    try:
        return one_line(str(json.loads(content)["status"]["error"]))[:300]
    except (ValueError, LookupError, TypeError):
        return ""
