"""`cbir-bench`: which model finds best, do the stores agree, how fast is each. The page shows the latest results."""

from typing import Annotated

import typer

from cbir import terminal
from cbir.errors import UsageError

from .accuracy.command import accuracy
from .baselines.command import peers
from .core.options import (
    MOST_THREADS,
    Collection,
    Json,
    K,
    Label,
    Limit,
    Models,
    PeerPython,
    Seed,
    Stores,
    TopClasses,
    numbers,
)
from .latency.command import latency
from .parity.command import parity
from .report.exchange_command import exchange
from .report.models_command import models
from .report.report_command import compare, report

app = terminal.new_app("Measure which model finds best, whether the stores agree, and how fast everything is.")

for command in (accuracy, parity, latency, models, peers, report, compare, exchange):
    app.command()(command)


@app.command()
def stores(
    store: Stores = None,
    collection: Collection = None,
    k: K = 10,
    queries: Annotated[int, typer.Option(min=1, help="Stored pictures to ask for.")] = 300,
    seed: Seed = 42,
    threads: Annotated[str, typer.Option(metavar="N,N", help="Numbers of client threads.")] = "1,8",
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each store.")] = 5,
    field: Annotated[str, typer.Option(help="Field whose values are filtered by.")] = "label",
    beside: Annotated[
        str | None,
        typer.Option(metavar="SOURCE", help="Search while this is ingested; options of cbir-ingest may follow it."),
    ] = None,
    as_json: Json = None,
) -> None:
    """Measure each store: recall, latency, searches a second, filters, memory, and searching beside an ingest."""
    from cbir.settings import load_settings

    from .core.workload import open_subject
    from .latency.stores import measure_stores, steps
    from .latency.stores_report import show_stores, stores_json
    from .report.report import STDOUT, check_target, deliver

    check_target(as_json)
    clients = numbers("--threads", threads, MOST_THREADS)
    settings = load_settings()
    with open_subject(list(store or settings.store_urls), collection, k, queries, seed, settings) as subject:
        with terminal.progress("measuring", steps(subject, clients, rounds), "searches") as advance:
            found = measure_stores(subject, field, clients, rounds, beside, settings, advance)
        deliver(as_json, stores_json(subject, found), settings)
        if as_json != STDOUT:
            show_stores(subject, found)


