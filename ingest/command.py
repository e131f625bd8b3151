"""`cbir-ingest`: read images, embed them, store them; and check what is stored."""

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cbir import terminal
from cbir.devices import DeviceChoice, PrecisionChoice
from cbir.errors import CbirError, UsageError
from cbir.text import printable

from .manage.collections_command import app as collections_app
from .manage.edit_command import classify, delete, update
from .options import (
    AsJson,
    Collection,
    CollectionOrAll,
    ModelFile,
    Stores,
    StoresToRead,
    named_catalogs,
    named_collection,
    named_journals,
    named_stores,
    percentage,
    seconds,
)

if TYPE_CHECKING:
    from cbir.pipeline.report import IngestReport

_FILL, _CHANGE, _CHECK = "Fill a collection", "Change a collection", "Inspect and check"
_source = partial(typer.Option, rich_help_panel="Source")
_storing = partial(typer.Option, rich_help_panel="Storing")
_skipping = partial(typer.Option, rich_help_panel="Failures and duplicates")
_speed = partial(typer.Option, rich_help_panel="Speed")

_WATCHED_SECONDS = 60.0
RENAMED = {"--where": "--filter"}

app = terminal.new_app("Embed images and store them for searching: `cbir-ingest ./photos`.", default="add")
app.add_typer(collections_app, name="collections", rich_help_panel=_CHECK)


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
    model: Annotated[str, _storing(help="Packaged model, or ONNX file made by cbir-export.")] = "efficientnet_lite0",
    collection: Annotated[str | None, _storing(help="Name of the collection. (default: DATASET-MODEL)")] = None,
    dataset: Annotated[
        str | None,
        _storing(help="Name of the data set; sources of the same name are one data set. (default: the source's name)"),
    ] = None,
    index_field: Annotated[
        list[str] | None,
        _storing(
            help="Payload field to index for fast filters in Edge; may be given several times. (default: the first 8)"
        ),
    ] = None,
    label: Annotated[str | None, _source(help="Column with the class.")] = None,
    key: Annotated[str | None, _source(help="Column with the unique key.")] = None,
    split: Annotated[str | None, _source(help="Split of a data set that has splits. (default: train)")] = None,
    top_classes: Annotated[int | None, _source(min=1, help="Keep the images of the N most frequent classes.")] = None,
    limit: Annotated[int | None, _source(min=1, help="Keep the first N images.")] = None,
    payload: Annotated[
        list[str] | None, _source(help="Column to store with the vector; may be given several times. (default: all)")
    ] = None,
    filter: Annotated[
        str | None,
        _source("--filter", metavar="CONDITIONS", help="Keep the rows that match 'year>2015 and color=red'."),
    ] = None,
    shard: Annotated[str | None, _speed(metavar="I/N", help="Keep the I-th of N shares, for N processes.")] = None,
    streaming: Annotated[
        bool, _source("--streaming", help="Read a data set without downloading or converting it first.")
    ] = False,
    allow_private_addresses: Annotated[
        bool, _source("--allow-private-addresses", help="Fetch URLs that lead into a private network too.")
    ] = False,
    precision: Annotated[
        PrecisionChoice | None, _speed(help="auto: for a new collection, int8 where it is much faster. (default: auto)")
    ] = None,
    device: Annotated[
        DeviceChoice | None, _speed(help="auto: the fastest that gives the same vectors. (default: auto)")
    ] = None,
    workers: Annotated[int | None, _speed(min=1, max=256, help="Worker threads. (default: one for each core)")] = None,
    threads: Annotated[
        int | None, _speed(min=1, max=256, help="Threads of the model in each worker. (default: 1)")
    ] = None,
    batch_size: Annotated[
        int | None, _speed("--batch-size", "-b", min=1, max=1024, help="Images in one model run. (default: 4)")
    ] = None,
    max_image_megapixels: Annotated[
        float | None, _skipping(min=0.01, max=178, help="Skip larger images. (default: 40)")
    ] = None,
    retry_failed: Annotated[
        bool, _skipping("--retry-failed", help="Try images again that failed before and did not change.")
    ] = False,
    skip_duplicates: Annotated[
        bool, _skipping("--skip-duplicates", help="Do not store copies of stored images.")
    ] = False,
    near_duplicates: Annotated[
        int | None,
        _skipping(
            min=0, max=16, help="An image is a copy too if at most N of the 64 bits of its perceptual hash differ."
        ),
    ] = None,
    reuse: Annotated[
        bool,
        _storing("--reuse", help="Copy vectors from other collections of the stores, too, if their model is the same."),
    ] = False,
    max_delete: Annotated[
        float | None,
        typer.Option(
            parser=percentage,
            metavar="PERCENT",
            help="With sync: remove at most this share of the collection, or else nothing. (default: 20%)",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Change nothing; report what would be stored, renamed and removed.")
    ] = False,
    publish_every: Annotated[
        float | None,
        _storing(
            parser=seconds,
            metavar="SECONDS",
            help="Show what was stored so far to searches this often. (default: 60s for a new collection and with"
            " --watch, otherwise in the end)",
        ),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="With sync: sync again whenever the folder changes.")] = False,
    runner: Annotated[
        Literal["local", "ray"], _speed(help="ray: use the workers of a Ray cluster to fill servers.")
    ] = "local",
    ray_address: Annotated[
        str | None, _speed(metavar="HOST:PORT", help="The Ray cluster. (default: one on this machine)")
    ] = None,
    strict: Annotated[bool, _skipping(help="Exit with code 1 if any image was skipped.")] = False,
    as_json: AsJson = False,
) -> None:
    """Embed the images of SOURCE and store them. A second run stores only what is new or changed."""
    from cbir.collection import Collection as OpenCollection
    from cbir.models.sealed import find_model
    from cbir.pipeline.run import Interrupted, Policy
    from cbir.sources.base import SourceOptions, parse_shard
    from cbir.sources.registry import open_source
    from cbir.stores.registry import connect_all

    from .report_view import show

    given = {
        "precision": precision,
        "device": device,
        "workers": workers,
        "threads": threads,
        "batch_size": batch_size,
        "max_image_megapixels": max_image_megapixels,
    }
    urls, settings = named_stores(store)
    settings = settings.model_copy(update={name: value for name, value in given.items() if value is not None})
    catalogs = connect_all(urls, settings, index_field or ())
    find_model(model)  # an unknown model is an error before the source is read
    options = SourceOptions(
        label,
        key,
        split,
        top_classes,
        limit,
        payload=tuple(payload) if payload else None,
        filter=filter,
        shard=parse_shard(shard) if shard else None,
        allow_private_addresses=allow_private_addresses,
        streaming=streaming,
    )
    syncing = context.info_name == "sync"
    policy = Policy(
        syncing,
        retry_failed,
        skip_duplicates,
        near_duplicates,
        partial=shard is not None,
        max_delete=Policy.max_delete if max_delete is None else max_delete,
        reuse=reuse,
        dry_run=dry_run,
        publish_every=_WATCHED_SECONDS if watch and publish_every is None else publish_every,
    )
    for name, value in (("--watch", watch or None), ("--max-delete", max_delete)):
        if value is not None and not syncing:
            raise UsageError(f"{name} works with sync only: cbir-ingest sync SOURCE {name}")
    if ray_address and runner != "ray":
        raise UsageError("--ray-address works with --runner ray only")

    target = OpenCollection(catalogs, collection, settings, model)
    target.optimizes_aside = watch

    def run_once(only: frozenset[str] | None = None) -> "IngestReport":
        if runner == "ray":
            from .ray_runner import ingest_on_ray

            report, opened = ingest_on_ray(
                source, options, catalogs, model, settings, collection, dataset, policy, ray_address
            )
        else:
            opened = open_source(source, replace(options, only=only))
            write = target.sync if syncing else target.add
            try:
                report = write(opened, dataset=dataset, policy=policy, progress=terminal.progress)
            except Interrupted as stopped:
                report = stopped.report
        if as_json:
            terminal.print_json(report.as_json())
        else:
            is_default = catalogs[0].names()[:1] == [report.collection]
            show(report, opened.notes, report.stores if store else (), "" if is_default else report.collection)
        return report

    if watch:
        from .watch import keep_in_step

        keep_in_step(source, run_once)
        terminal.leave(130)
    report = run_once()
    if report.interrupted:
        terminal.leave(130)
    if shard and any(catalog.shared for catalog in catalogs):
        typer.echo("When all shares are stored, complete the collection with this command without --shard.", err=True)
    if report.read and not (report.stored or report.unchanged or (skip_duplicates and report.duplicates)):
        raise CbirError("no image could be stored")
    if strict and report.skipped:
        raise typer.Exit(1)


