"""`cbir-bench latency`, recall against speed in every way, and `cbir-bench stores`, each store at its usual width."""

from typing import Annotated

import typer

from cbir import terminal

from ..core.options import MOST_EFFORT, MOST_THREADS, Collection, Effort, Json, K, Seed, Stores, numbers

COLD_ROUNDS = 3


def latency(
    store: Stores = None,
    collection: Collection = None,
    k: K = 10,
    queries: Annotated[int, typer.Option(min=1, help="Stored pictures to ask for.")] = 300,
    seed: Seed = 42,
    effort: Effort = "",
    threads: Annotated[str, typer.Option(metavar="N,N", help="Numbers of client threads.")] = "1,2,8",
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each width.")] = 4,
    field: Annotated[str, typer.Option(help="Field whose values are filtered by.")] = "label",
    seconds: Annotated[
        float, typer.Option(min=0, help="Length of each rate of arrivals; 0 leaves the open loop out.")
    ] = 5.0,
    as_json: Json = None,
) -> None:
    """Measure each store's recall against its speed, cold and warm, in a closed and in an open loop."""
    from cbir.settings import Settings

    from ..core.console import finish
    from ..core.workload import common_collection, open_workload
    from . import cold, open_loop, stages, sweep
    from .measure import choose_classes
    from .view import Found, latency_json, latency_section

    clients = numbers("--threads", threads, MOST_THREADS)
    efforts = numbers("--effort", effort, MOST_EFFORT) if effort else []
    settings = Settings()
    urls = list(store or settings.store_urls)
    name = collection or common_collection(urls, settings)
    first = [cold.measure(url, name, k, seed, COLD_ROUNDS) for url in urls]
    with open_workload(urls, name, k, queries, seed, settings) as workload:
        classes = choose_classes(workload, field)
        total = sweep.steps(workload, efforts, len(classes), clients, rounds)
        with terminal.progress("every width of search", total, "searches") as advance:
            curves, noise = sweep.measure(workload, efforts, classes, clients, rounds, advance)
        rates: list[list[open_loop.Rate]] = []
        with terminal.progress("at given rates", len(urls) * len(open_loop.SHARES), "rates") as advance:
            for at, curve in enumerate(curves if seconds else []):
                best = sweep.most_a_second(curve)
                rates.append(open_loop.measure(workload, at, best, max(clients), seconds, advance) if best else [])
        spent = stages.measure(workload, settings)
        found = Found(field, clients, rounds, curves, noise, rates, [one for one in first if one], spent)
        result = latency_json(workload, found)
    finish(as_json, result, latency_section)


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
    from cbir.settings import Settings

    from ..core.console import finish
    from ..core.workload import open_workload
    from . import footprint, measure, search_during_ingest
    from .stores_view import Found, stores_json, stores_section

    clients = numbers("--threads", threads, MOST_THREADS)
    settings = Settings()
    with open_workload(store, collection, k, queries, seed, settings) as workload:
        during = search_during_ingest.measure(workload, beside, max(clients), settings) if beside else []
        sizes = [footprint.measure(info, workload.queries, workload.k) for info in workload.infos]
        most = len(workload.queries) * len(workload.stores) * (1 + len(measure.SHARES) + rounds * (1 + len(clients)))
        with terminal.progress("measuring", most, "searches") as advance:
            latencies = measure.measure(workload, measure.choose_classes(workload, field), clients, rounds, advance)
        found = Found(field, clients, rounds, latencies, [size for size in sizes if size], during)
        result = stores_json(workload, found)
    finish(as_json, result, stores_section)
