"""`cbir-ui`: serve the search page. How Streamlit behaves is said in `.streamlit/config.toml` beside the page."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from cbir import terminal

PAGE = Path(__file__).with_name("page.py")
LOOPBACK = ("localhost", "127.0.0.1", "::1")
EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104

app = terminal.new_app("Serve the page that searches by picture: `cbir-ui`.")


@app.command()
def serve(
    store: Annotated[
        list[str] | None,
        typer.Option(help="Store to offer; may be given several times.", show_default="$CBIR_STORES, or ./index"),
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8501,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 is every interface.")] = "localhost",
) -> None:
    """Serve the page until Ctrl+C."""
    from cbir.errors import CbirError
    from cbir.settings import load_settings
    from cbir.stores import collection_names, parse

    settings = load_settings()
    stores = list(store or settings.store_urls)
    for url in map(parse, stores):
        try:
            if url.embedded and not collection_names(url.text, settings):
                typer.echo(
                    f"{url.text} has no collection yet: cbir-ingest sample://openmoji --store {url.text}", err=True
                )
        except CbirError as error:
            typer.echo(f"warning: {terminal.one_line(error)}", err=True)
    _require_free(host, port)
    if host not in LOOPBACK:
        typer.echo(
            "warning: whoever reaches this address can search and upload; put a proxy with a login before it", err=True
        )
    typer.echo(f"cbir is at http://{'localhost' if host in EVERYWHERE else host}:{port} (Ctrl+C stops it)")
    command = [sys.executable, "-m", "streamlit", "run", str(PAGE), f"--server.address={host}", f"--server.port={port}"]
    if host in LOOPBACK:  # a page of another name that resolves to this machine is turned away
        command += [f"--server.allowedHosts={name}" for name in LOOPBACK]
    sys.stdout.flush()
    os.execve(sys.executable, command, {**os.environ, "CBIR_STORES": ",".join(stores)})  # noqa: S606


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
        raise UsageError(f"cannot listen on {host}:{port}: {error.strerror}; choose another --port or --host") from None


def main() -> None:
    """Run the command line."""
    terminal.run(app)


if __name__ == "__main__":
    main()
