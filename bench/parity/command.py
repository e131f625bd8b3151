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
    from cbir.settings import load_settings

    from ..core.workload import MODES, ORDINARY, open_subject
    from ..report.report import STDOUT, check_target, deliver
    from .measure import measure
    from .view import parity_json, show_parity, worst_pictures

    check_target(as_json)
    settings = load_settings()
    with open_subject(list(store or settings.store_urls), collection, k, queries, seed, settings) as subject:
        total = len(subject.queries) * len(subject.stores) * len(MODES)
        with terminal.progress("comparing", total, "searches") as advance:
            found = measure(subject, advance)
        shown = worst_pictures(subject, found) if pictures else None
        deliver(as_json, parity_json(subject, found, shown), settings)
        if as_json != STDOUT:
            show_parity(subject, found)
    for one in found.oracle:
        mean = one.ann_recall_at_k.mean
        if min_recall is not None and mean is not None and mean < min_recall and one.mode == ORDINARY:
            raise CbirError(f"{one.store}: ann_recall_at_{subject.k} is {mean:.6g}, below {min_recall}")