@app.command()
def plan(
    images: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[IMAGES]...", help="Numbers of images, such as 250000, 10M or 1B.", show_default="1M 100M 1B"
        ),
    ] = None,
    model: Annotated[str, typer.Option(help="Packaged model or ONNX file.")] = "efficientnet_lite0",
    dimension: Annotated[
        int | None, typer.Option(min=32, max=65_535, help="Length of a vector.", show_default="the model's")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(metavar="SOURCE", help="Whose first pictures are timed.", show_default="made-up JPEGs, 640 x 480"),
    ] = None,
    store: Annotated[
        list[str] | None,
        typer.Option("--store", help="Index to measure; its path is not touched.", show_default="edge:. and faiss:."),
    ] = None,
    replicas: Annotated[
        int | None, typer.Option(min=1, max=100, help="Copies on servers.", show_default="1 up to 10M, then 2")
    ] = None,
    node_gb: Annotated[float, typer.Option(min=1, max=100_000, help="RAM of one server, in GB.")] = 128,
    check: Annotated[
        str | None, typer.Option(metavar="N", help="Build indexes of N made-up vectors and compare with the plan.")
    ] = None,
    as_json: Json = None,
) -> None:
    """Work out time, disk, RAM and a server's settings for numbers of images, from a probe of this machine."""
    from cbir.models.sealed import Embedder, cores, find_model
    from cbir.settings import load_settings

    from .capacity.plan import USUAL_IMAGES, Asked, parse_count, plan_notes, size
    from .capacity.plan_report import check_json, plan_json, show_check, show_plan
    from .capacity.predict import check_engines, check_notes, parse_engines, probe_engines, probe_points
    from .parity.images import some_pictures, time_pictures
    from .report.report import STDOUT, check_target, deliver

    check_target(as_json)
    if check and images:
        raise UsageError("--check N builds an index of N vectors; leave out the numbers of images")
    counts = [parse_count(one) for one in images or map(str, USUAL_IMAGES)]
    checked = parse_count(check) if check else None
    settings = load_settings()
    embedder = Embedder(find_model(model), threads=1)
    asked = Asked(dimension or embedder.card.dimension, replicas, node_gb * 1e9, cores())
    urls = parse_engines(store or ("edge:.", "faiss:."), asked.dimension)
    points = probe_points(asked.dimension, checked)
    with terminal.progress("measuring", 3 * len(urls) if checked else 2 * len(urls) + 1, "steps") as advance:
        if checked:
            probe = probe_engines(urls, asked.dimension, points, {}, advance)
            checks = check_engines(urls, probe, checked, advance)
            notes = check_notes(probe, checked)
            result = check_json(probe, checks, notes)
        else:
            pictures, payload = time_pictures(*some_pictures(data), embedder, settings)
            advance(1)
            probe = probe_engines(urls, asked.dimension, points, payload, advance)
            plans = [size(count, asked, pictures, probe) for count in counts]
            notes = plan_notes(asked, embedder.card, plans)
            result = plan_json(asked, embedder.ref, pictures, probe, plans, notes)
    deliver(as_json, result, settings)
    if as_json == STDOUT:
        return
    if checked:
        show_check(checks, notes)
    else:
        show_plan(asked, embedder.ref, pictures, probe, plans, notes)


@app.command()
def ingest(
    source: Annotated[str | None, typer.Argument(help="What to ingest, as for cbir-ingest.")] = None,
    photos: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="N made-up photos of 12 megapixels instead of SOURCE.")
    ] = None,
    model: Models = None,
    label: Label = None,
    top_classes: TopClasses = None,
    limit: Limit = None,
    peer: Annotated[
        list[str] | None, typer.Option(help="fastembed, torch or sentence-transformers, beside it; several times.")
    ] = None,
    peer_python: PeerPython = None,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each part.")] = 3,
    seconds: Annotated[float, typer.Option(min=0.1, help="Length of a turn of what is no ingest.")] = 10.0,
    as_json: Json = None,
) -> None:
    """Time the ingest beside its model alone, and beside other ways from image files to vectors."""
    import tempfile
    from pathlib import Path

    from cbir.models.sealed import DEFAULT_MODEL
    from cbir.settings import load_settings
    from cbir.sources.base import SourceOptions

    from .baselines.measure import check_peers
    from .ingest.measure import Asked, measure
    from .ingest.view import show_speed, speed_json
    from .ingest.workload import prepare
    from .report.report import STDOUT, check_target, deliver

    check_target(as_json)
    settings = load_settings()
    options = SourceOptions(label=label, top_classes=top_classes, limit=limit)
    if (source is None) == (photos is None):
        raise UsageError("say what to ingest: a SOURCE, or --photos N for made-up ones")
    if photos is not None and options != SourceOptions():
        raise UsageError("--label, --top-classes and --limit mean nothing for --photos")
    asked = Asked(options, rounds, seconds, *check_peers(peer or [], peer_python))
    with tempfile.TemporaryDirectory(prefix="cbir-bench-") as folder:
        prepared = prepare(Path(folder), source, options, photos, model or [DEFAULT_MODEL])
        with terminal.progress("measuring", rounds * len(prepared.files), "turns") as advance:
            measured = measure(Path(folder), prepared, asked, advance)
    deliver(as_json, speed_json(prepared, asked, measured), settings)
    if as_json != STDOUT:
        show_speed(prepared, asked, measured)


def main() -> None:
    """Run the command line."""
    terminal.run(app)


if __name__ == "__main__":
    main()
