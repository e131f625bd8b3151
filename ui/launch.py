"""`cbir-ui`: serve the search page. How Streamlit behaves is set in `web/.streamlit/config.toml`, beside the page."""

import os
import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from cbir import terminal
from cbir.text import one_line, redacted

PAGE = Path(__file__).with_name("web") / "page.py"
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")

app = terminal.new_app("Serve the page that searches by picture: `cbir-ui`.")


@app.command()
def serve(
    store: Annotated[
        list[str] | None,
        typer.Option(help="Store to offer; may be given several times.", show_default="$CBIR_STORES, or ./index"),
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8501,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 is every interface.")] = "localhost",
    public_name: Annotated[
        list[str] | None,
        typer.Option(help="Host name under which a proxy reaches the page; may be given several times."),
    ] = None,
) -> None:
    """Serve the page until Ctrl+C."""
    from cbir.errors import CbirError, UsageError
    from cbir.settings import Settings, split_stores
    from cbir.stores.registry import connect

    settings = Settings()
    stores, public = list(store or settings.store_urls), list(public_name or [])
    for url in stores:
        if split_stores(url) != (url,):
            raise UsageError(f"--store {redacted(url)}: this is more than one store; give --store several times")
    for name in public:
        if not _NAME.fullmatch(name):
            raise UsageError(f"--public-name {name}: give the host name alone, as in photos.example.org")
    for url, catalog in [(url, connect(url, settings)) for url in stores]:
        try:
            if catalog.files is not None and not catalog.names():
                typer.echo(f"{url} has no collection yet: cbir-ingest sample://openmoji --store {url}", err=True)
        except CbirError as error:
            typer.echo(f"warning: {redacted(one_line(error))}", err=True)
    _require_free(host, port)
    if not is_loopback(host):
        typer.echo(
            "warning: whoever reaches this address can search and upload; put a proxy with a login before it", err=True
        )
    typer.echo(f"cbir is at http://{_in_url('localhost' if host in EVERYWHERE else host)}:{port} (Ctrl+C stops it)")
    command = [sys.executable, "-m", "streamlit", "run", str(PAGE), f"--server.address={host}", f"--server.port={port}"]
    if is_loopback(host) or public:  # a page of another name that resolves to this machine is turned away
        command += [f"--server.allowedHosts={name}" for name in dict.fromkeys((*LOCAL_NAMES, host, *public))]
    if public:  # a proxy may pass its own name on as Host; Origin, which the browser sets, is the public one
        command += [f"--server.corsAllowedOrigins=https://{name}" for name in public]
        command += [f"--browser.serverAddress={public[0]}"]  # checked before Streamlit asks the internet who it is
    sys.stdout.flush()
    os.execve(sys.executable, command, {**os.environ, "CBIR_STORES": ",".join(stores)})  # noqa: S606


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach a server that listens there."""
    import ipaddress

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _require_free(host: str, port: int) -> None:
    """Raise `UsageError` if nobody can listen there."""
    import socket

    from cbir.errors import UsageError

    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        where = f"{_in_url(host)}:{port}"
        raise UsageError(f"cannot listen on {where}: {error.strerror}; choose another --port or --host") from None


def main() -> None:
    """Run the command line."""
    terminal.run(app)


if __name__ == "__main__":
    main()
