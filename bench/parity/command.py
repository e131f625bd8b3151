"""`cbir-bench parity`: whether the stores agree with the exact answer and with each other."""

from typing import Annotated

import typer

from cbir import terminal
from cbir.errors import CbirError

from ..core.options import Collection, Json, K, Queries, QuerySource, Seed, Stores


def parity(
    store: Stores = None,
    collection: Collection = None,
    k: K = 10,
    queries: Queries = 1000,
    query_source: QuerySource = None,
    seed: Seed = 42,
    images: Annotated[
        bool, typer.Option("--images", help="Show small images of the queries that differ most.")
    ] = False,
    as_json: Json = None,
    min_recall: Annotated[
        float | None, typer.Option(min=0, max=1, help="Exit with code 1 if a store's mean recall is lower.")
    ] = None,
) -> None:
    """Compare the stores with the exact answer and with each other, in ordinary and in exact search."""
    from cbir.settings import Settings

    from ..core.subject import deliver, store_envelope
    from ..core.workload import MODES, ORDINARY, open_workload
    from .measure import measure
    from .result import NOTE, SUBJECT, ParityResult

    with open_workload(store, collection, k, queries, seed, Settings(), query_source) as workload:
        total = len(workload.vectors) * len(workload.stores) * len(MODES)
        with terminal.progress("comparing", total, "searches") as advance:
            against_truth, pairs, strips = measure(workload, advance, images)
        header = store_envelope(SUBJECT.name, workload, [NOTE])
    result = ParityResult(**header, against_truth=against_truth, pairs=pairs, images=strips)
    deliver(SUBJECT, result, as_json)
    for part in against_truth:
        mean = part.ann_recall_at_k.mean
        if min_recall is not None and mean is not None and mean < min_recall and part.mode == ORDINARY:
            raise CbirError(f"{part.store}: ann_recall_at_{workload.k} is {mean:.6g}, below {min_recall}")
