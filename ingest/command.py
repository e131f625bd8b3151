"""`cbir-ingest`: read images, embed them, store them; and check what is stored."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from cbir import terminal
from cbir.errors import CbirError, UsageError

app = terminal.new_app("Embed images and store them for searching: `cbir-ingest ./photos`.", default="add")

Stores = Annotated[
    list[str] | None,
    typer.Option("--store", help="Where to store; may be given several times. (default: $CBIR_STORES, or ./index)"),
]
Collection = Annotated[str | None, typer.Option(help="Name of the collection. (default: DATASET-MODEL)")]


@app.command()
def add(
    source: Annotated[
        str,
        typer.Argument(help="Folder, .parquet, .arrow, imagefolder:PATH, hf://OWNER/NAME or sample://openmoji."),
    ],
    store: Stores = None,
    model: Annotated[str, typer.Option(help="Packaged model or ONNX file made by cbir-export.")] = "efficientnet_lite0",
    collection: Collection = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            help="Name of the data set (default: the source's). Two sources given one name hold one data set."
        ),
    ] = None,
    label: Annotated[str | None, typer.Option(help="Column with the class.")] = None,
    key: Annotated[str | None, typer.Option(help="Column with the unique key.")] = None,
    split: Annotated[str | None, typer.Option(help="Split of a data set that has splits (default: train)")] = None,
    top_classes: Annotated[
        int | None, typer.Option(min=1, help="Keep the rows of the N most frequent classes.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Keep the first N images.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, max=256, help="Threads. (default: one a core)")] = None,
    batch_size: Annotated[
        int | None,
        typer.Option("--batch-size", "-b", min=1, max=1024, help="Images in one model run. (default: 4)"),
    ] = None,
    max_image_megapixels: Annotated[
        float | None, typer.Option(min=0.01, max=178, help="Skip larger images. (default: 40)")
    ] = None,
    strict: Annotated[bool, typer.Option(help="Exit with code 1 if any image was skipped.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON on standard output.")] = False,
) -> None:
    """Embed the images of SOURCE and store them. A second run stores only what is new or changed."""
    from cbir.model import find_model
    from cbir.settings import load_settings
    from cbir.sources import SourceOptions, open_source
    from cbir.stores import locate, parse

    from .run import ingest

    settings = load_settings()
    given = {"workers": workers, "batch_size": batch_size, "max_image_megapixels": max_image_megapixels}
    settings = settings.model_copy(update={name: value for name, value in given.items() if value is not None})
    stores = list(store or settings.store_urls)
    locate([url for url in map(parse, stores) if url.embedded])
    model_file = find_model(model)
    opened = open_source(source, SourceOptions(label, key, split, top_classes, limit))
    summary = ingest(opened, stores, model_file, settings, collection, dataset)
    if as_json:
        sys.stdout.write(json.dumps(summary.as_json()) + "\n")
    else:
        from .summary import show

        show(summary, opened.notes)
    if summary.interrupted:
        raise typer.Exit(130)
    if summary.read and not summary.stored and not summary.unchanged:
        raise CbirError("no image could be stored")
    if strict and summary.skipped:
        raise typer.Exit(1)


@app.command()
def verify(store: Stores = None, collection: Collection = None) -> None:
    """Check every file of the stored collections against its manifest, and name those that are damaged."""
    from cbir.settings import load_settings
    from cbir.stores import locate, parse

    from .verify import verify_folder

    stores = list(store or load_settings().store_urls)
    roots: dict[Path, None] = {}
    for url in map(parse, stores):
        if not url.embedded:
            raise UsageError(f"verify checks files; {url.text} is a server, which checks its own")
        roots[locate([url])[0].root] = None
    damaged = [damage for root in roots for damage in verify_folder(root, collection)]
    for damage in damaged:
        typer.echo(str(damage))
    if damaged:
        raise CbirError(f"{len(damaged)} damaged; a damaged index is not served")


def main() -> None:
    """Run the command line."""
    terminal.run(app)


if __name__ == "__main__":
    main()