app.command(
    "add", rich_help_panel=_FILL, epilog="Example: cbir-ingest add ./photos --store edge:./index --skip-duplicates"
)(add)
app.command(
    "sync",
    help="Store the new and changed images of SOURCE, rename those that were moved, and remove those it no longer has.",
    rich_help_panel=_FILL,
    epilog="Example: cbir-ingest sync ./photos --watch",
)(add)
app.command(rich_help_panel=_CHANGE, epilog="Example: cbir-ingest delete --filter label=Drafts")(delete)
app.command(rich_help_panel=_CHANGE, epilog="Example: cbir-ingest update label=Boots --filter label=Shoes")(update)
app.command(rich_help_panel=_CHANGE, epilog="Example: cbir-ingest classify cat dog bird --field animal")(classify)


@app.command(rich_help_panel=_CHANGE, epilog="Example: cbir-ingest reindex --store 'faiss:./index/small?index=PQ64'")
def reindex(store: Stores = None, collection: Collection = None) -> None:
    """Build the named indexes of a collection again from its stored vectors."""
    from .manage.reindex import reindex as build_again

    urls, settings = named_stores(store)
    build_again(urls, collection, settings)


@app.command(rich_help_panel=_FILL, epilog="Example: cbir-ingest copy edge:./index http://localhost:6333")
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
        str | None,
        typer.Option("--as", metavar="NAME", help="Name of the collection in TO, if it is a single one."),
    ] = None,
    model: ModelFile = None,
    delete_extra: Annotated[
        bool, typer.Option("--delete-extra", help="Remove points from TO that FROM does not have.")
    ] = False,
) -> None:
    """Copy collections into other stores, and check the copies. After an interruption, run the same command again."""
    from cbir.settings import Settings

    from .manage.transfer import copy as copy_collections

    for done in copy_collections(source, to, collection or (), rename, Settings(), model, delete_extra):
        typer.echo(
            f"{done.collection}: {done.points:,} points, {done.written:,} written, {done.removed:,} removed,"
            f" {done.compared:,} compared completely"
        )


