"""`cbir-bench latency`: how fast each store is, with its recall, its size and what else it takes."""

from typing import Annotated

import typer

from cbir import terminal

from ..core.options import (
    MOST_EF,
    MOST_THREADS,
    Collection,
    Ef,
    Json,
    K,
    Queries,
    QuerySource,
    Seed,
    Stores,
    numbers,
    splittable,
)


def latency(
    store: Stores = None,
    collection: Collection = None,
    k: K = 10,
    queries: Queries = 1000,
    query_source: QuerySource = None,
    seed: Seed = 42,
    ef: Ef = "",
    threads: Annotated[str, typer.Option(metavar="N,N", help="Numbers of client threads.")] = "1,2,8",
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each ef.")] = 6,
    field: Annotated[str, typer.Option(help="Field whose values are filtered by.")] = "label",
    seconds: Annotated[
        float, typer.Option(min=0, help="Length of each rate of arrivals; 0 leaves the open loop out.")
    ] = 5.0,
    search_during_ingest: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            callback=splittable,
            help="Search while this is ingested; options of cbir-ingest may follow it.",
        ),
    ] = None,
    as_json: Json = None,
) -> None:
    """Measure each store: recall against speed, filters, load, cold start, size, and searching during an ingest."""
    from dataclasses import replace

    from cbir.settings import Settings
    from cbir.stores.registry import connect

    from ..core.subject import deliver, store_envelope
    from ..core.workload import common_collection, open_workload, require_different
    from . import measure, opening, stages
    from . import search_during_ingest as during
    from .result import SUBJECT, LatencyResult

    clients = numbers("--threads", threads, MOST_THREADS)
    wanted = numbers("--ef", ef, MOST_EF) if ef else []
    settings = Settings()
    urls = list(store or settings.store_urls)
    require_different(urls)
    name = collection or common_collection(urls, settings)
    opened = [opening.measure(url, connect(url, settings).resolve(name), k, seed) for url in urls]
    with open_workload(urls, name, k, queries, seed, settings, query_source) as workload:
        source = search_during_ingest
        ingest = during.measure(workload, source, max(clients), settings) if source else None
        classes = measure.choose_classes(workload, field)
        curves, noise = measure.measure(workload, wanted, classes, clients, rounds)
        with terminal.progress("at given rates", len(urls), "stores") as advance:
            for i, (start, size) in enumerate(opened):
                curve = replace(curves[i], opening=start, size=size, stages=stages.measure(workload, i, settings))
                curves[i] = measure.at_rates(curve, workload, i, max(clients), seconds)
                advance(1)
        header = store_envelope(SUBJECT.name, workload, [])
    result = LatencyResult(
        **header, field=field, threads=clients, rounds=rounds, curves=curves, noise=noise, ingest=ingest
    )
    deliver(SUBJECT, result, as_json)
