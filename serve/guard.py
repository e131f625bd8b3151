"""What is checked of every request before it is answered: its rate, its size and how many others there are."""

import asyncio
import logging
import re
import secrets
import time
from collections import OrderedDict
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .metrics import Metrics
from .problems import RETRY_SECONDS, problem
from .settings import ServeSettings

log = logging.getLogger(__name__)

HEALTH = frozenset({"/healthz", "/readyz", "/metrics"})
"""What monitoring reads: always answered, and not logged."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_CLIENTS = 10_000


class RateLimit:
    """A number of requests a second for each client, and twice that at once (a token bucket)."""

    def __init__(self, rate: float):
        self._rate = rate
        self._most = max(1.0, 2 * rate)
        self._clients: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, client: str, now: float) -> float:
        """Count a request at a time in seconds, and return 0 or the seconds after which it would be accepted."""
        left, before = self._clients.pop(client, (self._most, now))
        left = min(self._most, left + (now - before) * self._rate)
        accepted = left >= 1
        self._clients[client] = (left - accepted, now)
        if len(self._clients) > _CLIENTS:
            self._clients.popitem(last=False)  # the client that was silent for the longest time
        return 0.0 if accepted else (1 - left) / self._rate


class Guard:
    """Refuses requests over the limits, gives each a request id, counts and logs it, and answers an unexpected error.

    No error can show a traceback, and no answer is sent twice.
    """

    def __init__(self, app: ASGIApp, settings: ServeSettings, metrics: Metrics):
        self._app, self._metrics = app, metrics
        self._most = settings.max_requests
        self._max_bytes = int(settings.max_body_megabytes * 2**20)
        self._body_seconds = settings.body_seconds
        self._rate = RateLimit(settings.rate_limit) if settings.rate_limit else None
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let the application do it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                answered = MutableHeaders(scope=message)
                answered["x-request-id"] = request_id
                answered["x-content-type-options"] = "nosniff"
            await send(message)

        self._running += 1
        self._metrics.running.inc()
        try:
            self._check(scope, headers)
            await self._app(scope, self._limited(receive), answer)
        except HTTPException as error:  # of _check: those of the application are answered already
            refusal = problem(error.status_code, str(error.detail), request_id, error.headers)
            await refusal(scope, receive, answer)
        except ClientDisconnect:
            log.debug("%s: the client has gone", request_id)
        except Exception:
            log.exception("%s failed", request_id)
            if not status:
                await problem(500, "an error in the server. Its log has the reason", request_id)(scope, receive, answer)
        finally:
            self._running -= 1
            self._metrics.running.dec()
            self._count(scope, status, time.perf_counter() - start, request_id)

    def _check(self, scope: Scope, headers: Headers) -> None:
        if scope["path"] in HEALTH:
            return
        if self._running > self._most:
            raise HTTPException(429, "too many requests at the same time; try again", {"Retry-After": RETRY_SECONDS})
        client = scope["client"][0] if scope.get("client") else ""
        if self._rate and (wait := self._rate.wait(client, time.monotonic())):
            raise HTTPException(429, "too many requests from this address", {"Retry-After": str(int(wait) + 1)})
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._max_bytes:
            raise self._too_large()

    def _too_large(self) -> HTTPException:
        return HTTPException(413, f"the body is too large: the limit is {self._max_bytes:,} bytes")

    def _limited(self, receive: Receive) -> Receive:
        """Return a `receive` that raises once the body is too large or takes too long."""
        deadline = asyncio.get_running_loop().time() + self._body_seconds
        received, complete = 0, False

        async def limited() -> Message:
            nonlocal received, complete
            if complete:  # what comes now only says that the client has gone
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, f"the body took longer than {self._body_seconds:g} s") from None
            received += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if received > self._max_bytes:
                raise self._too_large()
            return message

        return limited

    def _count(self, scope: Scope, status: int, seconds: float, request_id: str) -> None:
        route = getattr(scope.get("route"), "path", "other")
        method = scope["method"] if scope["method"] in ("GET", "POST", "PUT", "PATCH", "DELETE") else "other"
        self._metrics.requests.labels(route, method, str(status or 499)).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        if scope["path"] not in HEALTH:
            path = scope.get("raw_path", b"").decode("ascii", "backslashreplace")[:300]
            level = logging.WARNING if status >= HTTPStatus.INTERNAL_SERVER_ERROR else logging.INFO
            log.log(level, "%s %s %s %d %.1f ms", request_id, method, path, status or 499, seconds * 1000)
