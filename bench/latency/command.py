"""`cbir-bench latency`: recall against speed, at every width of search, alone, among others, and at given rates."""

from typing import Annotated

import typer

from cbir import terminal

from ..core.options import MOST_EFFORT, MOST_THREADS, Collection, Json, K, Seed, Stores, numbers

COLD_ROUNDS = 3


def latency(
    store: Stores = None,
    collection: Collection = None,
    k: K = 10,
    queries: Annotated[int, typer.Option(min=1, help="Stored pictures to ask for.")] = 300,
    seed: Seed = 42,
    effort: Annotated[
        str,
        typer.Option(metavar="N,N", help="Widths of search: ef or nprobe.", show_default="eleven from 10 to 512"),
    ] = "",
    threads: Annotated[str, typer.Option(metavar="N,N", help="Numbers of client threads.")] = "1,2,8",
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each width.")] = 4,
    field: Annotated[str, typer.Option(help="Field whose values are filtered by.")] = "label",
    seconds: Annotated[
        float, typer.Option(min=0, help="Length of each rate of arrivals; 0 leaves the open loop out.")
    ] = 5.0,
    as_json: Json = None,
) -> None:
    """Measure each store's recall against its speed, cold and warm, in a closed and in an open loop."""
    from cbir.settings import load_settings

    from ..accuracy.classes import choose_classes
    from ..core.workload import common_collection, open_subject
    from ..ingest import stages
    from ..report.report import STDOUT, check_target, deliver
    from . import cold, open_loop, sweep
    from .view import Found, latency_json, show_latency

    check_target(as_json)
    clients = numbers("--threads", threads, MOST_THREADS)
    efforts = numbers("--effort", effort, MOST_EFFORT) if effort else []
    settings = load_settings()
    urls = list(store or settings.store_urls)
    name = collection or common_collection(urls, settings)
    first = [cold.measure(url, name, k, seed, COLD_ROUNDS) for url in urls]
    with open_subject(urls, name, k, queries, seed, settings) as subject:
        classes = choose_classes(subject, field)
        total = sweep.steps(subject, efforts, len(classes), clients, rounds)
        with terminal.progress("every width of search", total, "searches") as advance:
            curves, noise = sweep.measure(subject, efforts, classes, clients, rounds, advance)
        rates: list[list[open_loop.Rate]] = []
        with terminal.progress("at given rates", len(urls) * len(open_loop.SHARES), "rates") as advance:
            for at, curve in enumerate(curves if seconds else []):
                best = sweep.most_a_second(curve)
                rates.append(open_loop.measure(subject, at, best, max(clients), seconds, advance) if best else [])
        spent = stages.measure(subject, settings)
        found = Found(field, clients, rounds, curves, noise, rates, [one for one in first if one], spent)
        deliver(as_json, latency_json(subject, found), settings)
        if as_json != STDOUT:
            show_latency(subject, found)
