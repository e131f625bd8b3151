"""`cbir-ingest delete` and `cbir-ingest update`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cbir import terminal

from ..options import Collection, Stores

if TYPE_CHECKING:
    from cbir.collection import Collection as OpenCollection

_WORDS = {"null": None, "true": True, "false": False}

Ids = Annotated[
    list[str] | None,
    typer.Option("--id", help="Id or key of an image; may be given several times.", show_default=False),
]
Filter = Annotated[
    str, typer.Option("--filter", metavar="CONDITIONS", help="Images whose payload matches 'label=A|B and year>2015'.")
]


def delete(ids: Ids = None, filter: Filter = "", store: Stores = None, collection: Collection = None) -> None:
    """Remove points from a collection; the next ingest of a source that still has them stores them again."""
    with _opened(store, collection) as opened:
        count = opened.delete(ids=ids or [], filter=filter, progress=terminal.progress)
    typer.echo(f"{count:,} points removed")


def update(
    changes: Annotated[
        list[str], typer.Argument(metavar="NAME=VALUE...", help="Payload fields to set; null removes one.")
    ],
    ids: Ids = None,
    filter: Filter = "",
    store: Stores = None,
    collection: Collection = None,
) -> None:
    """Set payload fields of points, their vectors stay; an ingest that finds the image unchanged leaves them so."""
    wanted = parse_changes(changes)
    with _opened(store, collection) as opened:
        count = opened.update(wanted, ids=ids or [], filter=filter, progress=terminal.progress)
    typer.echo(f"{count:,} points changed")


def parse_changes(texts: Sequence[str]) -> dict[str, Any]:
    """Return the fields that texts such as `label=Boots`, `year=2016` and `season=null` set.

    Raises:
        UsageError: One of them is not NAME=VALUE.
    """
    from cbir.errors import UsageError
    from cbir.filters.parser import as_number

    changes: dict[str, Any] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not name or not sign:
            raise UsageError(f"{text!r} does not say what to set; give NAME=VALUE")
        found = as_number(value)
        changes[name] = _WORDS.get(value, value if found is None else found)
    return changes


def _opened(stores: list[str] | None, collection: str | None) -> "OpenCollection":
    import cbir
    from cbir.settings import Settings

    settings = Settings()
    return cbir.open(stores or settings.store_urls, collection, settings=settings)
