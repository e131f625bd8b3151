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
    from cbir.settings import Settings
    from cbir.sources.base import SourceOptions

    from ..core.console import finish
    from .run import Asked, measure
    from .view import accuracy_json, accuracy_section

    settings = Settings()
    files = [find_model(one) for one in dict.fromkeys(model or [DEFAULT_MODEL])]
    asked = Asked(
        source, SourceOptions(label=label, top_classes=top_classes, limit=limit), k, seed, protocol, resamples
    )
    result = accuracy_json(asked, measure(files, asked, settings))
    finish(as_json, result, accuracy_section)