@app.command(rich_help_panel=_CHECK, epilog="Example: cbir-ingest failures --store edge:./index")
def failures(store: StoresToRead = None, collection: Collection = None, as_json: AsJson = False) -> None:
    """List the images that could not be stored, with the reasons."""
    from dataclasses import asdict

    from cbir.pipeline.journal import read_failures

    journals = named_journals(store, collection)
    found = {failure.key: failure for journal in journals for failure in read_failures(journal)}
    if as_json:
        terminal.print_json([asdict(failure) for failure in found.values()])
        return
    for failure in found.values():
        typer.echo(f"{printable(failure.key)}: {printable(failure.reason)} ({failure.failed_at})")
    typer.echo(f"{len(found):,} failed", err=True)


@app.command(rich_help_panel=_CHECK, epilog="Example: cbir-ingest duplicates --near 4 --store edge:./index")
def duplicates(
    store: StoresToRead = None,
    collection: Collection = None,
    near: Annotated[
        int | None,
        typer.Option(min=0, max=16, help="Images are copies too if at most N of 64 bits of their hash differ."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the stored images that are copies of others: the same bytes or, with --near, a similar perceptual hash."""
    with named_collection(store, collection) as opened:
        found = opened.duplicates(near)
    if as_json:
        terminal.print_json(found)
        return
    for group in found:
        typer.echo("  ".join(map(printable, group)))
    typer.echo(f"{len(found):,} groups, {sum(len(group) - 1 for group in found):,} copies", err=True)


@app.command(rich_help_panel=_CHECK, epilog="Example: cbir-ingest verify --store edge:./index")
def verify(store: StoresToRead = None, collection: CollectionOrAll = None) -> None:
    """Compare every file of the stored collections with its checksum, and list the damaged ones."""
    damaged = [damage for catalog in named_catalogs(store) for damage in catalog.verify(collection)]
    for damage in damaged:
        typer.echo(str(damage))
    if damaged:
        raise CbirError(f"{len(damaged)} damaged. A damaged index is not served.")


def main() -> None:
    """Run the command line."""
    terminal.run(app, RENAMED)


if __name__ == "__main__":
    main()
