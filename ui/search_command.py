"""`cbir-search`: the images of a collection most similar to a file, as a table or as JSON."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cbir import terminal
from cbir.text import printable

if TYPE_CHECKING:
    from cbir.results import Hits
    from cbir.stores.base import StoreInfo

app = terminal.new_app("Find the pictures most similar to a given one: `cbir-search ./query.jpg -k 5`.")


@app.command()
def search(
    picture: Annotated[
        Path | None, typer.Argument(help="JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF file.", show_default=False)
    ] = None,
    like: Annotated[
        list[str] | None, typer.Option(help="Id of a stored picture that hits are to be like; several are averaged.")
    ] = None,
    unlike: Annotated[list[str] | None, typer.Option(help="Id of a stored picture that hits are to be unlike.")] = None,
    store: Annotated[
        str | None, typer.Option(help="Where to search.", show_default="the first of $CBIR_STORES, or edge:./index")
    ] = None,
    collection: Annotated[
        str | None, typer.Option(help="Name of the collection.", show_default="the one published last")
    ] = None,
    top: Annotated[int, typer.Option("--top", "-k", min=1, max=1000, help="How many pictures to find.")] = 10,
    offset: Annotated[int, typer.Option(min=0, max=100_000, help="How many of the best hits to leave out.")] = 0,
    filter: Annotated[
        str, typer.Option("--filter", metavar="CONDITIONS", help="Only among e.g. 'label=Shoes|Sandals and year>2015'.")
    ] = "",
    threshold: Annotated[float | None, typer.Option(min=-1, max=1, help="The lowest score of a hit.")] = None,
    diversity: Annotated[
        float, typer.Option(min=0, max=1, help="Above 0, hits that are unlike each other are preferred.")
    ] = 0.0,
    ef: Annotated[
        int | None,
        typer.Option("--ef", min=1, max=1_000_000, help="Width of the search: ef of a graph, nprobe of lists."),
    ] = None,
    exact: Annotated[bool, typer.Option("--exact", help="Compare with every vector; no graph.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")] = False,
) -> None:
    """Find the pictures of a collection that are most similar to PICTURE, or to stored ones."""
    import sys

    import cbir
    from cbir.images.inputs import to_bytes
    from cbir.settings import Settings

    from .components import hit_table

    settings = Settings()
    if picture is None and not like:
        raise cbir.UsageError("say what to look for: PICTURE, or --like ID for a stored one")
    try:
        data = to_bytes(picture) if picture is not None else None  # before the store is opened
        with cbir.open(store or settings.store_urls[0], collection, settings=settings) as opened:
            info = opened.info
            if info.model.random_weights:
                typer.echo("warning: the model has random weights, so these hits mean nothing", err=True)
            hits = opened.search(
                data,
                like=like or (),
                unlike=unlike or (),
                limit=top,
                offset=offset,
                filter=filter,
                min_score=threshold,
                diversity=diversity,
                exact=exact,
                ef=ef,
            )
    except cbir.ImageError as error:
        raise cbir.ImageError(f"{picture}: {error}" if picture else str(error)) from None
    access = "scan" if exact else info.access
    if as_json:
        sys.stdout.write(hit_table.as_json(hits, info, access, offset + 1))
    else:
        _show(hits, info, access, offset + 1)


def _show(hits: "Hits", info: "StoreInfo", access: str, first: int = 1) -> None:
    """Print a table; where it does not go to a terminal, each hit is one line, however long its key is."""
    from rich.table import Table
    from rich.text import Text

    labelled = any(hit.label is not None for hit in hits)
    table = Table(box=None, pad_edge=False)
    for name in ("rank", "score", "key", *(["label"] if labelled else [])):
        table.add_column(name, no_wrap=name in ("rank", "score"), overflow="fold")
    for rank, hit in enumerate(hits, first):
        cells = [str(rank), f"{hit.score:.4f}", hit.key, *([hit.label or ""] if labelled else [])]
        table.add_row(*(Text(printable(cell)) for cell in cells))
    console = terminal.console()
    console.print(table)
    times = ", ".join(f"{stage} {spent:.1f}" for stage, spent in hits.milliseconds.items())
    console.print(f"{info.collection} in {info.url} ({access}, {info.count:,} pictures); ms: {times}")


def main() -> None:
    """Run the command line."""
    terminal.run(app)
