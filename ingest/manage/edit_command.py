"""`cbir-ingest delete` and `cbir-ingest update`."""

from typing import Annotated

import typer

from ..options import Collection, Stores

Ids = Annotated[
    list[str] | None, typer.Option("--id", help="Id of a point; may be given several times.", show_default=False)
]
Where = Annotated[
    str, typer.Option("--filter", metavar="CONDITIONS", help="Points whose payload holds to 'label=A|B and year>2015'.")
]


def delete(ids: Ids = None, where: Where = "", store: Stores = None, collection: Collection = None) -> None:
    """Remove points from a collection; the next ingest of a source that still has them stores them again."""
    from cbir.filters.conditions import parse_filter
    from cbir.pipeline.edit import delete as remove
    from cbir.settings import load_settings

    settings = load_settings()
    chosen = parse_filter(where) if where else ()
    count = remove(list(store or settings.store_urls), collection, ids or [], chosen, settings)
    typer.echo(f"{count:,} points removed")


def update(
    changes: Annotated[
        list[str], typer.Argument(metavar="NAME=VALUE...", help="Payload fields to set; null removes one.")
    ],
    ids: Ids = None,
    where: Where = "",
    store: Stores = None,
    collection: Collection = None,
) -> None:
    """Set payload fields of points, their vectors stay; an ingest that finds the picture unchanged leaves them so."""
    from cbir.filters.conditions import parse_filter
    from cbir.pipeline.edit import parse_changes
    from cbir.pipeline.edit import update as change
    from cbir.settings import load_settings

    settings = load_settings()
    chosen = parse_filter(where) if where else ()
    stores = list(store or settings.store_urls)
    count = change(stores, collection, ids or [], chosen, parse_changes(changes), settings)
    typer.echo(f"{count:,} points changed")
