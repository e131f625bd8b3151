"""`cbir-bench`: do the stores agree, and how fast is each."""

from typing import Annotated

import typer

from cbir import terminal
from cbir.errors import CbirError

app = terminal.new_app("Measure whether the stores agree, with the exact answer and each other, and how fast they are.")

Stores = Annotated[
    list[str] | None,
    typer.Option(
        "--store", help="Store to measure; may be given several times.", show_default="$CBIR_STORES, or ./index"
    ),
]
Collection = Annotated[
    str | None, typer.Option(help="Name of the collection.", show_default="the newest that all the stores have")
]
K = Annotated[int, typer.Option("-k", "--k", min=1, help="Hits per query.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the sample of queries.")]
Json = Annotated[
    str | None, typer.Option("--json", metavar="FILE", help="Write everything there as JSON; - is standard output.")
]


@app.command()
def parity(
    store: Stores = None,
    collection: Collection = None,
    k: K = 10,
    queries: Annotated[int, typer.Option(min=1, help="Stored pictures to ask for.")] = 200,
    seed: Seed = 42,
    as_json: Json = None,
    min_recall: Annotated[
        float | None, typer.Option(min=0, max=1, help="Exit with code 1 if a store's mean recall is lower.")
    ] = None,
) -> None:
    """Compare the stores with the exact answer and with each other, in their ordinary and in their exact search."""
    from cbir.settings import load_settings

    from .parity import measure
    from .report import STDOUT, check_target, parity_json, show_parity, write_json
    from .subject import MODES, ORDINARY, open_subject

    check_target(as_json)
    settings = load_settings()
    with open_subject(list(store or settings.store_urls), collection, k, queries, seed, settings) as subject:
        total = len(subject.queries) * len(subject.stores) * len(MODES)
        with terminal.progress("comparing", total, "searches") as advance:
            found = measure(subject, advance)
        if as_json:
            write_json(as_json, parity_json(subject, found))
        if as_json != STDOUT:
            show_parity(subject, found)
    for one in found.oracle:
        mean = one.ann_recall_at_k.mean
        if min_recall is not None and mean is not None and mean < min_recall and one.mode == ORDINARY:
            raise CbirError(f"{one.store}: ann_recall_at_{subject.k} is {mean:.6g}, below {min_recall}")


@app.command()
def latency(
    store: Stores = None,
    collection: Collection = None,
    k: K = 10,
    queries: Annotated[int, typer.Option(min=1, help="Stored pictures to ask for.")] = 300,
    seed: Seed = 42,
    as_json: Json = None,
) -> None:
    """Time single searches through the store protocol and by the engine's bare call, with the recall beside them."""
    from cbir.settings import load_settings

    from .latency import measure
    from .report import STDOUT, check_target, latency_json, show_latency, write_json
    from .subject import open_subject

    check_target(as_json)
    settings = load_settings()
    with open_subject(list(store or settings.store_urls), collection, k, queries, seed, settings) as subject:
        total = len(subject.queries) * (len(subject.stores) + 1)
        with terminal.progress("timing", total, "searches") as advance:
            found = measure(subject, advance)
        if as_json:
            write_json(as_json, latency_json(subject, found))
        if as_json != STDOUT:
            show_latency(subject, found)


def main() -> None:
    """Run the command line."""
    terminal.run(app)
