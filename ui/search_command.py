"""`cbir-search`: the images of a collection most similar to given ones or to a text, as a table or as JSON."""

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cbir import terminal
from cbir.text import printable

if TYPE_CHECKING:
    from cbir.collection import Collection

_WIDEST = 1_000_000

RENAMED = {"--top": "--limit", "--threshold": "--min-score"}

app = terminal.new_app("Find the images most similar to a given one or to a text: `cbir-search ./query.jpg`.")
_query = partial(typer.Option, rich_help_panel="Query", metavar="KEY|ID")
_words = partial(typer.Option, rich_help_panel="Query", metavar="TEXT")
_collection = partial(typer.Option, rich_help_panel="Collection")
_hits = partial(typer.Option, rich_help_panel="Hits", metavar="N")
_search = partial(typer.Option, rich_help_panel="Search", metavar="N")


@app.command(no_args_is_help=True)
def search(
    images: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="IMAGE",
            help="Image file, http(s) URL, or - for standard input. Several images make one query, their average.",
            show_default=False,
        ),
    ] = None,
    text: Annotated[
        list[str] | None,
        _words(help="What hits should show, in words. Repeatable. The model needs a text tower."),
    ] = None,
    unlike_text: Annotated[list[str] | None, _words(help="What hits should not show, in words. Repeatable.")] = None,
    text_weight: Annotated[
        float, _words(metavar="X", min=0.01, max=100, help="Weight of each text. That of an image is 1.")
    ] = 1.0,
    like: Annotated[list[str] | None, _query(help="Stored image to search by. Repeatable.")] = None,
    unlike: Annotated[list[str] | None, _query(help="Stored image that hits should not resemble. Repeatable.")] = None,
    store: Annotated[
        str | None, _collection(help="Store to read. (default: the first of $CBIR_STORES, or ./index)")
    ] = None,
    collection: Annotated[
        str | None, _collection(help="Name of the collection. (default: the one published last)")
    ] = None,
    filter: Annotated[
        str | None,
        _hits(
            "--filter",
            metavar="CONDITIONS",
            help="Only images that match, such as 'label=Shoes|Sandals and year>2015'.",
        ),
    ] = None,
    limit: Annotated[int, _hits("--limit", "-k", min=1, max=1000, help="Number of hits.")] = 10,
    offset: Annotated[int, _hits(min=0, max=100_000, help="Number of best hits to skip.")] = 0,
    min_score: Annotated[float | None, _hits(metavar="SCORE", min=-1, max=1, help="Minimum score of a hit.")] = None,
    expand: Annotated[
        int, _search(metavar="N", min=0, max=100, help="Search again with the mean of the query and its first N hits.")
    ] = 0,
    diversity: Annotated[
        float,
        _hits(metavar="X", min=0, max=1, help="Above 0, prefer hits that differ from each other. Not with --group-by."),
    ] = 0.0,
    group_by: Annotated[
        str | None,
        _hits(metavar="FIELD", help="Group the hits by a field. --limit and --offset then count groups."),
    ] = None,
    group_size: Annotated[int, _hits(min=1, max=1000, help="Number of hits in a group.")] = 3,
    exact: Annotated[bool, _search("--exact", metavar=None, help="Exact search: compare with every vector.")] = False,
    ef: Annotated[
        int | None,
        _search(
            min=1,
            max=1_000_000,
            help="Candidates of a graph search, or inverted lists to search. More is slower and more accurate.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")] = False,
) -> None:
    """Find the images of a collection that are most similar to IMAGE, or that show a text.

    Example: cbir-search --text "red shoe"

    Example: cbir-search ./query.jpg --filter label=Shoes --min-score 0.6

    Example: cbir-search --like shoes/12.jpg --unlike bags/3.jpg --group-by label --json
    """
    import cbir
    from cbir.settings import Settings

    from .components import hit_table

    if not images and not like and not text:
        raise cbir.UsageError(
            "No query given. Name an image file or URL, a stored image with --like KEY, or words with --text."
        )
    settings = Settings()
    with cbir.open(store or settings.store_urls[0], collection, settings=settings) as photos:
        info = photos.info
        if info.model.random_weights:
            typer.echo("warning: the model has random weights, so these hits mean nothing", err=True)

        def stored(names: list[str] | None) -> list[Any]:  # a stored image goes before a file of the same name
            return [photos.get(name) or name for name in names or ()]

        hits = photos.search(
            like=[*(_image(image, photos) for image in images or ()), *stored(like)],
            unlike=stored(unlike),
            text=[(words, text_weight) for words in text or ()],
            unlike_text=[(words, text_weight) for words in unlike_text or ()],
            limit=limit,
            offset=offset,
            filter=filter,
            min_score=min_score,
            expand=expand,
            diversity=diversity,
            group_by=group_by,
            group_size=group_size,
            exact=exact,
            ef=ef,
        )
    result = hit_table.as_record(hits, info, "scan" if exact else info.access, offset + 1)
    for record, hit in zip(result["hits"], hits, strict=True):
        record["path"] = str(hit.path) if hit.path else None
    if as_json:
        terminal.print_json(result)
    else:
        _print_table(result, info.count)


def _image(text: str, photos: "Collection") -> Any:
    """Return what `Collection.search` takes for an image on the command line; `-` is read and embedded."""
    import cbir

    if text != "-":
        return text
    try:
        return photos.embed(sys.stdin.buffer.read())
    except cbir.ImageError as error:
        raise cbir.ImageError(f"standard input: {error}") from None


def _print_table(result: dict[str, Any], count: int) -> None:
    from rich.table import Table
    from rich.text import Text

    rows = [_row(hit) for hit in result["hits"]]
    names = [name for name in rows[0] if any(row[name] for row in rows)] if rows else []
    table = Table(box=None, pad_edge=False)
    for name in names:
        table.add_column(name)
    for row in rows:
        table.add_row(*(Text(printable(row[name])) for name in names))
    console = terminal.console()
    if console.measure(table, options=console.options.update(width=_WIDEST)).maximum > console.width:
        for row in rows:  # whole paths and ids, which a table would break into pieces
            console.print("  ".join(printable(row[name]) for name in names if name not in ("path", "id")))
            console.print("\n".join(f"      {printable(row[name])}" for name in ("path", "id") if row[name]))
    else:
        console.print(table if rows else "No hits.")
    times = ", ".join(f"{stage} {spent:.1f}" for stage, spent in result["milliseconds"].items())
    console.print(f"{result['collection']} in {result['store']} ({result['access']}, {count:,} images); ms: {times}")


def _row(hit: dict[str, Any]) -> dict[str, str]:
    """Return the cells of a hit; a path below the current folder is shown relative to it."""
    path = Path(hit["path"] or "")
    return {
        "group": str(hit.get("group", "")),
        "rank": str(hit["rank"]),
        "score": f"{hit['score']:.4f}",
        "key": hit["key"],
        "label": hit["label"] if hit["label"] not in (None, hit.get("group")) else "",
        "path": str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path) if hit["path"] else "",
        "id": hit["id"],
    }


def main() -> None:
    """Run the command line."""
    terminal.run(app, RENAMED)
