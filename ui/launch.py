"""`cbir-ui`: serve the search page. Streamlit reads its settings from `web/.streamlit/config.toml`, beside the page."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cbir import terminal
from cbir.text import one_line, redacted

if TYPE_CHECKING:
    from cbir.settings import Settings

PAGE = Path(__file__).with_name("web") / "page.py"

app = terminal.new_app("Serve the search page: `cbir-ui`.")


@app.command()
def serve(
    store: Annotated[
        list[str] | None,
        typer.Option(help="Store to search; repeat for several.", show_default="$CBIR_STORES, or ./index"),
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8501,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 is every interface.")] = "localhost",
    public_name: Annotated[
        list[str] | None, typer.Option(help="Host name under which a proxy serves the page; repeat for several.")
    ] = None,
) -> None:
    """Serve the page until Ctrl+C."""
    from cbir.listening import allowed_hosts, check_public_name, in_url, is_loopback, require_free
    from cbir.settings import Settings, require_single_stores
    from cbir.stores.registry import as_list

    settings = Settings()
    stores, public = list(store or settings.store_urls), list(public_name or [])
    require_single_stores(stores)
    for name in public:
        check_public_name(name)
    _warn_of_stores(stores, settings)
    require_free(host, port)
    if not is_loopback(host):
        typer.echo(
            "warning: anyone who can reach this address can search and upload. Add a proxy with a login", err=True
        )
    typer.echo(f"cbir is at http://{in_url(host)}:{port} (Ctrl+C stops it)")
    command = [sys.executable, "-m", "streamlit", "run", str(PAGE), f"--server.address={host}", f"--server.port={port}"]
    command += [f"--server.allowedHosts={name}" for name in allowed_hosts(host, public)]
    if public:  # a proxy may send its own name as Host, but the browser sends the public one as Origin
        command += [f"--server.corsAllowedOrigins=https://{name}" for name in public]
        command += [f"--browser.serverAddress={public[0]}"]  # so that Streamlit does not look its address up
    sys.stdout.flush()
    os.execve(sys.executable, command, {**os.environ, "CBIR_STORES": as_list(stores)})  # noqa: S606


def _warn_of_stores(urls: Sequence[str], settings: "Settings") -> None:
    """Print a warning for each store that is empty or cannot be read."""
    from cbir.errors import CbirError
    from cbir.stores.registry import connect

    for catalog in [connect(url, settings) for url in urls]:
        try:
            if catalog.files is not None and not catalog.names():
                url = catalog.urls[0]
                typer.echo(f"{url} has no collection. Create one with: cbir-ingest PATH --store {url}", err=True)
        except CbirError as error:
            typer.echo(f"warning: {redacted(one_line(error))}", err=True)


def main() -> None:
    """Run the command line."""
    terminal.run(app)


if __name__ == "__main__":
    main()
