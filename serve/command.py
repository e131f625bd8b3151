"""`cbir-serve`: answer searches and changes over HTTP."""

import logging
import os
import sys
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cbir import terminal

if TYPE_CHECKING:
    from .settings import ServeSettings

app = terminal.new_app("Answer searches and changes over HTTP: `cbir-serve`.", default="run")

_LIBRARIES = ("fastapi", "uvicorn", "prometheus_client", "python_multipart")
"""Libraries of the extra `serve`."""

_LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "loggers": {
        "cbir": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
        "uvicorn": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
    },
}


@app.command()
def run(
    store: Annotated[
        list[str] | None,
        typer.Option(help="Store to search; changes go to all of several.", show_default="$CBIR_STORES, or ./index"),
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8000,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 is every interface.")] = "localhost",
    public_name: Annotated[
        list[str] | None, typer.Option(help="Host name under which a proxy serves it; repeat for several.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Processes. They share the index in memory.")] = 1,
    cors_origin: Annotated[
        list[str] | None, typer.Option(help="Origin of a web page whose scripts may use it; repeat for several.")
    ] = None,
    rate_limit: Annotated[
        float | None,
        typer.Option(min=0.001, help="Requests a second for each client address and process.", show_default="no limit"),
    ] = None,
    max_requests: Annotated[
        int | None, typer.Option(min=1, help="Requests answered at the same time by a process.", show_default="128")
    ] = None,
    max_body_megabytes: Annotated[
        float | None, typer.Option(min=0.001, help="Largest body of a request.", show_default="32")
    ] = None,
) -> None:
    """Answer requests until Ctrl+C. Keys are in the environment or in .env: CBIR_READ_KEYS, CBIR_WRITE_KEYS."""
    from cbir.listening import allowed_hosts, check_public_name, in_url, is_loopback, require_free
    from cbir.settings import require_single_stores
    from cbir.stores.registry import as_list

    for name in public_name or ():
        check_public_name(name)
    require_single_stores(store or ())
    options = {
        "stores": as_list(store or ()),
        "hosts": allowed_hosts(host, public_name or ()),
        "cors_origins": cors_origin,
        "rate_limit": rate_limit,
        "max_requests": max_requests,
        "max_body_megabytes": max_body_megabytes,
    }
    given = {name: ",".join(value) if isinstance(value, list) else value for name, value in options.items() if value}
    settings = _checked_settings(given)
    require_free(host, port)
    if not is_loopback(host) and not settings.read_keys:
        typer.echo("warning: anyone who can reach this address can search. Set CBIR_READ_KEYS", err=True)
    typer.echo(f"cbir answers at http://{in_url(host)}:{port}, and describes itself at /docs (Ctrl+C stops it)")
    sys.stdout.flush()
    os.environ |= {f"CBIR_{name.upper()}": str(value) for name, value in given.items()}  # for the processes
    _LOGGING["loggers"]["cbir"]["level"] = logging.getLevelName(logging.getLogger("cbir").level)  # of LOG_LEVEL
    if workers == 1:
        _serve(host, port, workers)
        return
    with tempfile.TemporaryDirectory() as folder:  # a single process ends by a signal, which would leave it
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        _serve(host, port, workers)


@app.command()
def key() -> None:
    """Make a new API key, and print it with its hash: keep the key, and give the server the hash."""
    from . import keys

    made = keys.new_key()
    typer.echo(f"key:  {made}\nhash: {keys.hashed(made)}")


def _checked_settings(given: Mapping[str, Any]) -> "ServeSettings":
    """Return the settings, with every store URL checked, before a process is started."""
    from cbir.errors import UsageError
    from cbir.stores.registry import connect_all

    from .settings import ServeSettings

    missing = next((name for name in _LIBRARIES if find_spec(name) is None), None)
    if missing:
        raise UsageError(f"cbir-serve needs {missing}. Install it with: pip install 'cbir[serve]'")
    settings = ServeSettings(**given)
    connect_all(settings.store_urls, settings)
    return settings


def _serve(host: str, port: int, workers: int) -> None:
    import uvicorn

    uvicorn.run(
        "cbir.serve.app:create_app",
        factory=True,
        http="cbir.serve.connection:TimedConnection",
        host=host,
        port=port,
        workers=workers,
        log_config=_LOGGING,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=30,
        timeout_keep_alive=75,
    )


def main() -> None:
    """Run the command line."""
    terminal.run(app)


if __name__ == "__main__":
    main()
