"""Requests to a `cbir-serve`, repeated for a moment if it is busy, with its problems as our errors."""

import re
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Literal, NoReturn, TypeVar

import httpx
import orjson

from cbir.errors import CbirError, DiskFullError, UsageError
from cbir.listening import is_loopback
from cbir.settings import Settings
from cbir.text import one_line, redacted

RETRY_SECONDS = 5.0
_TIMEOUT_SECONDS = 60
_ADDRESS = re.compile(r"https?://([\w.-]+|\[[\da-f:.]+\])(:\d+)?(/[\w.-]+)?/?", re.ASCII | re.IGNORECASE)
_BUSY = frozenset({429, 502, 503, 504})
_WRONG = frozenset({400, 401, 403, 404, 409, 413, 415, 422})
_JSON = {"content-type": "application/json"}
_LONGEST_WAIT = 2.0
Method = Literal["GET", "POST", "PUT", "DELETE"]
Item = TypeVar("Item")
Answer = TypeVar("Answer")


def in_parts(items: Sequence[Item], at_once: int, ask: Callable[[Sequence[Item]], list[Answer]]) -> list[Answer]:
    """Return what `ask` answers to all items, so many at once, or fewer if that is too much for the server."""
    starts = range(0, len(items), at_once)
    return [answer for start in starts for answer in _halved(items[start : start + at_once], ask)]


def _halved(items: Sequence[Item], ask: Callable[[Sequence[Item]], list[Answer]]) -> list[Answer]:
    try:
        return ask(items)
    except ApiUsageError as error:
        if error.status != HTTPStatus.REQUEST_ENTITY_TOO_LARGE or len(items) == 1:
            raise
    half = len(items) // 2
    return _halved(items[:half], ask) + _halved(items[half:], ask)


class ApiConnection:
    """The connections to one server. Safe to share between threads: a request that is lost is sent again.

    Attributes:
        address: The server's URL, without the collection.
        collection: The collection in the URL, "" for none.
    """

    def __init__(self, url: str, settings: Settings):
        """Prepare it; nothing is sent yet.

        Raises `UsageError` if the URL is invalid, or the key would be sent without TLS to another machine.
        """
        if not _ADDRESS.fullmatch(url):
            raise UsageError(f"cbir+{redacted(url)} is no address: use one such as cbir+https://HOST/COLLECTION")
        scheme, _, rest = url.partition("://")
        host, _, self.collection = rest.rstrip("/").partition("/")
        self.address = f"{scheme}://{host}"
        key = settings.api_key.get_secret_value() if settings.api_key else ""
        if key and scheme == "http" and not settings.insecure and not is_loopback(httpx.URL(self.address).host):
            raise UsageError(
                f"{self.address} would get the key without TLS, so that others can read it: use cbir+https://, or"
                " --insecure (CBIR_INSECURE=1) in a private network"
            )
        self._client = httpx.Client(
            base_url=self.address,
            headers={"api-key": key} if key else {},
            timeout=settings.server_timeout_seconds or _TIMEOUT_SECONDS,
            verify=str(settings.server_ca) if settings.server_ca else True,
            trust_env=False,
        )
        weakref.finalize(self, self._client.close)

    def get(self, path: str, **parameters: str | int | bool | None) -> Any:
        """Return the JSON at a path. A parameter that is None is left out."""
        given = {name: value for name, value in parameters.items() if value is not None}
        return self._json(self.ask("GET", path, given))

    def post(self, path: str, body: Mapping[str, Any], retry_seconds: float | None = None) -> Any:
        """Return the JSON that answers a body."""
        return self._json(self.ask("POST", path, content=orjson.dumps(body), retry_seconds=retry_seconds))

    def lines(self, path: str, body: Mapping[str, Any]) -> Iterator[Any]:
        """Yield the JSON in each line that answers a body."""
        try:
            with self._client.stream("POST", path, content=orjson.dumps(body), headers=_JSON) as answer:
                if answer.status_code != HTTPStatus.OK:
                    answer.read()
                    self._raise(answer)
                yield from map(self._json, answer.iter_lines())
        except httpx.TransportError as error:
            raise CbirError(f"{self.address} did not answer: {one_line(error)}") from None

    def ask(
        self,
        method: Method,
        path: str,
        parameters: Mapping[str, str | int | bool] | None = None,
        content: bytes | None = None,
        retry_seconds: float | None = None,
    ) -> bytes:
        """Return the answer to a request, which is repeated for a while if the server is busy or away."""
        deadline = time.monotonic() + (RETRY_SECONDS if retry_seconds is None else retry_seconds)
        wait = 0.05
        while True:
            try:
                answer = self._client.request(method, path, params=parameters, content=content, headers=_JSON)
            except httpx.ConnectError as error:
                reason = f"cannot reach {self.address}: {one_line(error)}"
            except httpx.TransportError as error:
                reason = f"{self.address} did not answer: {one_line(error)}"
            else:
                if answer.status_code == HTTPStatus.OK:
                    return answer.content
                if answer.status_code not in _BUSY:
                    self._raise(answer)
                reason = f"{self.address}: {_detail(answer)}"
            if time.monotonic() + wait > deadline:
                raise CbirError(reason)
            time.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT)

    def _json(self, answer: bytes | str) -> Any:
        try:
            return orjson.loads(answer)
        except orjson.JSONDecodeError:
            raise CbirError(f"{self.address} does not answer as a cbir-serve does. Check the URL") from None

    def _raise(self, answer: httpx.Response) -> NoReturn:
        reason = f"{self.address}: {_detail(answer)}"
        if answer.status_code in _WRONG:
            raise ApiUsageError(reason, answer.status_code)
        if answer.status_code == HTTPStatus.INSUFFICIENT_STORAGE:
            raise DiskFullError(reason)
        raise CbirError(reason)


class ApiUsageError(UsageError):
    """A request that the server refuses, with the status of its answer."""

    def __init__(self, message: str, status: int):
        super().__init__(message)
        self.status = status


def _detail(answer: httpx.Response) -> str:
    """Return what a problem says, or the status of an answer that is none."""
    try:
        return one_line(str(orjson.loads(answer.content)["detail"]))
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return f"HTTP {answer.status_code}. Is this a cbir-serve?"
