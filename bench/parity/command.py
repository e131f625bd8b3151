"""`cbir-bench parity`: do the stores agree, with the exact answer and with each other."""

from typing import Annotated

import typer

from cbir import terminal
from cbir.errors import CbirError

from ..core.options import Collection, Json, K, Seed, Stores


def parity(
    store: Stores = None,
    collection: Collection = None,
    k: K = 10,
    queries: Annotated[int, typer.Option(min=1, help="Stored pictures to ask for.")] = 200,
    seed: Seed = 42,
    pictures: Annotated[
        bool, typer.Option("--pictures", help="Put small pictures of the queries that differ most into the JSON.")
    ] = False,
    as_json: Json = None,
    min_recall: Annotated[
        float | None, typer.Option(min=0, max=1, help="Exit with code 1 if a store's mean recall is lower.")
    ] = None,
) -> None:
    """Compare the stores with the exact answer and with each other, in their ordinary and in their exact search."""
    from cbir.settings import Settings

    from ..core.console import finish
    from ..core.workload import MODES, ORDINARY, open_workload
    from .measure import measure
    from .view import parity_json, parity_section, verdicts, worst_pictures

    with open_workload(store, collection, k, queries, seed, Settings()) as workload:
        total = len(workload.queries) * len(workload.stores) * len(MODES)
        with terminal.progress("comparing", total, "searches") as advance:
            found = measure(workload, advance)
        shown = worst_pictures(workload, found) if pictures else None
        result = parity_json(workload, found, shown)
    finish(as_json, result, parity_section, verdicts(result))
    for one in found.oracle:
        mean = one.ann_recall_at_k.mean
        if min_recall is not None and mean is not None and mean < min_recall and one.mode == ORDINARY:
            raise CbirError(f"{one.store}: ann_recall_at_{workload.k} is {mean:.6g}, below {min_recall}")
