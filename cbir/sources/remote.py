"""Images from the web, with limits on size, time, redirects and addresses.

A list of URLs may come from someone else. It must not make this machine send requests to its own network or to the
metadata service of its cloud, or keep a worker busy for ever. So the addresses of a host are looked up once and all of
them are checked, and the connection goes to one of them, at every redirect. A name that resolves differently the second
time (DNS rebinding) has no effect. Proxies of the environment are not used, since addresses behind them are unknown.
"""

import ipaddress
import random
import socket
import ssl
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.client import responses
from importlib.metadata import version
from typing import Any

import httpcore
import httpx

from cbir.errors import ImageError
from cbir.images.files import MAX_FILE_BYTES

_ATTEMPTS = 4
_CONNECT_SECONDS = 4.0
_TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_HEADERS = [
    (b"User-Agent", f"cbir/{version('cbir')}".encode()),
    (b"Accept", b"image/*"),
    (b"Accept-Encoding", b"identity"),
]
_pools: dict[bool, httpcore.ConnectionPool] = {}
_pools_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits for fetching one image.

    `seconds` is the time for all attempts, redirects and waits; only the look-up of a name has the system's own limit.
    `private` allows addresses that are not public too (loopback, 10/8, link-local, ...).
    """

    max_bytes: int = MAX_FILE_BYTES
    seconds: float = 60.0
    redirects: int = 5
    private: bool = False


class _Transient(Exception):  # noqa: N818 - it is not an error yet
    """A temporary failure. `retry_after` is the delay in seconds that the server requested, or None."""

    def __init__(self, reason: str, retry_after: float | None = None):
        super().__init__(reason)
        self.retry_after = retry_after


def fetch(url: str, limits: Limits = Limits()) -> bytes:
    """Return the body at an http or https URL.

    After HTTP 408, 429, 5xx and broken connections it is tried again, at most four times in all and within
    `limits.seconds`. `Retry-After` is respected.

    Raises:
        ImageError: It cannot be fetched within the limits; the message is the reason, without the URL.
    """
    deadline = time.monotonic() + limits.seconds
    for attempt in range(_ATTEMPTS):
        try:
            return _follow(url, limits, deadline)
        except _Transient as error:
            wait = random.uniform(0.5, 1) * 2**attempt if error.retry_after is None else error.retry_after  # noqa: S311
            if attempt + 1 == _ATTEMPTS or time.monotonic() + wait >= deadline:
                raise ImageError(f"cannot be fetched: {error}") from None
        except ImageError:
            raise
        except Exception as error:  # a hostile server may trigger any error of the libraries
            raise ImageError(f"cannot be fetched: {type(error).__name__}") from None
        time.sleep(wait)
    raise ImageError("cannot be fetched")  # never reached: the last attempt returns or raises


def is_public(text: str) -> bool:
    """Return True if an IP address belongs to the public internet.

    For an IPv4 address inside an IPv6 address (mapped, NAT64), the IPv4 address counts. Other tunnels (6to4, Teredo),
    multicast, and addresses that IANA has not assigned to unicast are not public.
    """
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped
        if address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        return address in _GLOBAL_UNICAST and address.is_global and address.sixtofour is None
    return address.is_global and not address.is_multicast


def _follow(url: str, limits: Limits, deadline: float) -> bytes:
    """Return the body, after at most `limits.redirects` redirects."""
    try:
        place = httpx.URL(url.strip())
        for _ in range(limits.redirects + 1):
            found = _get(place, limits, deadline)
            if isinstance(found, bytes):
                return found
            place = place.join(found)
    except (httpx.InvalidURL, UnicodeError):  # their messages may quote a password
        raise ImageError("no valid URL") from None
    raise ImageError(f"more than {limits.redirects} redirects")


def _get(url: httpx.URL, limits: Limits, deadline: float) -> bytes | str:
    """Return the body, or the address of a redirect."""
    if url.scheme not in ("http", "https"):
        raise ImageError(f"only http and https are fetched, not {url.scheme or 'a relative URL'}")
    if not url.host or (url.port or 1) > 65535:
        raise ImageError("no valid URL")
    if url.userinfo:
        raise ImageError("a URL with a user name or password is not fetched")
    target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
    extensions = {"timeout": dict.fromkeys(("connect", "read", "write"), deadline)}
    headers = [(b"Host", url.netloc), *_HEADERS]
    try:
        with _pool(limits.private).stream("GET", target, headers=headers, extensions=extensions) as response:
            return _body(response, limits)
    except httpcore.TimeoutException:
        if time.monotonic() >= deadline:
            raise ImageError(f"took longer than {limits.seconds:g} s") from None
        raise _Transient("no connection in time") from None
    except (httpcore.NetworkError, httpcore.ProtocolError) as error:
        cause = error.args[0] if error.args else None
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise ImageError(f"its certificate is not valid: {cause.verify_message}") from None
        raise _Transient(str(error) or type(error).__name__) from None


def _body(response: httpcore.Response, limits: Limits) -> bytes | str:
    headers = {name.lower(): value.decode("latin-1") for name, value in response.headers}
    if response.status in _REDIRECTS and b"location" in headers:
        return headers[b"location"]
    if response.status != HTTPStatus.OK:
        reason = f"HTTP {response.status} {responses.get(response.status, '')}".strip()
        if response.status in _TRANSIENT:
            raise _Transient(reason, _seconds(headers.get(b"retry-after", "")))
        raise ImageError(reason)
    if headers.get(b"content-encoding", "identity").lower() != "identity":
        raise ImageError("sent compressed, which was not requested")
    too_large = ImageError(f"too large: the limit is {limits.max_bytes:,} bytes")
    length = headers.get(b"content-length", "")
    if length.isdecimal() and int(length) > limits.max_bytes:
        raise too_large
    data = bytearray()
    for chunk in response.iter_stream():
        data += chunk
        if len(data) > limits.max_bytes:
            raise too_large
    return bytes(data)


def _seconds(retry_after: str) -> float | None:
    """Return the seconds of a `Retry-After` header, None if it has no valid time."""
    if retry_after.isdecimal():
        return float(retry_after)
    try:
        moment = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def _pool(private: bool) -> httpcore.ConnectionPool:
    """Return the connections that all threads share. Checked and unchecked requests do not share connections."""
    with _pools_lock:
        if private not in _pools:
            _pools[private] = httpcore.ConnectionPool(
                ssl_context=httpx.create_ssl_context(),
                max_connections=None,
                max_keepalive_connections=64,
                keepalive_expiry=15,
                network_backend=_Checked(private),
            )
        return _pools[private]


class _Checked(httpcore.NetworkBackend):
    """Connects to checked addresses only.

    Every `timeout` here is a time of the monotonic clock, not a duration. The library passes it to each read, so a
    server that sends single bytes slowly cannot extend a request.
    """

    def __init__(self, private: bool):
        self._private = private
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        failure: httpcore.ConnectError | httpcore.ConnectTimeout | None = None
        for address in self._addresses(host, port):
            try:
                seconds = min(_left(timeout), _CONNECT_SECONDS)
                return _Stream(self._plain.connect_tcp(address, port, seconds, local_address, socket_options))
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure or httpcore.ConnectError(f"{host} has no address")

    def _addresses(self, host: str, port: int) -> list[str]:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            may_pass = error.errno == socket.EAI_AGAIN
            raise (httpcore.ConnectError if may_pass else ImageError)(
                f"{host} cannot be looked up: {error.strerror}"
            ) from None
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        if not self._private:
            for address in addresses:
                if not is_public(address):
                    raise ImageError(
                        f"{host} leads to the private address {address}, which needs allow_private_addresses"
                    )
        return addresses


class _Stream(httpcore.NetworkStream):
    """A connection whose `timeout` is a time of the monotonic clock."""

    def __init__(self, plain: httpcore.NetworkStream):
        self._plain = plain

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._plain.read(max_bytes, _left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._plain.write(buffer, min(_left(timeout), _CONNECT_SECONDS))

    def close(self) -> None:
        self._plain.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        seconds = min(_left(timeout), _CONNECT_SECONDS)
        return _Stream(self._plain.start_tls(ssl_context, server_hostname, seconds))

    def get_extra_info(self, info: str) -> Any:
        return self._plain.get_extra_info(info)


def _left(moment: float | None) -> float:
    """Return the seconds until a time of the monotonic clock.

    Raises:
        httpcore.TimeoutException: The time has passed.
    """
    left = float("inf") if moment is None else moment - time.monotonic()
    if left <= 0:
        raise httpcore.TimeoutException
    return left
