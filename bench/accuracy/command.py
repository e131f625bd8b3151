"""`cbir-bench accuracy`: which model finds the classes of one's own pictures best, and how sure that is."""

from typing import Annotated, Literal

import typer

from ..core.options import Json, Label, Limit, Models, Seed, TopClasses


def accuracy(
    source: Annotated[str, typer.Argument(help="Labelled pictures, as for cbir-ingest.")],
    model: Models = None,
    label: Label = None,
    top_classes: TopClasses = None,
    limit: Limit = None,
    k: Annotated[int, typer.Option("-k", "--k", min=1, max=1000, help="Hits per query.")] = 5,
    seed: Seed = 42,
    protocol: Annotated[
        Literal["split", "leave-one-out"],
        typer.Option(help="70 % indexed and 15 % asked for, by class; or each picture asks for all the others."),
    ] = "split",
    resamples: Annotated[int, typer.Option(min=100, help="Of the bootstrap.")] = 2000,
    as_json: Json = None,
) -> None:
    """Measure how well models find pictures of the query's class: metrics, intervals, paired tests, classes."""
    from cbir.models.sealed import DEFAULT_MODEL, find_model
    from cbir.settings import load_settings
    from cbir.sources.base import SourceOptions

    from ..report.report import STDOUT, check_target, deliver
    from .run import Asked, measure
    from .view import accuracy_json, show_accuracy

    check_target(as_json)
    settings = load_settings()
    files = [find_model(one) for one in dict.fromkeys(model or [DEFAULT_MODEL])]
    asked = Asked(
        source, SourceOptions(label=label, top_classes=top_classes, limit=limit), k, seed, protocol, resamples
    )
    found = measure(files, asked, settings)
    deliver(as_json, accuracy_json(asked, found), settings)
    if as_json != STDOUT:
        show_accuracy(asked, found)
