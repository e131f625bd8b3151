"""One Qdrant server: its URL with options, its errors in one line, and one way to ask it that outlasts a bad moment.

http://HOST:6333?shards=6&replicas=2&write_consistency=2&on_disk=1&quantization=scalar&m=32&ef_construct=200&ef=128
"""

import ipaddress
import json
import logging
import random
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Annotated, Literal, TypeVar
from urllib.parse import parse_qsl, urlsplit

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from qdrant_client import QdrantClient, models
from qdrant_client.common.client_exceptions import QdrantException, ResourceExhaustedResponse
from qdrant_client.http.exceptions import ApiException, ResponseHandlingException, UnexpectedResponse

from cbir.errors import CbirError, UsageError
from cbir.settings import Settings
from cbir.stores import redacted

READ_RETRY_SECONDS = 2.0
"""How long a reader tries again: somebody is waiting for the answer."""

_TIMEOUT_SECONDS = 30
_PASSING = frozenset({408, 429, 500, 502, 503, 504})
_FIRST_DELAY, _LONGEST_DELAY = 0.2, 10.0

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


_SEARCHING = frozenset({"ef", "rescore", "oversampling"})
_OPTIONS = TypeAdapter(ServerOptions)


def server_options(url: str) -> ServerOptions:
    """Return the options behind a server URL's question mark.

    Raises:
        UsageError: One of them is unknown, or has a value that it cannot have.
    """
    try:
        return _OPTIONS.validate_python(_given(url))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = first["loc"][0]
        known = ", ".join(one.name for one in fields(ServerOptions))
        unknown = first["type"] == "unexpected_keyword_argument"
        what = f"unknown option {name!r}; a server has {known}" if unknown else f"{name}: {first['msg']}"
        raise UsageError(f"store {redacted(_address(url))!r}: {what}") from None


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
        settings: What holds the API key.
        retry_seconds: How long a failure that may pass is tried again, for each request.
        timeout_seconds: How long to wait for an answer.

    Raises:
        UsageError: The URL is not one of a server, or has options that there are not.
    """

    def __init__(
        self,
        url: str,
        settings: Settings,
        retry_seconds: float = READ_RETRY_SECONDS,
        timeout_seconds: int = _TIMEOUT_SECONDS,
    ):
        key = settings.qdrant_api_key.get_secret_value() if settings.qdrant_api_key else None
        self.url = redacted(_address(url))
        self.options = server_options(url)
        self.given = {name: value for name, value in _given(url).items() if name not in _SEARCHING}
        self._client = _client(_address(url), key, timeout_seconds)
        self._retry_seconds = retry_seconds

    def ask(self, call: Callable[[QdrantClient], T], retry_seconds: float | None = None) -> T:
        """Return what `call` gets from the server; an update counts when the server has applied it.

        Refused and broken connections, timeouts and the statuses 408, 429, 500, 502, 503 and 504 are tried again,
        after exponentially longer pauses and at least what the server's Retry-After asks for, while the budget lasts.

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
            answer = call(self._client)
        except (ApiException, QdrantException, OSError, ValueError) as error:
            raise _explained(error, self.url) from None
        if isinstance(answer, models.UpdateResult) and answer.status is not models.UpdateStatus.COMPLETED:
            raise ServerError(f"the Qdrant server {self.url} says {answer.status.value}, not completed", passing=True)
        return answer


def _explained(error: Exception, url: str) -> ServerError:
    """Return one line that says which server failed, how, and what to look at."""
    if isinstance(error, ResourceExhaustedResponse):
        message = f"the Qdrant server {url} answered 429 Too Many Requests: {_one_line(error.message)}"
        return ServerError(message, 429, error.message, True, error.retry_after_s)
    if isinstance(error, UnexpectedResponse):
        status = error.status_code or 0
        reason = _reason(error.content)
        hint = "; check QDRANT_API_KEY" if status in (401, 403) else ""
        message = f"the Qdrant server {url} answered {status} {error.reason_phrase}{reason and ': '}{reason}{hint}"
        wait = error.headers.get("retry-after", "")
        return ServerError(message, status, reason, status in _PASSING, float(wait) if wait.isdecimal() else None)
    if isinstance(error, ResponseHandlingException):
        error = error.source
    if isinstance(error, ValueError):  # pydantic's and json's among them
        return ServerError(f"{url} does not answer as a Qdrant server does: {type(error).__name__}")
    if isinstance(error, QdrantException):  # a Retry-After that is a date
        return ServerError(f"the Qdrant server {url} answered 429 Too Many Requests", 429, passing=True)
    what = _one_line(str(error)) or type(error).__name__
    return ServerError(f"the Qdrant server {url} cannot be reached: {what}; is it running?", passing=True)


def _reason(content: bytes) -> str:
    try:
        return _one_line(str(json.loads(content)["status"]["error"]))
    except (ValueError, LookupError, TypeError):
        return ""


def _one_line(text: str) -> str:
    return "".join(one for one in " ".join(text.split())[:300] if one.isprintable())


def _given(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query, keep_blank_values=True))


def _address(url: str) -> str:
    return url.partition("?")[0]


# The client would say it with two lines of its own source; `_warn_if_open` says it.
warnings.filterwarnings("ignore", message="Api key is used with an insecure connection")


@lru_cache(maxsize=16)
def _client(address: str, key: str | None, timeout_seconds: int) -> QdrantClient:
    try:
        client = QdrantClient(url=address, api_key=key, timeout=timeout_seconds, check_compatibility=False)
        _warn_if_open(address, key)
    except ValueError as error:
        raise UsageError(f"{redacted(address)} is not the address of a Qdrant server: {error}") from None
    return client


@lru_cache(maxsize=16)  # once is enough
def _warn_if_open(address: str, key: str | None) -> None:
    parts = urlsplit(address)
    try:
        here = ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        here = parts.hostname == "localhost"
    lacks = [what for what, there in (("TLS (https)", parts.scheme == "https"), ("an API key", bool(key))) if not there]
    if lacks and not here:
        risk = (
            "the key and all images' data can be read on the way" if key else "whoever reaches it can read and delete"
        )
        log.warning("warning: %s is spoken to without %s: %s", redacted(address), " and without ".join(lacks), risk)
