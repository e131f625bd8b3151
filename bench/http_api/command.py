"""`cbir-bench http`: how fast `cbir-serve` answers, and what it adds to the search itself."""

from typing import Annotated

import typer

from ..core.options import Collection, Json, K, Queries, Seed


def http(
    store: Annotated[str | None, typer.Option(help="Store to serve.", show_default="the first of $CBIR_STORES")] = None,
    collection: Collection = None,
    k: K = 10,
    queries: Queries = 1000,
    seed: Seed = 42,
    clients: Annotated[int, typer.Option(min=2, max=256, help="Number of clients at once.")] = 16,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each case.")] = 5,
    seconds: Annotated[float, typer.Option(min=0.05, help="Length of a turn.")] = 3.0,
    as_json: Json = None,
) -> None:
    """Measure cbir-serve: vectors and images, one client and many, next to the same search without HTTP."""
    from cbir.settings import Settings

    from ..core.subject import deliver, store_envelope
    from ..core.workload import open_workload
    from .measure import measure
    from .result import NOTES, SUBJECT, HttpResult

    settings = Settings()
    url = store or settings.store_urls[0]
    with open_workload([url], collection, k, queries, seed, settings) as workload:
        cases, ready = measure(workload, clients, rounds, seconds, settings)
        header = store_envelope(SUBJECT.name, workload, NOTES)
    deliver(SUBJECT, HttpResult(**header, rounds=rounds, ready_seconds=ready, cases=cases), as_json)
