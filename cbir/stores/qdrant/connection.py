"""The connection to a Qdrant server: one client of gRPC for the whole process, or else one of REST for each call."""

import atexit
import logging
import re
import ssl
import threading
import warnings
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from grpc import RpcError  # type: ignore[import-untyped]
from qdrant_client import QdrantClient
from qdrant_client.common.client_exceptions import QdrantException

from cbir.errors import UsageError
from cbir.listening import is_loopback
from cbir.settings import Settings
from cbir.text import one_line, redacted

_ADDRESS = re.compile(
    r"https?://([^\s\\/?#@]*@)?([\w.-]+|\[[\da-f:.]+\])(:\d+)?(/[\w./~-]*)?", re.ASCII | re.IGNORECASE
)
"""So strict that all parsers find the same host: the host that is checked is the host that is reached."""
_PROBE_SECONDS = 2
_REST_PORT, _GRPC_PORT = 6333, 6334
_GRPC_OPTIONS = {
    # Qdrant takes messages of any size. The writer keeps its requests small.
    "grpc.max_send_message_length": -1,
    "grpc.max_receive_message_length": -1,
    # A connection that a firewall has dropped is noticed within seconds, not after a quarter of an hour.
    "grpc.keepalive_time_ms": 20_000,
    "grpc.keepalive_timeout_ms": 10_000,
}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ConnectionConfig:
    """How to reach a server. Equal configurations share a client."""

    address: str
    key: str | None = field(repr=False)
    timeout_seconds: int
    ca: Path | None
    grpc: int | None

    @property
    def grpc_port(self) -> int:
        """The port to try gRPC at, 0 for none."""
        if self.grpc is not None:
            return self.grpc
        return _GRPC_PORT if (urlsplit(self.address).port or _REST_PORT) == _REST_PORT else 0


def connection_config(address: str, settings: Settings, timeout_seconds: int, grpc: int | None) -> ConnectionConfig:
    """Return how to reach the server at a URL without options. Nothing is sent yet.

    `grpc` is the port of gRPC, 0 for none; None stands for 6334 if REST has its usual port.

    Raises:
        UsageError: The address or the certificate authority's file is invalid, or the server is on another machine and
            has no API key or no TLS.
    """
    key = settings.qdrant_api_key.get_secret_value() if settings.qdrant_api_key else None
    if not _ADDRESS.fullmatch(address):
        raise UsageError(
            f"{redacted(address)} is not the address of a Qdrant server; use one such as https://HOST:6333"
        )
    if not settings.insecure:
        _require_safe(address, key)
    config = ConnectionConfig(
        address, key, settings.server_timeout_seconds or timeout_seconds, settings.server_ca, grpc
    )
    _open(config, None)
    return config


# `_require_safe` says the same in one line.
warnings.filterwarnings("ignore", message="Api key is used with an insecure connection")

_choosing = threading.Lock()


@contextmanager
def borrowed_client(config: ConnectionConfig) -> Iterator[QdrantClient]:
    """Lend a client of a configuration. The first call finds out whether gRPC answers.

    All threads share one for gRPC. One for REST is lent to one thread at a time: the pool of httpx may close a
    connection that another thread has just taken.
    """
    with _choosing:
        chosen, free = _chosen(config), _free(config)
    if chosen.init_options["prefer_grpc"]:
        yield chosen
        return
    try:
        client = free.pop()
    except IndexError:
        client = _opened(config, None, config.timeout_seconds)
    try:
        yield client
    finally:
        free.append(client)


@lru_cache(maxsize=16)
def _free(config: ConnectionConfig) -> deque[QdrantClient]:
    return deque([_open(config, None)])


@lru_cache(maxsize=16)
def _chosen(config: ConnectionConfig) -> QdrantClient:
    port = config.grpc_port
    if port:
        probe = _opened(config, port, _PROBE_SECONDS)
        try:
            probe.info()
            return _open(config, port)
        except (RpcError, QdrantException) as error:
            reason = one_line(error.details() if isinstance(error, RpcError) else str(error))[:300]
            log.log(
                logging.WARNING if config.grpc else logging.INFO,
                "%s: no gRPC at port %d, so REST is used (%s); grpc=PORT in the URL sets another port, grpc=0 none",
                *(redacted(config.address), port, reason),
            )
        finally:
            probe.close()
    return _open(config, None)


@lru_cache(maxsize=32)
def _open(config: ConnectionConfig, port: int | None) -> QdrantClient:
    return _opened(config, port, config.timeout_seconds)


@atexit.register
def _forget() -> None:
    """Close the clients before the interpreter shuts down: a gRPC channel that is closed later logs errors."""
    _chosen.cache_clear()
    _free.cache_clear()
    _open.cache_clear()


def _opened(config: ConnectionConfig, port: int | None, timeout_seconds: int) -> QdrantClient:
    """Return a client for gRPC at a port, or for REST. Nothing is sent yet."""
    try:
        trusted = _trusted(config.ca)
        roots = {"root_certificates": config.ca.read_bytes()} if config.ca else {}
    except OSError as error:
        raise UsageError(f"CBIR_SERVER_CA: {config.ca} holds no certificate: {error.strerror or error}") from None
    try:
        return QdrantClient(
            url=config.address,
            api_key=config.key,
            timeout=timeout_seconds,
            check_compatibility=False,
            prefer_grpc=port is not None,
            grpc_port=port or _GRPC_PORT,
            grpc_options={**_GRPC_OPTIONS, **roots},
            verify=trusted,
        )
    except ValueError as error:
        raise UsageError(f"{redacted(config.address)} is not the address of a Qdrant server: {error}") from None


@lru_cache(maxsize=4)  # reading the public authorities takes 40 ms
def _trusted(ca: Path | None) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca) if ca else httpx.create_ssl_context()


def _require_safe(address: str, key: str | None) -> None:
    """Raise `UsageError` if others on the network could read or change what is stored on the server."""
    parts = urlsplit(address)
    protection = {"TLS (https)": parts.scheme == "https", "an API key": bool(key)}
    missing = [name for name, exists in protection.items() if not exists]
    if missing and not is_loopback(parts.hostname or ""):
        risk = "others can read the key and all data" if key else "anyone who reaches it can read and delete"
        raise UsageError(
            f"{redacted(address)} would be used without {' and without '.join(missing)}, so that {risk}:"
            " use https:// and QDRANT_API_KEY, or --insecure (CBIR_INSECURE=1) in a private network"
        )
