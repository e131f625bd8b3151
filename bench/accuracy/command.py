"""`cbir-bench accuracy`: which model finds the classes of the user's own images best."""

from typing import Annotated, Literal

import typer

from cbir import terminal
from cbir.errors import UsageError

from ..core.options import Json, Label, Limit, Models, Seed, TopClasses


def accuracy(
    source: Annotated[str | None, typer.Argument(help="Labelled images, as for cbir-ingest.")] = None,
    index_source: Annotated[
        str | None, typer.Option(metavar="SOURCE", help="Labelled images to index, instead of a part of SOURCE.")
    ] = None,
    query_source: Annotated[
        str | None, typer.Option(metavar="SOURCE", help="Labelled images to search with; needs --index-source.")
    ] = None,
    model: Models = None,
    label: Label = None,
    top_classes: TopClasses = None,
    limit: Limit = None,
    k: Annotated[int, typer.Option("-k", "--k", min=1, max=1000, help="Hits per query.")] = 5,
    seed: Seed = 42,
    expand: Annotated[
        int, typer.Option(min=0, max=100, help="Expand each query by so many hits, as the option of a search does.")
    ] = 0,
    protocol: Annotated[
        Literal["split", "leave-one-out"] | None,
        typer.Option(
            help="split: index 70 % of each class of SOURCE and search with 15 %;"
            " leave-one-out: search with each image among all others.",
            show_default="split",
        ),
    ] = None,
    resamples: Annotated[int, typer.Option(min=100, help="Of the bootstrap.")] = 2000,
    as_json: Json = None,
) -> None:
    """Measure how well models find images of the query's class: metrics, intervals, paired tests, classes, and cost."""
    from cbir.models.sealed import DEFAULT_MODEL, find_model
    from cbir.settings import Settings

    from ..core.subject import deliver, envelope
    from ..embedding.model_speed import measure as measure_speeds
    from .cost import BATCH, ROUNDS
    from .measure import Options, measure
    from .result import SUBJECT, AccuracyResult, notes

    _check_sources(source, index_source, query_source, protocol)
    files = [find_model(name) for name in dict.fromkeys(model or [DEFAULT_MODEL])]
    options = Options(
        source=source or index_source or "",
        query_source=query_source,
        label=label,
        top_classes=top_classes,
        limit=limit,
        k=k,
        seed=seed,
        protocol="two-sources" if query_source else protocol or "split",
        resamples=resamples,
        expand=expand,
    )
    images, models, pairs, warnings = measure(files, options, Settings())
    with terminal.progress("timing", (ROUNDS + 1) * len(files), "turns") as advance:
        speeds, noise = measure_speeds(files, ["cpu"], [BATCH], ROUNDS, advance)
    header = envelope(SUBJECT.name, [*notes(options, images, warnings), *noise.notes()])
    result = AccuracyResult(**header, settings=options, images=images, models=models, pairs=pairs, speeds=speeds)
    deliver(SUBJECT, result, as_json)


def _check_sources(source: str | None, index: str | None, query: str | None, protocol: str | None) -> None:
    """Raise `UsageError` unless there is either one source, or one to index and one to search with."""
    if (index is None) != (query is None):
        missing = "--index-source" if index is None else "--query-source"
        raise UsageError(f"--index-source and --query-source go together. Add {missing}, or name a single SOURCE.")
    if (source is None) == (index is None):
        raise UsageError("Name either a single SOURCE, or --index-source and --query-source.")
    if index is not None and protocol is not None:
        raise UsageError("--protocol divides a single SOURCE. Remove it, or name a SOURCE.")
