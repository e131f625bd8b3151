"""`cbir-ingest collections`: list, compare, drop, choose, repair, optimize, snapshot and restore."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cbir import terminal
from cbir.errors import CbirError, UsageError
from cbir.text import printable, redacted

from ..options import (
    AsJson,
    ModelFile,
    Stores,
    StoresToRead,
    StoreToChange,
    StoreToRead,
    local_path,
    named_catalogs,
    named_stores,
)

app = terminal.new_app("List, compare, drop, repair, optimize, snapshot and restore collections.", default="list")

Name = Annotated[str, typer.Argument(metavar="COLLECTION", help="Name of the collection.")]

_SHOWN = 5


@app.command("list", epilog="Example: cbir-ingest collections --store edge:./index")
def list_(store: StoresToRead = None, as_json: AsJson = False) -> None:
    """List the collections. The first one of a store is opened by default."""
    from rich.table import Table

    found = [info for catalog in named_catalogs(store) for info in catalog.listing()]
    if as_json:
        terminal.print_json([asdict(info) for info in found])
        return
    table = Table(
        "collection", "alias", "model", "points", "indexes", "changes", "MB", "state", box=None, pad_edge=False
    )
    for info in found:
        points, size = (f"{value:,}" if value is not None else "?" for value in (info.points, info.megabytes))
        changes = f"{info.segments:,}" if info.segments else ""
        indexes = ", ".join(info.indexes)
        table.add_row(info.collection, info.alias, info.model, points, indexes, changes, size, info.state)
    terminal.console().print(table if found else "No collections yet. Create one with: cbir-ingest ./photos")


@app.command(epilog="Example: cbir-ingest collections compare photos-new photos-old --store edge:./index")
def compare(
    first: Name,
    second: Name,
    store: StoreToRead = None,
    other: Annotated[
        str | None, typer.Option("--with", metavar="STORE", help="The second collection's store, if it is another.")
    ] = None,
) -> None:
    """Compare two collections: their images, and how similar the vectors of the same images are."""
    from cbir.stores.checks import open_name

    from .compare import compare as compare_collections

    left = named_catalogs(store)[0]
    right = named_catalogs(other)[0] if other else left
    found = compare_collections(left, open_name(left, first), right, open_name(right, second))
    typer.echo(f"{found.same:,} images are in both and the same")
    cosine = "not comparable, the models differ" if found.lowest_cosine is None else f"{found.lowest_cosine:.6f}"
    typer.echo(f"lowest cosine of their vectors: {cosine}")
    parts = (
        (f"only in {first}", found.only_first),
        (f"only in {second}", found.only_second),
        ("changed", found.changed),
    )
    for title, keys in parts:
        shown = [*map(printable, keys[:_SHOWN]), *(["..."] if len(keys) > _SHOWN else [])]
        typer.echo(f"{title}: {len(keys):,}" + (f" ({', '.join(shown)})" if keys else ""))


@app.command(epilog="Example: cbir-ingest collections drop photos-efficientnet_lite0 --store edge:./index")
def drop(
    name: Name, store: StoreToChange = None, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False
) -> None:
    """Remove a collection, its indexes and its journal."""
    import cbir

    (url, *_), settings = named_stores(store)
    if not yes and not (sys.stdin.isatty() and typer.confirm(f"Remove {name} from {redacted(url)} for good?")):
        raise UsageError(f"{name} was not removed. Confirm with --yes.")
    cbir.drop(url, name, settings=settings)


@app.command(epilog="Example: cbir-ingest collections use photos-efficientnet_lite0 --store edge:./index")
def use(name: Name, store: StoreToChange = None) -> None:
    """Let the name of the data set stand for this collection, and open it by default."""
    named_catalogs(store)[0].use(name)


@app.command(epilog="Example: cbir-ingest collections repair photos-efficientnet_lite0 --store edge:./index")
def repair(
    name: Name,
    store: StoreToChange = None,
    model: Annotated[
        Path | None,
        typer.Option(
            parser=local_path,
            metavar="FILE",
            help="File of the model that made the vectors, if its copy in the collection is damaged and it is not"
            " packaged.",
        ),
    ] = None,
) -> None:
    """Rebuild what `cbir-ingest verify` calls damaged, and say what is lost. Nothing that is readable is removed."""
    report = named_catalogs(store)[0].repair(name, model, terminal.progress)
    for line in report.done:
        typer.echo(f"{name}: {line}")
    if report.lost:
        raise CbirError(f"{name}: {'; '.join(report.lost)}")


@app.command(epilog="Example: cbir-ingest collections optimize photos-efficientnet_lite0 --store edge:./index")
def optimize(name: Name, store: StoreToChange = None) -> None:
    """Build the indexes again with all changes since they were built; searches and ingests go on meanwhile."""
    catalog = named_catalogs(store)[0]
    if catalog.optimize(catalog.resolve(name), terminal.progress):
        typer.echo(f"{name}: optimized")
    elif catalog.files is None:
        raise UsageError(f"{catalog.address} is a server, which optimizes its collections itself.")
    else:
        typer.echo(f"{name}: the indexes have all changes already")


@app.command(epilog="Example: cbir-ingest collections snapshot photos-efficientnet_lite0 photos.tar")
def snapshot(
    name: Name,
    file: Annotated[Path, typer.Argument(parser=local_path, metavar="FILE", help="File to write.")],
    store: StoreToRead = None,
    model: ModelFile = None,
) -> None:
    """Write a collection (points and model, without indexes) into one file."""
    from cbir.stores.checks import open_name

    from .snapshot import snapshot as write_snapshot

    catalog = named_catalogs(store)[0]
    count = write_snapshot(catalog.contents(open_name(catalog, name)), file, model)
    typer.echo(f"{file}: {count:,} points")


@app.command(epilog="Example: cbir-ingest collections restore photos.tar --store edge:./index")
def restore(
    file: Annotated[Path, typer.Argument(parser=local_path, metavar="FILE", help="File that snapshot wrote.")],
    store: Stores = None,
    collection: Annotated[str | None, typer.Option(help="Name to restore it under. (default: its own)")] = None,
) -> None:
    """Store the points of a snapshot, and build the indexes."""
    from .snapshot import restore as restore_snapshot

    urls, settings = named_stores(store)
    name, count = restore_snapshot(file, urls, collection, settings)
    typer.echo(f"{name}: {count:,} points")
