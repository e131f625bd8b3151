"""`cbir-ingest collections`: list, compare, drop, choose, keep as a file and restore."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cbir import terminal
from cbir.errors import UsageError
from cbir.text import printable, redacted

from ..options import Stores

app = terminal.new_app(
    "What is stored: list it, compare it, drop it, keep it in a file and restore it.", default="list"
)

Name = Annotated[str, typer.Argument(metavar="COLLECTION", help="Name of the collection.")]
OneStore = Annotated[
    str | None, typer.Option("--store", help="The store. (default: the first of $CBIR_STORES, or ./index)")
]


@app.command("list")
def list_(
    store: Stores = None, as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False
) -> None:
    """List the collections, the one that is opened by default first."""
    from rich.console import Console
    from rich.table import Table

    from cbir.settings import Settings
    from cbir.stores.registry import connect_all

    settings = Settings()
    found = [
        info for catalog in connect_all(list(store or settings.store_urls), settings) for info in catalog.listing()
    ]
    if as_json:
        sys.stdout.write(json.dumps([asdict(info) for info in found]) + "\n")
        return
    table = Table("collection", "means", "model", "points", "indexes", "MB", "state", box=None, pad_edge=False)
    for info in found:
        points, size = (f"{value:,}" if value is not None else "?" for value in (info.points, info.megabytes))
        table.add_row(info.collection, info.alias, info.model, points, ", ".join(info.indexes), size, info.state)
    Console(highlight=False, markup=False).print(table if found else "no collection yet")


@app.command()
def compare(
    first: Name,
    second: Name,
    store: OneStore = None,
    other: Annotated[
        str | None, typer.Option("--with", metavar="STORE", help="The second collection's store, if it is another.")
    ] = None,
) -> None:
    """Compare two collections: which pictures are in one only, which have changed, how alike the vectors are."""
    from cbir.settings import Settings
    from cbir.stores.registry import open_store

    from .compare import compare as compare_stores

    settings = Settings()
    url = store or settings.store_urls[0]
    one, two = open_store(url, first, settings), open_store(other or url, second, settings)
    try:
        found = compare_stores(one, two)
    finally:
        one.close()
        two.close()
    typer.echo(f"{found.same:,} pictures are in both and the same")
    cosine = "not comparable: other models" if found.lowest_cosine is None else f"{found.lowest_cosine:.6f}"
    typer.echo(f"lowest cosine of their vectors: {cosine}")
    parts = (
        (f"only in {first}", found.only_first),
        (f"only in {second}", found.only_second),
        ("changed", found.changed),
    )
    for what, keys in parts:
        shown = [*map(printable, keys[:5]), *(["..."] if len(keys) > 5 else [])]
        typer.echo(f"{what}: {len(keys):,}" + (f" ({', '.join(shown)})" if keys else ""))


@app.command()
def drop(
    name: Name, store: OneStore = None, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False
) -> None:
    """Remove a collection, its indexes and its journal."""
    import cbir
    from cbir.settings import Settings

    settings = Settings()
    url = store or settings.store_urls[0]
    if not yes and not (sys.stdin.isatty() and typer.confirm(f"Remove {name} from {redacted(url)} for good?")):
        raise UsageError(f"{name} was not removed; say --yes")
    cbir.drop(url, name, settings=settings)


@app.command()
def use(name: Name, store: OneStore = None) -> None:
    """Make a collection the one that searches open by default, and that the data set's name means."""
    from cbir.settings import Settings
    from cbir.stores.registry import connect

    settings = Settings()
    connect(store or settings.store_urls[0], settings).use(name)


@app.command()
def snapshot(
    name: Name,
    file: Annotated[Path, typer.Argument(help="File to write.")],
    store: OneStore = None,
    model: Annotated[
        Path | None, typer.Option(help="File of the model that made the vectors, if the store keeps none.")
    ] = None,
) -> None:
    """Write a collection (points and model, without indexes) into one file."""
    from cbir.settings import Settings
    from cbir.stores.registry import open_store

    from .snapshot import snapshot as write_snapshot

    settings = Settings()
    opened = open_store(store or settings.store_urls[0], name, settings)
    try:
        count = write_snapshot(opened, file, model)
    finally:
        opened.close()
    typer.echo(f"{file}: {count:,} points")


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="File that snapshot wrote.")],
    store: Stores = None,
    collection: Annotated[str | None, typer.Option(help="Name to restore it under. (default: its own)")] = None,
) -> None:
    """Store what a snapshot holds, and build the indexes."""
    from cbir.settings import Settings

    from .snapshot import restore as restore_snapshot

    settings = Settings()
    name, count = restore_snapshot(file, list(store or settings.store_urls), collection, settings)
    typer.echo(f"{name}: {count:,} points")
