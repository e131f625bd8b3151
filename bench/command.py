"""`cbir-bench`: which model finds best, do the stores agree, how fast is each. The page shows the latest results."""

import sys
from typing import Annotated

import typer

from cbir import terminal
from cbir.errors import UsageError

from .accuracy.command import accuracy
from .capacity.command import plan
from .core.options import BaselinePython, Collection, Json, K, Label, Limit, Models, Seed, Stores, TopClasses
from .exchange.command import exchange
from .latency.command import latency, stores
from .models.command import models
from .parity.command import parity
from .report.report_command import compare, report

app = terminal.new_app("Measure which model finds best, whether the stores agree, and how fast everything is.")

for command in (accuracy, parity, latency, stores, models, plan, exchange, report, compare):
    app.command()(command)


@app.command()
def ingest(
    source: Annotated[str | None, typer.Argument(help="What to ingest, as for cbir-ingest.")] = None,
    photos: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="N made-up photos of 12 megapixels instead of SOURCE.")
    ] = None,
    model: Models = None,
    label: Label = None,
    top_classes: TopClasses = None,
    limit: Limit = None,
    peer: Annotated[
        list[str] | None, typer.Option(help="fastembed, torch or sentence-transformers, beside it; several times.")
    ] = None,
    peer_python: BaselinePython = None,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each part.")] = 3,
    seconds: Annotated[float, typer.Option(min=0.1, help="Length of a turn of what is no ingest.")] = 10.0,
    as_json: Json = None,
) -> None:
    """Time the ingest beside its model alone, and beside other ways from image files to vectors."""
    from functools import partial

    from cbir.models.sealed import DEFAULT_MODEL
    from cbir.sources.base import SourceOptions

    from .baselines.embedding import check_baselines, start_baselines
    from .core.console import finish
    from .ingest.measure import Asked, measure
    from .ingest.view import ingest_section, speed_json

    options = SourceOptions(label=label, top_classes=top_classes, limit=limit)
    if (source is None) == (photos is None):
        raise UsageError("say what to ingest: a SOURCE, or --photos N for made-up ones")
    if photos is not None and options != SourceOptions():
        raise UsageError("--label, --top-classes and --limit mean nothing for --photos")
    asked = Asked(options, rounds, seconds, partial(start_baselines, *check_baselines(peer or [], peer_python)))
    prepared, measured = measure(source, photos, model or [DEFAULT_MODEL], asked)
    finish(as_json, speed_json(prepared, asked, measured), ingest_section)


@app.command("peers")
def baselines(
    source: Annotated[
        str | None, typer.Argument(help="What to embed, as for cbir-ingest; without it, searching alone is measured.")
    ] = None,
    store: Stores = None,
    collection: Collection = None,
    k: K = 10,
    queries: Annotated[int, typer.Option(min=20, help="Stored pictures to ask for.")] = 300,
    seed: Seed = 42,
    recall: Annotated[float, typer.Option(min=0.1, max=1.0, help="Recall to compare at.")] = 0.99,
    model: Models = None,
    label: Label = None,
    top_classes: TopClasses = None,
    limit: Limit = None,
    peer: Annotated[
        list[str] | None, typer.Option(help="What to measure beside cbir; several times.", show_default="all")
    ] = None,
    peer_python: BaselinePython = None,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of everything.")] = 3,
    seconds: Annotated[float, typer.Option(min=0.1, help="Length of a turn, at most.")] = 5.0,
    as_json: Json = None,
) -> None:
    """Measure cbir beside other libraries: from files to vectors, and searching at the same recall."""
    from dataclasses import asdict
    from functools import partial

    from cbir.models.sealed import DEFAULT_MODEL
    from cbir.settings import Settings
    from cbir.sources.base import SourceOptions

    from .baselines import search
    from .baselines.embedding import BASELINES, check_baselines, start_baselines
    from .baselines.search_worker import LIBRARIES
    from .baselines.view import baselines_json
    from .core.console import finish
    from .core.workload import open_workload
    from .ingest.measure import Asked, measure
    from .report.report_writer import baselines_section

    everything = [*BASELINES, *LIBRARIES]
    wanted, python = check_baselines(peer or everything, peer_python, everything)
    embedders, libraries = ([name for name in table if name in wanted] for table in (BASELINES, LIBRARIES))
    options = SourceOptions(label=label, top_classes=top_classes, limit=limit)
    if source is None and (model or options != SourceOptions()):
        raise UsageError("--model, --label, --top-classes and --limit mean nothing without a SOURCE to embed")
    with open_workload(store, collection, k, queries, seed, Settings()) as workload:
        found = search.measure(workload, libraries, python, recall, rounds, seconds)
        asked = Asked(options, rounds, seconds, partial(start_baselines, embedders, python))
        measured = measure(source, None, model or [DEFAULT_MODEL], asked)[1] if source is not None else []
        embedding = [asdict(one) for one in measured]
        result = baselines_json(workload, found, recall, rounds, seconds, embedding, source)
    finish(as_json, result, baselines_section)


def main() -> None:
    """Run the command line; what it needs of the extra `bench` and does not find is said in one line."""
    try:
        terminal.run(app)
    except ModuleNotFoundError as error:
        if error.name not in ("h5py", "markdown_it", "matplotlib", "psutil", "scipy", "sklearn"):
            raise
        typer.echo(f"error: this needs {error.name}: pip install 'cbir[bench]'", err=True)
        sys.exit(UsageError.exit_code)


if __name__ == "__main__":
    main()
