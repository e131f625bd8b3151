"""`cbir-bench latency`: how fast each store is, with its recall, its size and what else it takes."""

from typing import Annotated

import typer

from cbir import terminal

from ..core.options import MOST_EF, MOST_THREADS, Collection, Ef, Json, K, Seed, Stores, numbers


def latency(
    store: Stores = None,
    collection: Collection = None,
    k: K = 10,
    queries: Annotated[int, typer.Option(min=1, help="Stored images to search for.")] = 300,
    seed: Seed = 42,
    ef: Ef = "",
    threads: Annotated[str, typer.Option(metavar="N,N", help="Numbers of client threads.")] = "1,2,8",
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each ef.")] = 4,
    field: Annotated[str, typer.Option(help="Field whose values are filtered by.")] = "label",
    seconds: Annotated[
        float, typer.Option(min=0, help="Length of each rate of arrivals; 0 leaves the open loop out.")
    ] = 5.0,
    search_during_ingest: Annotated[
        str | None,
        typer.Option(metavar="SOURCE", help="Search while this is ingested; options of cbir-ingest may follow it."),
    ] = None,
    as_json: Json = None,
) -> None:
    """Measure each store: recall against speed, filters, load, cold start, size, and searching during an ingest."""
    from cbir.settings import Settings

    from ..core.subject import deliver, store_envelope
    from ..core.workload import common_collection, open_workload
    from . import cold, footprint, measure, open_loop, stages
    from . import search_during_ingest as during
    from .result import SUBJECT, LatencyResult

    clients = numbers("--threads", threads, MOST_THREADS)
    wanted = numbers("--ef", ef, MOST_EF) if ef else []
    settings = Settings()
    urls = list(store or settings.store_urls)
    name = collection or common_collection(urls, settings)
    first = [cold.measure(url, name, k, seed) for url in urls]
    with open_workload(urls, name, k, queries, seed, settings) as workload:
        source = search_during_ingest
        ingests = during.measure(workload, source, max(clients), settings) if source else []
        sizes = [footprint.measure(info, workload.queries, workload.k) for info in workload.infos]
        classes = measure.choose_classes(workload, field)
        total = measure.steps(workload, wanted, len(classes), clients, rounds)
        with terminal.progress("every ef", total, "searches") as advance:
            curves, noise = measure.measure(workload, wanted, classes, clients, rounds, advance)
        with terminal.progress("at given rates", len(urls) * len(open_loop.SHARES), "rates") as advance:
            loops = [
                open_loop.measure(workload, i, curve, max(clients), seconds, advance)
                for i, curve in enumerate(curves if seconds else [])
            ]
        result = LatencyResult(
            **store_envelope(SUBJECT.name, workload, []),
            field=field,
            threads=clients,
            rounds=rounds,
            curves=curves,
            noise=noise,
            open_loop=loops,
            cold=[found for found in first if found],
            stages=stages.measure(workload, settings),
            footprints=[size for size in sizes if size],
            ingests=ingests,
        )
    deliver(SUBJECT, result, as_json)
