"""`cbir-bench plan`: what a number of images will need."""

from typing import Annotated

import typer

from cbir import terminal
from cbir.errors import UsageError

from ..core.options import Json


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
        typer.Option(metavar="SOURCE", help="Source of the images to time.", show_default="made-up JPEGs, 640 x 480"),
    ] = None,
    store: Annotated[
        list[str] | None,
        typer.Option(
            "--store", help="Engine to measure; nothing is written to its path.", show_default="edge:. and faiss:."
        ),
    ] = None,
    replicas: Annotated[
        int | None, typer.Option(min=1, max=100, help="Copies on servers.", show_default="1 up to 10M, then 2")
    ] = None,
    node_gb: Annotated[float, typer.Option(min=1, max=100_000, help="RAM of one server, in GB.")] = 128,
    build: Annotated[
        bool, typer.Option("--build", help="Also build indexes of so many made-up vectors, and search them.")
    ] = False,
    recall: Annotated[float, typer.Option(min=0.1, max=1.0, help="With --build: the recall to search at.")] = 0.95,
    minutes: Annotated[float, typer.Option(min=0.1, help="With --build: the longest time for one index.")] = 20.0,
    check: Annotated[str | None, typer.Option(hidden=True)] = None,
    as_json: Json = None,
) -> None:
    """Estimate time, disk, RAM and servers for numbers of images, from a short measurement of this machine."""
    from cbir.models.embedder import load_embedder
    from cbir.settings import Settings
    from cbir.sources.base import SourceOptions
    from cbir.sources.registry import open_source

    from ..core.subject import deliver, envelope
    from ..core.synthetic import made_up_images
    from ..core.timing import NoiseMeter
    from .built import measure_built
    from .plan import USUAL_IMAGES, Options, make_plan, parse_count
    from .probe import IMAGES, probe_images, probe_indexes
    from .result import BUILT_NOTE, NOTES, SUBJECT, PlanResult

    if check:
        raise UsageError("--check no longer exists. Build an index with cbir-ingest to compare it with the plan.")
    counts = [parse_count(count) for count in images or USUAL_IMAGES]
    settings = Settings()
    embedder = load_embedder(model, settings, threads=1)
    options = Options(dimension or embedder.card.dimension, replicas, node_gb)
    urls = store or ["edge:.", "faiss:."]
    if data is None:
        items, origin = made_up_images(IMAGES), "made-up JPEGs of 640 x 480 pixels"
    else:
        source = open_source(data, SourceOptions(limit=IMAGES))
        items, origin = list(source.items), source.origin
    with terminal.progress("measuring", len(urls) + 1, "steps") as advance:
        indexes = probe_indexes(urls, options.dimension, advance)
        costs = probe_images(items, origin, embedder, settings)
        advance(1)
    plans = [make_plan(count, options, costs, indexes) for count in counts]
    logs, built, notes = [], [], list(NOTES)
    if build:
        noise = NoiseMeter()
        with terminal.progress("building", len(counts) * (len(urls) + 1), "indexes") as advance:
            for count in counts:
                log, found = measure_built(urls, count, options.dimension, recall, minutes, advance)
                logs.append(log)
                built += found
        missing = [f"{index.points:,}, {index.name}: {index.missing}." for index in built if index.missing]
        notes += [BUILT_NOTE.format(recall=recall), *missing, *noise.noise().notes()]
    result = PlanResult(
        **envelope(SUBJECT.name, notes),
        model=embedder.ref,
        options=options,
        images=costs,
        indexes=indexes,
        plans=plans,
        logs=logs,
        built=built,
    )
    deliver(SUBJECT, result, as_json)
