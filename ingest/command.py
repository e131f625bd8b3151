"""`cbir-ingest`: read images, embed them, store them; and check what is stored."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cbir import terminal
from cbir.errors import CbirError, UsageError
from cbir.text import printable

from .manage.collections_command import app as collections_app
from .manage.edit_command import delete, update
from .options import Collection, Stores

if TYPE_CHECKING:
    from cbir.pipeline.report import IngestReport

app = terminal.new_app("Embed images and store them for searching: `cbir-ingest ./photos`.", default="add")
app.add_typer(collections_app, name="collections")


def add(
    context: typer.Context,
    source: Annotated[
        str,
        typer.Argument(
            help="Folder, s3:// or gs:// address, .parquet, .arrow, .csv, .tsv, .jsonl, imagefolder:PATH,"
            " hf://OWNER/NAME, webdataset:PATTERN, sample://openmoji, or - for a list on standard input."
        ),
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
    payload: Annotated[
        list[str] | None,
        typer.Option(help="Column to keep beside the vector; may be given several times. (default: all)"),
    ] = None,
    filter: Annotated[
        str | None,
        typer.Option("--filter", metavar="CONDITIONS", help="Keep the rows that match 'year>2015 and color=red'."),
    ] = None,
    where: Annotated[str | None, typer.Option(hidden=True)] = None,
    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="Keep the I-th of N shares, for N processes side by side.")
    ] = None,
    streaming: Annotated[
        bool, typer.Option("--streaming", help="Read a data set without downloading or converting it first.")
    ] = False,
    allow_private_addresses: Annotated[
        bool, typer.Option("--allow-private-addresses", help="Fetch URLs that lead into a private network, too.")
    ] = False,
    workers: Annotated[int | None, typer.Option(min=1, max=256, help="Threads. (default: one a core)")] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, max=256, help="Threads of the model in each worker. (default: 1)")
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option("--batch-size", "-b", min=1, max=1024, help="Images in one model run. (default: 4)"),
    ] = None,
    max_image_megapixels: Annotated[
        float | None, typer.Option(min=0.01, max=178, help="Skip larger images. (default: 40)")
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try again what failed before and has not changed.")
    ] = False,
    skip_duplicates: Annotated[
        bool, typer.Option("--skip-duplicates", help="Leave out copies of images that are stored.")
    ] = False,
    near_duplicates: Annotated[
        int | None,
        typer.Option(
            min=0, max=16, help="Images count as copies, too, if at most N of 64 bits of their perceptual hash differ."
        ),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Go on: sync whenever something changes (sync only).")] = False,
    runner: Annotated[
        Literal["local", "ray"],
        typer.Option(help="ray takes the workers of a Ray cluster, and fills servers (extra ray)."),
    ] = "local",
    ray_address: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="The Ray cluster. (default: one that is started here for the run)"),
    ] = None,
    strict: Annotated[bool, typer.Option(help="Exit with code 1 if any image was skipped.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON on standard output.")] = False,
) -> None:
    """Embed the images of SOURCE and store them. A second run stores only what is new or changed."""
    from cbir.collection import Collection as OpenCollection
    from cbir.models.sealed import find_model
    from cbir.pipeline.run import Interrupted, Policy
    from cbir.settings import Settings
    from cbir.sources.base import SourceOptions, parse_shard
    from cbir.sources.registry import open_source
    from cbir.stores.registry import connect_all

    from .report_view import show

    given = {
        "workers": workers,
        "threads": threads,
        "batch_size": batch_size,
        "max_image_megapixels": max_image_megapixels,
    }
    settings = Settings().model_copy(update={name: value for name, value in given.items() if value is not None})
    catalogs = connect_all(list(store or settings.store_urls), settings)
    model_file = find_model(model)
    options = SourceOptions(
        label,
        key,
        split,
        top_classes,
        limit,
        payload=tuple(payload) if payload else None,
        filter=filter or where,
        shard=parse_shard(shard) if shard else None,
        allow_private_addresses=allow_private_addresses,
        streaming=streaming,
    )
    syncing = context.info_name == "sync"
    policy = Policy(syncing, retry_failed, skip_duplicates, near_duplicates, partial=shard is not None)
    if watch and not syncing:
        raise UsageError("--watch goes with sync: cbir-ingest sync SOURCE --watch")
    if ray_address and runner != "ray":
        raise UsageError("--ray-address goes with --runner ray")

    def once() -> "IngestReport":
        if runner == "ray":
            from .ray_runner import ingest_on_ray

            report, opened = ingest_on_ray(
                source, options, catalogs, model_file, settings, collection, dataset, policy, ray_address
            )
        else:
            opened = open_source(source, options)
            filled = OpenCollection(catalogs, collection, settings, model_file)
            write = filled.sync if syncing else filled.add
            try:
                report = write(opened, dataset=dataset, policy=policy, progress=terminal.progress)
            except Interrupted as stopped:
                report = stopped.report
        if as_json:
            sys.stdout.write(json.dumps(report.as_json()) + "\n")
            sys.stdout.flush()
        else:
            show(report, opened.notes)
        return report

    if watch:
        from .watch import keep_in_step

        keep_in_step(source, once)
        terminal.leave(130)
    report = once()
    if report.interrupted:
        terminal.leave(130)
    if shard and any(catalog.shared for catalog in catalogs):
        typer.echo("when all shares are stored, the same command without --shard completes the collection", err=True)
    if report.read and not report.stored and not report.unchanged:
        raise CbirError("no image could be stored")
    if strict and report.skipped:
        raise typer.Exit(1)


app.command("add")(add)
app.command("sync", help="Embed what SOURCE has new or changed, and remove what it has no more.")(add)


app.command()(delete)
app.command()(update)


@app.command()
def reindex(store: Stores = None, collection: Collection = None) -> None:
    """Build the named indexes of a collection again from its vector log, without embedding anything."""
    from cbir.settings import Settings

    from .manage.reindex import reindex as build_again

    settings = Settings()
    build_again(list(store or settings.store_urls), collection, settings)


@app.command()
def copy(
    source: Annotated[
        str, typer.Argument(metavar="FROM", help="Store to read: edge:PATH, faiss:PATH or http(s)://HOST:PORT.")
    ],
    to: Annotated[list[str], typer.Argument(metavar="TO...", help="Stores to write.")],
    collection: Annotated[
        list[str] | None,
        typer.Option(help="Collection to copy; may be given several times. (default: all that are complete)"),
    ] = None,
    rename: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="What to call the one collection there.")
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(help="File of the model that made the vectors, if FROM is a server and it is not packaged."),
    ] = None,
    delete_extra: Annotated[
        bool, typer.Option("--delete-extra", help="Remove from TO what FROM does not have (any more).")
    ] = False,
) -> None:
    """Copy collections into other stores, and check what is there. The same command goes on after an interruption."""
    from cbir.settings import Settings

    from .manage.transfer import copy as copy_collections

    for moved in copy_collections(source, to, collection or (), rename, Settings(), model, delete_extra):
        typer.echo(
            f"{moved.collection}: {moved.points:,} points, {moved.written:,} written, {moved.removed:,} removed,"
            f" {moved.compared:,} compared whole"
        )


@app.command()
def failures(
    store: Stores = None,
    collection: Collection = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Name the images that could not be stored, and why."""
    from dataclasses import asdict

    from cbir.pipeline.journal import read_failures
    from cbir.settings import Settings
    from cbir.stores.registry import connect_all

    settings = Settings()
    found = {
        failure.key: failure
        for catalog in connect_all(list(store or settings.store_urls), settings)
        for failure in read_failures(catalog.journal(collection))
    }
    if as_json:
        sys.stdout.write(json.dumps([asdict(failure) for failure in found.values()]) + "\n")
        return
    for failure in found.values():
        typer.echo(f"{printable(failure.key)}: {printable(failure.reason)} ({failure.failed_at})")
    typer.echo(f"{len(found):,} failed", err=True)


