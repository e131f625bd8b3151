"""Options that several commands share, and the stores that they name."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cbir.errors import UsageError

if TYPE_CHECKING:
    from cbir.collection import Collection as OpenCollection
    from cbir.settings import Settings
    from cbir.stores.base import Catalog

_DEFAULTS = "(default: $CBIR_STORES, or ./index)"

Stores = Annotated[
    list[str] | None, typer.Option("--store", help=f"Store to write; may be given several times. {_DEFAULTS}")
]
StoresToRead = Annotated[
    list[str] | None, typer.Option("--store", help=f"Store to read; may be given several times. {_DEFAULTS}")
]
StoreToRead = Annotated[
    str | None, typer.Option("--store", help="Store to read. (default: the first of $CBIR_STORES, or ./index)")
]
StoreToChange = Annotated[
    str | None, typer.Option("--store", help="Store to change. (default: the first of $CBIR_STORES, or ./index)")
]
Collection = Annotated[str | None, typer.Option(help="Name of the collection. (default: the one published last)")]
CollectionOrAll = Annotated[str | None, typer.Option(help="Name of the collection. (default: all)")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]


def local_path(text: str) -> Path:
    """Return the path that a text names.

    Raises:
        UsageError: It is a URL.
    """
    if "://" in text:
        raise UsageError(f"{text} is a URL, but a local file is needed. Download it and give its path.")
    return Path(text)


def percentage(text: str) -> float:
    """Return the share that a text such as `30%` names.

    Raises:
        UsageError: It is something else.
    """
    number = text.removesuffix("%")
    if number == text or not number.isdecimal() or int(number) > 100:
        raise UsageError(f"Invalid share: {text!r}. Use a percentage such as 30%.")
    return int(number) / 100


def seconds(text: str) -> float:
    """Return the number of seconds that a text such as `60s` names.

    Raises:
        UsageError: It is something else.
    """
    number = text.removesuffix("s")
    if not number.isdecimal():
        raise UsageError(f"Invalid time: {text!r}. Use seconds such as 60s.")
    return float(number)


ModelFile = Annotated[
    Path | None,
    typer.Option(
        "--model",
        parser=local_path,
        metavar="FILE",
        help="File of the model that made the vectors, if the store keeps none and it is not packaged.",
    ),
]


def named_stores(store: Sequence[str] | str | None) -> "tuple[list[str], Settings]":
    """Return the URLs that `--store` names, or else those of the settings; and the settings."""
    from cbir.settings import Settings

    settings = Settings()
    urls = [store] if isinstance(store, str) else store or settings.store_urls
    return list(urls), settings


def named_catalogs(store: Sequence[str] | str | None) -> "list[Catalog]":
    """Return the catalogs of the stores that `--store` names."""
    from cbir.stores.registry import connect_all

    return connect_all(*named_stores(store))


def named_journals(store: Sequence[str] | None, collection: str | None) -> list[Path]:
    """Return the path of the collection's journal for each store that `--store` names.

    Raises:
        UsageError: A store has neither the collection nor a journal of it.
    """
    from cbir.stores.checks import open_name

    journals = []
    for catalog in named_catalogs(store):
        name = open_name(catalog, collection)
        journal = catalog.journal(name)
        if not journal.is_file() and catalog.plan(name) is None:
            names = ", ".join(catalog.names()) or "none"
            raise UsageError(f"{catalog.address} has no collection {name!r}; it has: {names}")
        journals.append(journal)
    return journals


def named_collection(store: Sequence[str] | None, collection: str | None) -> "OpenCollection":
    """Return the collection that `--store` and `--collection` name; its index is not opened before a search."""
    from cbir.opening import open_to_change

    urls, settings = named_stores(store)
    opened = open_to_change(urls, collection, settings)
    opened.optimizes_aside = False  # a command ends before a thread would
    return opened
