"""The address that a server listens on: who can reach it, and whether it is free."""

import ipaddress
import re
import socket
from collections.abc import Sequence

from cbir.errors import UsageError

LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach a server that listens on a host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def in_url(host: str) -> str:
    """Return a host as it is written in a URL; for every interface it is `localhost`."""
    host = "localhost" if host in EVERYWHERE else host
    return f"[{host}]" if ":" in host else host


def allowed_hosts(host: str, public_names: Sequence[str]) -> list[str]:
    """Return the host names that requests may be for, so that no foreign page can reach a server on this machine.

    Without a public name, a server that others can reach is used by names that it does not know: none are returned.
    """
    return list(dict.fromkeys((*LOCAL_NAMES, host, *public_names))) if is_loopback(host) or public_names else []


def check_public_name(name: str) -> None:
    """Raise `UsageError` unless the name is a host name."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"--public-name {name}: not a host name. Use a name such as photos.example.org")


def require_free(host: str, port: int) -> None:
    """Raise `UsageError` if the address cannot be used."""
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        taken = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        raise UsageError(f"cannot listen on {taken}: {error.strerror}. Choose another --port or --host") from None
