"""`cbir-bench plan`: what a number of images will take."""

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
    from cbir.models.embedder import load_embedder
    from cbir.models.runtime import cores
    from cbir.settings import Settings

    from ..core.console import finish
    from ..core.stores import engine_of
    from .pictures import some_pictures, time_pictures
    from .plan import USUAL_IMAGES, Asked, parse_count, plan_notes, size
    from .predict import check_engines, check_notes, probe_engines, probe_points
    from .view import check_json, check_section, plan_json, plan_section

    if check and images:
        raise UsageError("--check N builds an index of N vectors; leave out the numbers of images")
    counts = [parse_count(one) for one in images or map(str, USUAL_IMAGES)]
    checked = parse_count(check) if check else None
    settings = Settings()
    embedder = load_embedder(model, settings, threads=1)
    asked = Asked(dimension or embedder.card.dimension, replicas, node_gb * 1e9, cores())
    engines = [engine_of(url, asked.dimension) for url in store or ("edge:.", "faiss:.")]
    points = probe_points(asked.dimension, checked)
    with terminal.progress("measuring", 3 * len(engines) if checked else 2 * len(engines) + 1, "steps") as advance:
        if checked:
            probe = probe_engines(engines, asked.dimension, points, {}, advance)
            checks = check_engines(engines, probe, checked, advance)
            result = check_json(probe, checks, check_notes(probe, checked))
        else:
            pictures, payload = time_pictures(*some_pictures(data), embedder, settings)
            advance(1)
            probe = probe_engines(engines, asked.dimension, points, payload, advance)
            plans = [size(count, asked, pictures, probe) for count in counts]
            notes = plan_notes(asked, embedder.card, plans)
            result = plan_json(asked, embedder.ref, pictures, probe, plans, notes)
    finish(as_json, result, check_section if checked else plan_section)
