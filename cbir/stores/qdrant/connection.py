"""The connection to a Qdrant server: the client that all of a process share, over gRPC where it answers, else REST."""

import atexit
import ipaddress
import logging
import re
import ssl
import threading
import warnings
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from grpc import RpcError  # type: ignore[import-untyped]
from qdrant_client import QdrantClient
from qdrant_client.common.client_exceptions import QdrantException

from cbir.errors import UsageError
from cbir.settings import Settings
from cbir.text import one_line, redacted

_ADDRESS = re.compile(
    r"https?://([^\s\\/?#@]*@)?([\w.-]+|\[[\da-f:.]+\])(:\d+)?(/[\w./~-]*)?", re.ASCII | re.IGNORECASE
)
"""So plain that no two parsers can find two hosts in it: the one that is judged is the one that is reached."""
_PROBE_SECONDS = 2
_REST_PORT, _GRPC_PORT = 6333, 6334
_GRPC_OPTIONS = {
    # Qdrant takes messages of any size; it is the requests that are kept small.
    "grpc.max_send_message_length": -1,
    "grpc.max_receive_message_length": -1,
    # A connection that a firewall has forgotten is found dead within a request, not after a quarter of an hour.
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
        """The port at which gRPC may answer, 0 for none."""
        if self.grpc is not None:
            return self.grpc
        return _GRPC_PORT if (urlsplit(self.address).port or _REST_PORT) == _REST_PORT else 0


def connection_config(address: str, settings: Settings, timeout_seconds: int, grpc: int | None) -> ConnectionConfig:
    """Return how to reach the server at an address; nothing is sent yet.

    Args:
        address: Its URL without options.
        settings: What holds the API key, the authority of its certificate, and whether an open door is meant.
        timeout_seconds: How long to wait for an answer, unless the settings say it.
        grpc: The port of gRPC, 0 for none; None for the usual one beside REST's usual one.

    Raises:
        UsageError: This is no address, the server is another machine and would be spoken to without an API key
            or TLS, or the file of the authority cannot be used.
    """
    key = settings.qdrant_api_key.get_secret_value() if settings.qdrant_api_key else None
    if not _ADDRESS.fullmatch(address):
        raise UsageError(f"{redacted(address)} is not the address of a Qdrant server, as https://HOST:6333 is")
    if not settings.insecure:
        _require_safe(address, key)
    config = ConnectionConfig(
        address, key, settings.server_timeout_seconds or timeout_seconds, settings.server_ca, grpc
    )
    _open(config, None)
    return config


# The client would say it with two lines of its own source; `_require_safe` says it.
warnings.filterwarnings("ignore", message="Api key is used with an insecure connection")

_choosing = threading.Lock()


def client_of(config: ConnectionConfig) -> QdrantClient:
    """Return the client that all share who reach a server so; the first call finds out whether gRPC answers."""
    with _choosing:
        return _chosen(config)


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
                "%s: no gRPC at port %d, so REST is used (%s); grpc=PORT in the URL names another port, grpc=0 none",
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
    """Let go of the clients while the interpreter is whole: a gRPC channel that is closed later complains."""
    _chosen.cache_clear()
    _open.cache_clear()


def _opened(config: ConnectionConfig, port: int | None, timeout_seconds: int) -> QdrantClient:
    """Return a client that talks gRPC to a port, or REST; nothing is sent yet."""
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


@lru_cache(maxsize=4)  # the authorities of the world take 40 ms to read
def _trusted(ca: Path | None) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca) if ca else httpx.create_ssl_context()


def _require_safe(address: str, key: str | None) -> None:
    """Raise `UsageError` if others on the way to the server could read or change what is stored there."""
    parts = urlsplit(address)
    lacks = [what for what, there in (("TLS (https)", parts.scheme == "https"), ("an API key", bool(key))) if not there]
    if lacks and not _is_here(parts.hostname or ""):
        risk = (
            "the key and all images' data can be read on the way" if key else "whoever reaches it can read and delete"
        )
        raise UsageError(
            f"{redacted(address)} would be spoken to without {' and without '.join(lacks)}, so that {risk}:"
            " use https:// and QDRANT_API_KEY, or say --insecure (CBIR_INSECURE=1) in a network of your own"
        )


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