@app.command()
def duplicates(
    store: Stores = None,
    collection: Collection = None,
    near: Annotated[
        int | None,
        typer.Option(min=0, max=16, help="Also what differs in at most N of 64 bits of its perceptual hash."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Name the stored images that are copies of others: the same bytes or, with --near, the same look."""
    import cbir
    from cbir.settings import Settings

    settings = Settings()
    with cbir.open((store or settings.store_urls)[0], collection, settings=settings) as opened:
        found = opened.duplicates(near)
    if as_json:
        sys.stdout.write(json.dumps(found) + "\n")
        return
    for group in found:
        typer.echo("  ".join(map(printable, group)))
    typer.echo(f"{len(found):,} groups, {sum(len(group) - 1 for group in found):,} copies", err=True)


@app.command()
def verify(store: Stores = None, collection: Collection = None) -> None:
    """Check every file of the stored collections against its manifest, and name those that are damaged."""
    from cbir.settings import Settings
    from cbir.stores.registry import connect_all

    settings = Settings()
    catalogs = connect_all(list(store or settings.store_urls), settings)
    damaged = [damage for catalog in catalogs for damage in catalog.verify(collection)]
    for damage in damaged:
        typer.echo(str(damage))
    if damaged:
        raise CbirError(f"{len(damaged)} damaged; a damaged index is not served")


def main() -> None:
    """Run the command line."""
    terminal.run(app)


if __name__ == "__main__":
    main()
